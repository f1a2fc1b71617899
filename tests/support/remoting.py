"""
RocketMQ's remoting protocol for tests

Commands, both header forms, frames, a blocking client over a Unix or TCP socket, and stored
messages. Written from the protocol's description and independent of the C code, so that each checks
the other.
"""

import dataclasses
import json
import re
import select
import socket
import struct
import time

JSON = 0
ROCKETMQ = 1

RESPONSE = 1
ONEWAY = 2

LANGUAGES = [
    "JAVA",
    "CPP",
    "DOTNET",
    "PYTHON",
    "DELPHI",
    "ERLANG",
    "RUBY",
    "OTHER",
    "HTTP",
    "GO",
    "PHP",
    "OMS",
    "RUST",
    "NODE_JS",
]

SEND_MESSAGE = 10
PULL_MESSAGE = 11
QUERY_MESSAGE = 12
QUERY_CONSUMER_OFFSET = 14
UPDATE_CONSUMER_OFFSET = 15
UPDATE_AND_CREATE_TOPIC = 17
UPDATE_BROKER_CONFIG = 25
GET_BROKER_CONFIG = 26
SEARCH_OFFSET_BY_TIMESTAMP = 29
GET_MAX_OFFSET = 30
GET_MIN_OFFSET = 31
GET_EARLIEST_MSG_STORETIME = 32
VIEW_MESSAGE_BY_ID = 33
HEART_BEAT = 34
UNREGISTER_CLIENT = 35
CONSUMER_SEND_MSG_BACK = 36
END_TRANSACTION = 37
GET_CONSUMER_LIST_BY_GROUP = 38
CHECK_TRANSACTION_STATE = 39
NOTIFY_CONSUMER_IDS_CHANGED = 40
LOCK_BATCH_MQ = 41
UNLOCK_BATCH_MQ = 42
GET_ROUTEINFO_BY_TOPIC = 105
GET_BROKER_CLUSTER_INFO = 106
GET_CONSUMER_STATUS_FROM_CLIENT = 221
GET_CONSUMER_RUNNING_INFO = 307
SEND_MESSAGE_V2 = 310
SEND_BATCH_MESSAGE = 320
SEND_REPLY_MESSAGE = 324
SEND_REPLY_MESSAGE_V2 = 325
PUSH_REPLY_MESSAGE_TO_CLIENT = 326
RECALL_MESSAGE = 370
QUERY_ASSIGNMENT = 400
POP_MESSAGE = 200050
ACK_MESSAGE = 200051
BATCH_ACK_MESSAGE = 200151
CHANGE_MESSAGE_INVISIBLETIME = 200053
NOTIFICATION = 200054
SIDECAR = 30000
REGISTER_PROCESSOR = 30007
UNREGISTER_PROCESSOR = 30008
GET_RPC_HOOKS = 30010
CLEAR_RPC_HOOKS = 30011
GET_STATS = 30012
RELOAD = 30015

SUCCESS = 0
SYSTEM_ERROR = 1
SYSTEM_BUSY = 2
REQUEST_CODE_NOT_SUPPORTED = 3
MESSAGE_ILLEGAL = 13
NO_PERMISSION = 16
TOPIC_NOT_EXIST = 17
PULL_NOT_FOUND = 19
QUERY_NOT_FOUND = 22
POLLING_TIMEOUT = 210
GO_AWAY = 1500


class ProtocolError(Exception):
    pass


class ConnectionEnded(Exception):
    """The peer closed the connection (whole frames that came before were handed out)."""


@dataclasses.dataclass
class Command:
    code: int
    ext: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    opaque: int = 0
    flag: int = 0
    language: str = "PYTHON"
    version: int = 479
    remark: str = None
    serialize: int = JSON

    @property
    def is_response(self):
        return bool(self.flag & RESPONSE)

    @property
    def is_oneway(self):
        return bool(self.flag & ONEWAY)

    @property
    def error(self):
        """sidecar.error, or None when the answer is not a failure made by the daemon."""
        return self.ext.get("sidecar.error")

    def json(self):
        return json.loads(self.body)


def response(request, code=SUCCESS, ext=None, body=b"", remark=None, serialize=JSON):
    return Command(
        code, dict(ext or {}), body, request.opaque, RESPONSE, "JAVA", 501, remark, serialize
    )


def encode(command):
    """The whole frame, length word included."""
    header = _encode_binary(command) if command.serialize == ROCKETMQ else _encode_json(command)
    return frame(header, command.body, command.serialize)


def frame(header, body=b"", serialize=JSON):
    return (
        struct.pack(">II", 4 + len(header) + len(body), serialize << 24 | len(header))
        + header
        + body
    )


def _encode_json(command):
    header = {
        "code": command.code,
        "flag": command.flag,
        "language": command.language,
        "opaque": command.opaque,
        "serializeTypeCurrentRPC": "JSON",
        "version": command.version,
    }
    if command.ext:
        header["extFields"] = command.ext
    if command.remark is not None:
        header["remark"] = command.remark
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()


def _encode_binary(command):
    remark = (command.remark or "").encode()
    ext = b"".join(
        struct.pack(">H", len(key.encode()))
        + key.encode()
        + struct.pack(">i", len(value.encode()))
        + value.encode()
        for key, value in command.ext.items()
    )
    language = LANGUAGES.index(command.language)
    fixed = struct.pack(
        ">hBhii", command.code, language, command.version, command.opaque, command.flag
    )
    return fixed + struct.pack(">i", len(remark)) + remark + struct.pack(">i", len(ext)) + ext


def measure(data):
    """The size of the frame at the start of data, or None while not even its length is there."""
    return None if len(data) < 4 else 4 + struct.unpack_from(">I", data)[0]


def decode(data):
    """The command in one whole frame."""
    if len(data) < 8 or measure(data) != len(data):
        raise ProtocolError(f"not one whole frame: {bytes(data[:16]).hex()}")
    word = struct.unpack_from(">I", data, 4)[0]
    serialize, n_header = word >> 24, word & 0xFFFFFF
    if n_header > len(data) - 8:
        raise ProtocolError(f"a header of {n_header} bytes in a frame of {len(data)}")
    header, body = bytes(data[8 : 8 + n_header]), bytes(data[8 + n_header :])
    if serialize == JSON:
        return _decode_json(header, body)
    if serialize == ROCKETMQ:
        return _decode_binary(header, body)
    raise ProtocolError(f"serialize type {serialize}")


def _decode_json(header, body):
    fields = json.loads(header)
    language = fields.get("language") or "JAVA"
    return Command(
        fields["code"],
        fields.get("extFields") or {},
        body,
        fields["opaque"],
        fields.get("flag", 0),
        language,
        fields.get("version", 0),
        fields.get("remark"),
        JSON,
    )


def _decode_binary(header, body):
    code, language, version, opaque, flag = struct.unpack_from(">hBhii", header)
    at = 13

    def text(word, at):
        n = struct.unpack_from(word, header, at)[0]
        at += struct.calcsize(word)
        if n < 0 or at + n > len(header):
            raise ProtocolError(f"a text of {n} bytes at {at} in a header of {len(header)}")
        return header[at : at + n].decode(), at + n

    remark, at = text(">i", at)
    n_ext = struct.unpack_from(">i", header, at)[0]
    at += 4
    end = at + n_ext
    if end != len(header):
        raise ProtocolError(f"ext fields end at {end} in a header of {len(header)}")
    ext = {}
    while at < end:
        key, at = text(">h", at)
        ext[key], at = text(">i", at)
    return Command(
        code, ext, body, opaque, flag, LANGUAGES[language], version, remark or None, ROCKETMQ
    )


def parse_address(address):
    """
    (host, port) from "host:port"; a text with a slash is the path of a Unix socket and stays as it
    is.
    """
    if not isinstance(address, str) or "/" in address:
        return address
    host, _, port = address.rpartition(":")
    return host, int(port)


class Client:
    """
    A blocking connection to remotingd (a path) or straight to a nameserver or broker ("host:port").
    send() and receive() pipeline; call() does one request. Answers that come while another is
    awaited are kept. For one thread at a time. Of a socket that is connected already it takes
    possession.
    """

    def __init__(self, address, timeout=10.0, serialize=JSON, tls=None):
        """tls: an ssl.SSLContext; without one it speaks plain text."""
        if isinstance(address, socket.socket):
            self.socket = address
            self.socket.settimeout(timeout)
        else:
            self.socket = self._connected(parse_address(address), timeout, tls)
        self.timeout = timeout
        self.serialize = serialize
        self.opaque = 0
        self.received = bytearray()
        self.ended = False
        self.waiting = {}

    @staticmethod
    def _connected(address, timeout, tls):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM)
        connected.settimeout(timeout)
        try:
            connected.connect(address)
            if tls:
                connected = tls.wrap_socket(connected)
        except OSError:
            connected.close()
            raise
        if family == socket.AF_INET:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, code, ext=None, body=b"", *, oneway=False, opaque=None, serialize=None, **more):
        """Sends one request and returns its opaque."""
        if opaque is None:
            self.opaque += 1
            opaque = self.opaque
        serialize = self.serialize if serialize is None else serialize
        ext = {key: str(value) for key, value in (ext or {}).items()}
        if serialize == ROCKETMQ and code > 32767:
            ext["sidecar.code"] = str(code)
            code = SIDECAR
        flag = ONEWAY if oneway else 0
        self.send_bytes(encode(Command(code, ext, body, opaque, flag, serialize=serialize, **more)))
        return opaque

    def send_bytes(self, data):
        self.socket.sendall(data)

    def receive(self, opaque=None, timeout=None):
        """
        The answer with this opaque, or whichever comes next. Raises TimeoutError or
        ConnectionEnded.
        """
        if opaque in self.waiting:
            return self.waiting.pop(opaque)
        if opaque is None and self.waiting:
            return self.waiting.pop(next(iter(self.waiting)))
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            command = self._next(end)
            if opaque is None or command.opaque == opaque:
                return command
            if command.opaque in self.waiting:
                raise ProtocolError(f"two answers with the opaque {command.opaque}")
            self.waiting[command.opaque] = command

    def call(self, code, ext=None, body=b"", *, timeout=None, **more):
        return self.receive(self.send(code, ext, body, **more), timeout)

    def gather(self, opaques, timeout=None):
        """The answers to all of these, by opaque."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        return {
            opaque: self.receive(opaque, max(0.0, end - time.monotonic())) for opaque in opaques
        }

    def is_silent(self, seconds):
        """True when nothing at all comes for that long."""
        return not self.received and not self._is_readable(seconds)

    def _is_readable(self, seconds):
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def wait_for_end(self, timeout=5.0):
        """
        The answers that still came before the peer closed. Raises TimeoutError when it does not
        close.
        """
        answers = []
        end = time.monotonic() + timeout
        while True:
            try:
                answers.append(self._next(end))
            except ConnectionEnded:
                return answers

    def _next(self, end):
        while True:
            size = measure(self.received)
            if size is not None and len(self.received) >= size:
                data = bytes(self.received[:size])
                del self.received[:size]
                return decode(data)
            left = end - time.monotonic()
            if left <= 0 or not self._is_readable(left):
                raise TimeoutError(f"no whole answer; {len(self.received)} bytes of one are here")
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                if self.received:
                    raise ProtocolError(f"closed after {len(self.received)} bytes of an answer")
                raise ConnectionEnded()
            self.received += data


_tokens = re.compile(r'"(?:\\.|[^"\\])*"|([{,]\s*)(-?\d+)(\s*:)')


def java_json(data):
    """JSON as fastjson writes it: numbers may be keys without quotes."""
    return json.loads(
        _tokens.sub(
            lambda m: m.group() if m.group(2) is None else f'{m[1]}"{m[2]}"{m[3]}', data.decode()
        )
    )


@dataclasses.dataclass
class Message:
    topic: str
    body: bytes
    properties: dict
    queue_id: int
    queue_offset: int
    physical_offset: int
    sys_flag: int
    reconsume_times: int
    store_host: str
    flag: int


def messages(body):
    """The stored messages of a PULL or POP answer."""
    found = []
    at = 0
    while at < len(body):
        size, magic, _crc, queue_id, flag = struct.unpack_from(">iIiii", body, at)
        if size < 91 or at + size > len(body):
            raise ProtocolError(f"a stored message of {size} bytes at {at} of {len(body)}")
        queue_offset, physical_offset, sys_flag = struct.unpack_from(">qqi", body, at + 20)
        n_born = 16 if sys_flag & 0x10 else 4
        n_store = 16 if sys_flag & 0x20 else 4
        where = at + 48 + n_born + 4 + 8
        store_host = _host(body[where : where + n_store + 4])
        where += n_store + 4
        reconsume_times, _prepared, n_body = struct.unpack_from(">iqi", body, where)
        where += 16
        content = body[where : where + n_body]
        where += n_body
        word = ">H" if magic == 0xDAA320AB else ">B"
        n_topic = struct.unpack_from(word, body, where)[0]
        where += struct.calcsize(word)
        topic = body[where : where + n_topic].decode()
        where += n_topic
        n_properties = struct.unpack_from(">h", body, where)[0]
        text = body[where + 2 : where + 2 + n_properties].decode()
        pairs = [pair.split("\x01", 1) for pair in text.split("\x02") if pair]
        found.append(
            Message(
                topic,
                content,
                dict(pairs),
                queue_id,
                queue_offset,
                physical_offset,
                sys_flag,
                reconsume_times,
                store_host,
                flag,
            )
        )
        at += size
    return found


def stored_message(topic, body, offset=0, queue_id=0, properties=None, **more):
    """
    One message as brokers store it, by the layout of RocketMQ's MessageDecoder. more: sys_flag,
    physical_offset, reconsume_times, port (of 127.0.0.1, where it is stored).
    """
    pairs = "".join(f"{key}\x01{value}\x02" for key, value in (properties or {}).items()).encode()
    host = bytes((127, 0, 0, 1))
    rest = struct.pack(">iiiiq", -626843481, 0, queue_id, 0, offset)
    rest += struct.pack(">qi", more.get("physical_offset", offset), more.get("sys_flag", 0))
    rest += struct.pack(">q", 1700000000000) + host + struct.pack(">iq", 1, 1700000000000)
    rest += host + struct.pack(">ii", more.get("port", 2), more.get("reconsume_times", 0))
    rest += struct.pack(">qi", 0, len(body)) + body
    rest += bytes((len(topic),)) + topic.encode() + struct.pack(">h", len(pairs)) + pairs
    return struct.pack(">i", len(rest) + 4) + rest


def _host(data):
    """ "host:port" of an address as stored messages have it."""
    family = socket.AF_INET if len(data) == 8 else socket.AF_INET6
    return f"{socket.inet_ntop(family, data[:-4])}:{struct.unpack('>i', data[-4:])[0]}"


def pop_extra_infos(answer, broker_name):
    """
    RocketMQ's own receipt (extraInfo) of each message of a POP answer, by (queue id, queue offset),
    for retry flag 0.
    """
    ext = answer.ext
    starts = {
        tuple(row.split(" ")[:2]): row.split(" ")[2]
        for row in ext["startOffsetInfo"].split(";")
        if row
    }
    infos = {}
    for row in ext["msgOffsetInfo"].split(";"):
        retry, queue_id, offsets = row.split(" ")
        for offset in offsets.split(","):
            infos[int(queue_id), int(offset)] = " ".join(
                (
                    starts[retry, queue_id],
                    ext["popTime"],
                    ext["invisibleTime"],
                    ext["reviveQid"],
                    retry,
                    broker_name,
                    queue_id,
                    offset,
                )
            )
    return infos
