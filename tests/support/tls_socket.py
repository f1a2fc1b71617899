"""
A connection of a TLS server, for a thread that reads and others that write

Python's own SSL socket is not made for that. This one has those of a socket's methods that
FakeBroker uses; the handshake is made by the first recv().
"""

import select
import ssl
import threading

HANDSHAKE_SECONDS = 10


class TlsSocket:
    def __init__(self, accepted, context):
        self.plain = accepted
        self.context = context
        self.lock = threading.Lock()
        self.tls = None
        self.was_resumed = None  # known with the end of the handshake

    def recv(self, n):
        if self.tls is None:
            self._shake_hands()
        while True:
            with self.lock:
                try:
                    return self.tls.recv(n)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLEOFError:
                    return b""
            select.select([self.plain_fd], [], [])

    def sendall(self, data):
        data = memoryview(data)
        while data:
            with self.lock:
                try:
                    data = data[self.tls.send(data) :]
                    continue
                except ssl.SSLWantWriteError:
                    pass
            select.select([], [self.plain_fd], [])

    def setsockopt(self, *arguments):
        self._socket.setsockopt(*arguments)

    def shutdown(self, how):
        """Without close_notify."""
        self._socket.shutdown(how)

    def close_notify(self):
        with self.lock:
            try:
                self.tls.setblocking(True)
                self.tls.unwrap()
            except OSError:
                pass

    def close(self):
        self._socket.close()

    def peer_certificate(self):
        """What the client showed, as ssl.SSLSocket.getpeercert() tells it."""
        return self.tls.getpeercert()

    @property
    def _socket(self):
        return self.tls or self.plain

    @property
    def plain_fd(self):
        return self._socket.fileno()

    def _shake_hands(self):
        self.plain.settimeout(HANDSHAKE_SECONDS)
        self.tls = self.context.wrap_socket(self.plain, server_side=True)
        self.tls.setblocking(False)
        self.was_resumed = self.tls.session_reused
