"""
Callers of other users

A child of this process takes user and groups on, connects, hands the connection over and stays until
it is closed, so that the daemon finds a living process behind it. Needs root.
"""

import os
import socket
import traceback

import remoting
import tap

ANOTHER_USER = 4711
ANOTHER_GROUP = 4712
OVERFLOW = 65534


class OtherUser(remoting.Client):
    """A remoting.Client of this user, group and supplementary groups; pid is its process."""

    def __init__(self, path, uid=ANOTHER_USER, gid=ANOTHER_GROUP, groups=(), **more):
        self.end, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _live(path, uid, gid, groups, self.end, theirs)
        theirs.close()
        message, descriptors, _, _ = socket.recv_fds(self.end, 256, 1)
        if not descriptors:
            self._leave()
            raise OSError(int(message or b"0"), f"user {uid} cannot connect to {path}")
        super().__init__(socket.socket(fileno=descriptors[0]), **more)

    def close(self):
        super().close()
        self._leave()

    def _leave(self):
        self.end.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


def _live(path, uid, gid, groups, ours, end):
    try:
        ours.close()
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        with socket.socket(socket.AF_UNIX) as connected:
            try:
                connected.connect(path)
                socket.send_fds(end, [b"connected"], [connected.fileno()])
            except OSError as error:
                end.sendall(str(error.errno).encode())
        end.recv(1)  # nothing but the end
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def needs_root():
    if os.getuid() != 0:
        tap.skip("callers of other users need root")
