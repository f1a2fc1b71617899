"""
A proxy that spoils connections

It stands before a broker or nameserver, a fake or a real one, and passes bytes on in both
directions until told otherwise: each Flow is one direction of all its connections.

    with FaultProxy(broker.address) as proxy:
        proxy.up.delay = 0.2            # towards the server, seconds; down is towards the daemon
        proxy.down.stalled.set()        # nothing more is passed on, the connection stays
        proxy.down.bytes_at_once = 1    # one byte a write
        proxy.up.bytes_per_second = 100_000
        proxy.down.cut_after = 57       # so many bytes more, and then the end (reset: proxy.resets)
        proxy.reset_all()               # at once
        proxy.is_deaf = True            # connections are accepted and nothing is passed on

TCP keeps the order of bytes, and so does this: what is reordered on a network arrives late.
"""

import contextlib
import select
import socket
import struct
import threading
import time

import remoting

CHUNK = 1 << 16


class Flow:
    """One direction of every connection, to be changed at any time."""

    def __init__(self):
        self.delay = 0.0
        self.bytes_at_once = CHUNK
        self.bytes_per_second = 0  # 0: as many as there are
        self.cut_after = None
        self.stalled = threading.Event()
        self.n_bytes = 0


class FaultProxy:
    def __init__(self, address):
        self.target = remoting.parse_address(address)
        self.up, self.down = Flow(), Flow()
        self.resets = False  # how a cut ends a connection; otherwise with an end of file
        self.is_deaf = False
        self.pairs = []
        self.is_over = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_all()

    def close_all(self):
        for near, far in self.pairs:
            self._end(near, far, False)

    def reset_all(self):
        for near, far in self.pairs:
            self._end(near, far, True)

    def heal(self):
        """As at the beginning, for connections to come."""
        self.up, self.down = Flow(), Flow()
        self.is_deaf = False

    @staticmethod
    def _end(near, far, resets):
        for each in (near, far):
            with contextlib.suppress(OSError):
                if resets:
                    linger = struct.pack("ii", 1, 0)
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                each.shutdown(socket.SHUT_RD if resets else socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket()
            self.pairs.append((near, far))
            threading.Thread(target=self._serve, args=(near, far), daemon=True).start()

    def _serve(self, near, far):
        up, down = self.up, self.down
        try:
            far.connect(self.target)
        except OSError:
            near.close()
            far.close()
            return
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threads = [
            threading.Thread(target=self._pass_on, args=row, daemon=True)
            for row in ((near, far, up), (far, near, down))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        near.close()
        far.close()

    def _pass_on(self, source, sink, flow):
        try:
            while data := self._read(source, flow):
                if flow.delay:
                    time.sleep(flow.delay)
                for at in range(0, len(data), flow.bytes_at_once):
                    if not self._write(sink, data[at : at + flow.bytes_at_once], flow):
                        self._end(source, sink, self.resets)
                        return
        except OSError:
            pass
        self._end(source, sink, False)

    def _read(self, source, flow):
        """The next bytes, once they may be passed on; b"" at the end."""
        while not self.is_over:
            is_readable = select.select([source], [], [], 0.05)[0]
            if self.is_deaf or flow.stalled.is_set():
                time.sleep(0.005)
            elif is_readable:
                return source.recv(CHUNK)
        return b""

    @staticmethod
    def _write(sink, data, flow):
        """False where the flow is cut behind this."""
        left = flow.cut_after
        if left is not None:
            data = data[:left]
            flow.cut_after = left - len(data)
        sink.sendall(data)
        flow.n_bytes += len(data)
        if flow.bytes_per_second:
            time.sleep(len(data) / flow.bytes_per_second)
        return left is None or flow.cut_after > 0
