"""
An HTTP/1.1 client on a Unix socket that says exactly what it is told

    client = HttpClient(path)
    client.call("POST", "/v1/topics/Orders/messages", b"hello", {"X-Mq-Tags": "new"}).status

Python's own http.client makes requests well formed; raw() sends any bytes, and answer() reads one
answer, whose framing it checks. http_stage() is the scenarios' stage with an HTTP socket.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import tempfile

from scenario import stage

TIMEOUT_SECONDS = 20


@dataclasses.dataclass
class Answer:
    status: int
    fields: dict  # names in small letters
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def sent(self):
        return self.fields.get("x-mq-sent")

    @property
    def error(self):
        return self.json()["error"]


class HttpClient:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect(path)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def request(self, method, target, body=None, fields=None):
        """Sends a request without waiting for its answer."""
        fields = {"Host": "localhost", **(fields or {})}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self.raw("\r\n".join(lines).encode() + (body or b""))

    def call(self, method, target, body=None, fields=None):
        self.request(method, target, body, fields)
        return self.answer(has_body=method != "HEAD")

    def _read_until(self, is_there):
        while not is_there():
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(f"the connection ended after {self.received!r}")
            self.received += data

    def answer(self, has_body=True):
        """The next answer; 100 Continue is one, too."""
        self._read_until(lambda: b"\r\n\r\n" in self.received)
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        version, status, _ = first.split(" ", 2)
        fields = dict(line.split(": ", 1) for line in lines)
        fields = {name.lower(): value for name, value in fields.items()}
        if version != "HTTP/1.1" or len(fields) != len(lines):
            raise ValueError(f"no answer of HTTP/1.1: {head!r}")
        n = int(fields.get("content-length", 0)) if has_body else 0
        self._read_until(lambda: len(self.received) >= n)
        body, self.received = self.received[:n], self.received[n:]
        return Answer(int(status), fields, body)

    def is_ended(self):
        """Whether the connection ends without another byte."""
        try:
            return not self.received and not self.socket.recv(1)
        except ConnectionResetError:
            return True


@contextlib.contextmanager
def http_stage(http=None, settings=None, **more):
    """The stage with an HTTP socket, and the path of that."""
    settings = {section: dict(keys) for section, keys in (settings or {}).items()}
    with tempfile.TemporaryDirectory(prefix="remotingd-") as directory:
        os.chmod(directory, 0o755)
        path = str(pathlib.Path(directory) / "http.sock")
        settings["http"] = {"socket": path, **(http or {})}
        with stage(settings, **more) as on:
            yield on, path
