"""
A service manager for tests: it plays what systemd does for a service

It keeps listening sockets as a .socket unit does, hears what the service tells of itself (sd_notify),
keeps the descriptors that the service gives it (FDSTORE) as long as their other end is there, and
hands all of them to every program that is started through it: through() is what a Daemon is to be
started with. Run as a program it is what stands between: it asks the manager for the descriptors, and
becomes the command.

    service_manager.py MANAGER COMMAND...
"""

import json
import os
import pathlib
import queue
import re
import select
import shutil
import socket
import sys
import tempfile
import threading
import time

FIRST_FD = 3
OUT_OF_THE_WAY = 3000  # where descriptors are put before they get their numbers
MOST_IN_A_MESSAGE = 200
SOCKET_UNIT = "remotingd.socket"


class ServiceManager:
    """room: how many descriptors it keeps for the service, as FileDescriptorStoreMax=."""

    def __init__(self, watchdog_us=0, room=0):
        self.directory = tempfile.mkdtemp(prefix="manager-")
        self.watchdog_us = watchdog_us
        self.room = room
        self.sockets = []
        self.store = []  # (name, descriptor)
        self.lock = threading.Lock()
        self.told = queue.Queue()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{self.directory}/notify")
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(f"{self.directory}/manager")
        self.door.listen()
        self.threads = [
            threading.Thread(target=run, daemon=True) for run in (self._hand_over, self._listen)
        ]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.door.shutdown(socket.SHUT_RDWR)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", f"{self.directory}/notify")
        for thread in self.threads:
            thread.join()
        for each in (self.door, self.notify, *self.sockets):
            each.close()
        self.forget_all()
        shutil.rmtree(self.directory)

    def through(self):
        """Words in front of a command that make it the service's."""
        program = [sys.executable, str(pathlib.Path(__file__).resolve())]
        watchdog = [f"WATCHDOG_USEC={self.watchdog_us}"] if self.watchdog_us else []
        room = [f"FDSTORE={self.room}"] if self.room else []
        environment = [f"NOTIFY_SOCKET={self.directory}/notify", *watchdog, *room]
        return ["env", *environment, *program, f"{self.directory}/manager"]

    def listen(self, path, mode):
        each = socket.socket(socket.AF_UNIX)
        each.bind(path)
        os.chmod(path, mode)
        each.listen(1024)
        self.sockets.append(each)

    def hears(self, timeout):
        """The next lines that the service tells, or None when it tells nothing for so long."""
        try:
            return self.told.get(timeout=timeout)
        except queue.Empty:
            return None

    def wait_for(self, line, timeout=20.0):
        """Everything up to the lines with this one among them; a regular expression."""
        heard = []
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            lines = self.hears(max(0.0, end - time.monotonic())) or []
            heard.append(lines)
            if any(re.fullmatch(line, each) for each in lines):
                return heard
        raise AssertionError(f"nothing told was '{line}' within {timeout} s: {heard}")

    def names(self):
        """Of the descriptors that it keeps."""
        with self.lock:
            self._drop_the_dead()
            return [name for name, _ in self.store]

    def put(self, name, fd):
        """As if the service before had given it."""
        with self.lock:
            self.store.append((name, os.dup(fd)))

    def forget_all(self):
        """What systemd does when the service is stopped and not started again."""
        with self.lock:
            for _, fd in self.store:
                os.close(fd)
            self.store.clear()

    def _listen(self):
        while True:
            data, fds, _, _ = socket.recv_fds(self.notify, 4096, MOST_IN_A_MESSAGE)
            if not data:
                return
            lines = data.decode().splitlines()
            name = next((line[7:] for line in lines if line.startswith("FDNAME=")), None)
            with self.lock:
                if "FDSTORE=1" in lines:
                    self._keep(name, fds)
                if "FDSTOREREMOVE=1" in lines:
                    for row in [row for row in self.store if row[0] == name]:
                        self.store.remove(row)
                        os.close(row[1])
            if name is None:
                self.told.put(lines)

    def _keep(self, name, fds):
        for fd in fds:
            if len(self.store) < self.room:
                self.store.append((name, fd))
            else:
                os.close(fd)

    def _drop_the_dead(self):
        poll = select.poll()
        for _, fd in self.store:
            poll.register(fd, 0)
        dead = {fd for fd, _ in poll.poll(0)}
        for row in [row for row in self.store if row[1] in dead]:
            self.store.remove(row)
            os.close(row[1])

    def _hand_over(self):
        while True:
            try:
                asking, _ = self.door.accept()
            except OSError:
                return
            with asking, self.lock:
                self._drop_the_dead()
                rows = [(SOCKET_UNIT, each.fileno()) for each in self.sockets] + self.store
                asking.sendall(json.dumps([name for name, _ in rows]).encode() + b"\n")
                for at in range(0, len(rows), MOST_IN_A_MESSAGE):
                    some = [fd for _, fd in rows[at : at + MOST_IN_A_MESSAGE]]
                    asking.recv(1)
                    socket.send_fds(asking, [b"."], some)


def main():
    manager, *command = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(manager)
        text = b""
        while not text.endswith(b"\n"):
            text += asking.recv(65536)
        names, fds = json.loads(text), []
        while len(fds) < len(names):
            asking.sendall(b".")
            fds += socket.recv_fds(asking, 1, MOST_IN_A_MESSAGE)[1]
    # Out of the way first: they may lie where the others go.
    kept = [os.dup2(fd, OUT_OF_THE_WAY + n) for n, fd in enumerate(fds)]
    for fd in fds:
        os.close(fd)
    for n, fd in enumerate(kept):
        os.dup2(fd, FIRST_FD + n)
        os.set_inheritable(FIRST_FD + n, True)
        os.close(fd)
    environment = {**os.environ, "LISTEN_PID": str(os.getpid())}
    environment.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(names))
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
