"""
Requests by the hundred thousand

What FakeBroker and Client do frame by frame, done for whole reads at once: a broker that echoes
tokens after delays of the story's choice, and callers who send many requests in one write and count
how each of them ended. Every request has a token of its own, so that an answer which reaches
somebody else is seen.
"""

import heapq
import re
import select
import threading
import time

import remoting
from remoting import GET_MAX_OFFSET, Command

_OPAQUE = re.compile(rb'"opaque":(-?\d+)[,}]')
_TOKEN = re.compile(rb'"(?:echo\.)?token":"([^"]*)"')


def _frames(received):
    """Takes whole frames out of the bytearray."""
    at = 0
    while (size := remoting.measure(received[at : at + 4])) and at + size <= len(received):
        yield bytes(received[at : at + size])
        at += size
    del received[:at]


class DelayedEcho:
    """For FakeBroker.serve: each request is echoed after delay() seconds."""

    def __init__(self, delay):
        self.delay = delay
        self.opaques = []
        self.n_connections = 0

    def __call__(self, connection):
        self.n_connections += 1
        due = []
        lock = threading.Lock()
        threading.Thread(target=self._answer, args=(connection, due, lock), daemon=True).start()
        received = bytearray()
        while data := connection.socket.recv(1 << 20):
            received += data
            now = time.monotonic()
            rows = []
            for frame in _frames(received):
                opaque = int(_OPAQUE.search(frame)[1])
                token = _TOKEN.search(frame)
                if token is None:
                    continue
                self.opaques.append(opaque)
                rows.append((now + self.delay(), opaque, token[1].decode()))
            with lock:
                for row in rows:
                    heapq.heappush(due, row)
        connection.is_open = False

    @staticmethod
    def _answer(connection, due, lock):
        while connection.is_open:
            now = time.monotonic()
            ready = []
            with lock:
                while due and due[0][0] <= now:
                    ready.append(heapq.heappop(due))
            answers = (
                Command(0, {"echo.token": token}, b"", opaque, remoting.RESPONSE, "JAVA")
                for _, opaque, token in ready
            )
            connection.send_bytes(b"".join(remoting.encode(answer) for answer in answers))
            time.sleep(0.0005)


class Callers:
    """Many connections that send the same number of requests at once, with the same opaques."""

    def __init__(self, clients, address, timeout_ms):
        self.clients = clients
        self.address = address
        self.timeout_ms = timeout_ms
        self.turn = 0
        self.n_answers = 0
        self.n_timeouts = 0
        self.wrong = []  # what is neither one's own answer nor a timeout

    def _requests(self, number, n):
        ext = {"sidecar.addr": self.address, "sidecar.timeoutMillis": str(self.timeout_ms)}
        return b"".join(
            remoting.encode(
                Command(
                    GET_MAX_OFFSET, {**ext, "token": f"{self.turn}.{number}.{opaque}"}, b"", opaque
                )
            )
            for opaque in range(n)
        )

    def ask(self, n, within=30):
        """
        n requests each; returns the seconds until each of them had its outcome. Raises TimeoutError
        where one has none.
        """
        self.turn += 1
        blocks = [self._requests(number, n) for number in range(len(self.clients))]
        open_opaques = [set(range(n)) for _ in self.clients]
        began = time.monotonic()
        for client, block in zip(self.clients, blocks):
            client.send_bytes(block)
        by_fd = {client.socket.fileno(): number for number, client in enumerate(self.clients)}
        poll = select.poll()
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        n_left = n * len(self.clients)
        while n_left > 0:
            if time.monotonic() - began > within:
                raise TimeoutError(f"{n_left} requests have no outcome after {within} s")
            for fd, _ in poll.poll(100):
                number = by_fd[fd]
                client = self.clients[number]
                client.received += client.socket.recv(1 << 18)
                for frame in _frames(client.received):
                    self._take(number, frame, open_opaques[number])
                    n_left -= 1
        return time.monotonic() - began

    def _take(self, number, frame, open_opaques):
        opaque = int(_OPAQUE.search(frame)[1])
        token = _TOKEN.search(frame)
        own = b"%d.%d.%d" % (self.turn, number, opaque)
        if opaque not in open_opaques:
            self.wrong.append(frame)
            return
        open_opaques.remove(opaque)
        if token and token[1] == own:
            self.n_answers += 1
        elif token is None and b'"sidecar.error":"timeout"' in frame:
            self.n_timeouts += 1
        else:
            self.wrong.append(frame)
