"""
A daemon for the tests of remotingctl: takes what it sends apart, and answers as a test says

FakeDaemon listens on a socket of its own and serves one connection after the other. A script is a
function of a request that gives what is answered; those below are enough for most tests.

    with FakeDaemon(stored) as daemon:
        exits(run(daemon, "send", "t", "hello"), 0)

REMOTINGCTL names the binary.
"""

import json
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import tap

REMOTINGCTL = os.environ.get("REMOTINGCTL", "build/client/remotingctl")
PATIENCE_S = 30
RESPONSE = 1


class Request:
    """One frame of the client, taken apart with nothing but the description of the protocol."""

    def __init__(self, frame):
        word = struct.unpack(">I", frame[:4])[0]
        self.binary = word >> 24 == 1
        head, self.body = frame[4:4 + (word & 0xFFFFFF)], frame[4 + (word & 0xFFFFFF):]
        if self.binary:
            self.read_binary(head)
            return
        header = json.loads(head)
        self.code, self.opaque, self.flag = header["code"], header["opaque"], header.get("flag", 0)
        self.ext = header.get("extFields") or {}

    def read_binary(self, head):
        self.code, _language, _version, self.opaque, self.flag, n = struct.unpack(">hBhiii", head[:17])
        at = 17 + n
        end = at + 4 + struct.unpack(">i", head[at:at + 4])[0]
        at += 4
        self.ext = {}
        while at < end:
            texts = []
            for form in (">h", ">i"):
                size = struct.calcsize(form)
                n = struct.unpack(form, head[at:at + size])[0]
                texts.append(head[at + size:at + size + n].decode())
                at += size + n
            self.ext[texts[0]] = texts[1]


def answer(request, code=0, ext=None, body=b"", remark=None, opaque=None):
    header = {"code": code, "flag": RESPONSE, "language": "OTHER", "version": 479,
              "opaque": request.opaque if opaque is None else opaque}
    if ext is not None:
        header["extFields"] = ext
    if remark is not None:
        header["remark"] = remark
    head = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body


class FakeDaemon:
    """Takes connections, records requests, and answers each with what script(request) gives: bytes, a list of them,
    nothing, or the word "close"."""

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.problem = None
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "remotingd.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE_S)
        self.listener.close()
        shutil.rmtree(self.folder)
        if self.problem:
            raise self.problem

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    self.talk(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except Exception as problem:  # of the script: belongs to the test
                    self.problem = problem

    def n_frames_waiting(self):
        """Frames that were sent but not read yet, given a tenth of a second to come in: used to see that none do."""
        if not select.select([self.connection], [], [], 0.1)[0]:
            return 0
        return self.connection.recv(65536, socket.MSG_PEEK).count(b'"topic"')

    def talk(self, connection):
        self.connection = connection
        while len(prefix := connection.recv(4, socket.MSG_WAITALL)) == 4:
            request = Request(connection.recv(struct.unpack(">I", prefix)[0], socket.MSG_WAITALL))
            self.requests.append(request)
            reply = self.script(request)
            if reply == "close":
                return
            for part in reply if isinstance(reply, list) else [reply] if reply else []:
                connection.sendall(part)


def command(daemon, *arguments):
    return [REMOTINGCTL, *arguments, "--socket", daemon.path]


def run(daemon, *arguments, stdin=b""):
    return subprocess.run(command(daemon, *arguments), input=stdin, capture_output=True, timeout=PATIENCE_S)


def equal(seen, expected):
    tap.equal(seen, expected, "the result")


def contains(text, part):
    tap.contains(text, part, "the text")


def exits(result, code):
    tap.check(result.returncode == code,
              f"exit code {result.returncode}, expected {code}: {result.stdout!r} {result.stderr!r}")


def stored(request):
    ext = {"msgId": "0A00000100002A9F0000000000001000", "brokerName": "broker-a", "queueId": "2",
           "queueOffset": "17", "sidecar.uniqKey": "U1"}
    return answer(request, ext=ext)


def refused(request):
    return answer(request, 10001, {"sidecar.error": "unreachable", "sidecar.sent": "no"},
                  remark="10.0.0.7:10911 refuses connections")


def unknown_topic(request):
    return answer(request, 17, {"sidecar.addr": "10.0.0.7:10911"}, remark="topic[t] not exist")


def message(body, receipt, **more):
    return {"topic": "t", "body": body, "encoding": "utf-8", "properties": {"UNIQ_KEY": "U"}, "brokerName": "broker-a",
            "queueId": 0, "queueOffset": 5, "receipt": receipt, **more}


def pops(*batches):
    """A script: each POP brings the next batch, then nothing; each ACK is accepted."""
    left = list(batches)

    def script(request):
        if request.code != 200050:
            return answer(request)
        return answer(request, body=json.dumps(left.pop(0)).encode()) if left else answer(request, 210)
    return script


def receipts(daemon):
    return [r.ext["sidecar.receipt"] for r in daemon.requests if r.code == 200051]
