"""
What is no frame, or no header: BAD, by what is wrong with it; an opaque that can be read is 5
"""

import struct

import remoting
from remoting import GET_ROUTEINFO_BY_TOPIC

WHOLE = remoting.encode(remoting.Command(GET_ROUTEINFO_BY_TOPIC, {"topic": "Any"}, opaque=5))
HEADER = b'{"code":105,"opaque":5,"extFields":{"topic":"Any"}}'
BINARY = remoting.encode(
    remoting.Command(105, {"topic": "Any"}, opaque=5, serialize=remoting.ROCKETMQ)
)

BAD = {
    "a length of 16777213, one too many": struct.pack(">II", 16777213, len(HEADER)) + HEADER,
    "a length of 2147483647": struct.pack(">II", 0x7FFFFFFF, len(HEADER)) + HEADER,
    "a length of -2147483648": struct.pack(">II", 0x80000000, len(HEADER)) + HEADER,
    "a length of -1": struct.pack(">II", 0xFFFFFFFF, len(HEADER)) + HEADER,
    "a length of 0": struct.pack(">II", 0, 0),
    "a length of 3": struct.pack(">I", 3) + b"abc",
    "a header longer than its frame": struct.pack(">II", 4 + len(HEADER), len(HEADER) + 1) + HEADER,
    "a header of 16777215 bytes": struct.pack(">II", 4 + len(HEADER), 0xFFFFFF) + HEADER,
    "an empty header": remoting.frame(b""),
    "a header that is not JSON": remoting.frame(b"GET / HTTP/1.1"),
    "a header that is null": remoting.frame(b"null"),
    "a header that is a list": remoting.frame(b"[1]"),
    "a header that ends too early": remoting.frame(HEADER[:-2]),
    "a header with text behind it": remoting.frame(HEADER + b"x"),
    "a header with bytes that are not UTF-8": remoting.frame(HEADER.replace(b"Any", b"\xff\xfe")),
    "serialize type 2": remoting.frame(HEADER, serialize=2),
    "serialize type 255": remoting.frame(HEADER, serialize=255),
    "a binary header of 20 bytes": remoting.frame(BINARY[8:28], serialize=1),
    "a binary header with a negative length inside": remoting.frame(
        BINARY[8:21] + struct.pack(">i", -1) + BINARY[25:], serialize=1
    ),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
}
