"""
A service manager that listens for its service, as systemd does with a .socket unit

It keeps the listening sockets, and hands them to every program that is started through it: through()
is what a Daemon is to be started with. Run as a program it is what stands between: it asks the
manager for the sockets, and becomes the command.

    socket_manager.py MANAGER COMMAND...
"""

import array
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading

FIRST_FD = 3
MOST_SOCKETS = 8


class SocketManager:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="manager-")
        self.path = f"{self.directory}/manager"
        self.sockets = []
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(self.path)
        self.door.listen()
        self.thread = threading.Thread(target=self._hand_over, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.door.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for each in (self.door, *self.sockets):
            each.close()
        shutil.rmtree(self.directory)

    def listen(self, path, mode):
        each = socket.socket(socket.AF_UNIX)
        each.bind(path)
        os.chmod(path, mode)
        each.listen(1024)
        self.sockets.append(each)

    def through(self):
        return [sys.executable, str(pathlib.Path(__file__).resolve()), self.path]

    def _hand_over(self):
        while True:
            try:
                asking, _ = self.door.accept()
            except OSError:
                return
            with asking:
                fds = array.array("i", [each.fileno() for each in self.sockets])
                asking.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def main():
    manager, *command = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(manager)
        _, fds, _, _ = socket.recv_fds(asking, 1, MOST_SOCKETS)
    # Out of the way first: they may lie where the others go.
    kept = [os.dup(os.dup2(fd, 100 + n)) for n, fd in enumerate(fds)]
    for n, fd in enumerate(kept):
        os.dup2(fd, FIRST_FD + n)
        os.set_inheritable(FIRST_FD + n, True)
    environment = {**os.environ, "LISTEN_FDS": str(len(fds)), "LISTEN_PID": str(os.getpid())}
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
