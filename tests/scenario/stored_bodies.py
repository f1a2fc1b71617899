#!/usr/bin/env python3
"""Stored bodies as JSON: inner batches become their messages, and bombs stay as they are"""

import base64
import pathlib
import struct
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import answers
from remoting import PULL_MESSAGE
from scenario import TOPIC, stage
from tap import check, equal, main, test

INNER_BATCH, COMPRESSED = 0xC0, 0x1


def stored(offset, body, sys_flag):
    """One message as brokers store it, by the layout of RocketMQ's MessageDecoder."""
    rest = struct.pack(">iiiiqqiq", -626843481, 0, 0, 0, offset, offset, sys_flag, 1700000000000)
    hosts = bytes((127, 0, 0, 1)) + struct.pack(">iq", 1, 1700000000000)
    hosts += bytes((127, 0, 0, 1)) + struct.pack(">iiqi", 2, 0, 0, len(body))
    topic = TOPIC.encode()
    rest += hosts + body + bytes((len(topic),)) + topic + struct.pack(">h", 0)
    return struct.pack(">i", len(rest) + 4) + rest


def batched(body, properties=b""):
    rest = struct.pack(">iiii", 0, 0, 0, len(body)) + body
    rest += struct.pack(">h", len(properties)) + properties
    return struct.pack(">i", len(rest) + 4) + rest


def pulled(*messages):
    with stage() as on:
        on.broker.on(PULL_MESSAGE, answers(ext={"nextBeginOffset": "99"}, body=b"".join(messages)))
        ask = {"topic": TOPIC, "consumerGroup": "GID", "queueId": 0, "queueOffset": 0}
        answer = on.client(timeout=30).call(PULL_MESSAGE, {**ask, "sidecar.answerFormat": "json"})
        equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
        return answer


@test
def an_inner_batch_becomes_its_messages():
    batch = batched(b"a", b"TAGS\x01first\x02") + batched(b"b") + batched(b"c", b"k\x01v\x02")
    rows = pulled(stored(5, batch, INNER_BATCH), stored(8, b"d", 0)).json()
    equal([row["body"] for row in rows], ["a", "b", "c", "d"], "the bodies")
    equal([row["queueOffset"] for row in rows], [5, 6, 7, 8], "their offsets")
    equal(rows[0]["tags"], "first", "the tag of the first")
    equal([row["properties"] for row in rows[1:]], [{}, {"k": "v"}, {}], "properties")


@test
def a_batch_that_is_compressed_as_a_whole_is_unwrapped_too():
    batch = zlib.compress(batched(b"a") + batched(b"b"))
    rows = pulled(stored(0, batch, INNER_BATCH | COMPRESSED)).json()
    equal([row["body"] for row in rows], ["a", "b"], "the bodies")


@test
def a_batch_that_is_cut_or_empty_comes_raw_as_a_whole():
    for batch in (b"", batched(b"a")[:-1], batched(b"a") + b"\0", batched(b"a") + batched(b"b")[:9]):
        rows = pulled(stored(0, batch, INNER_BATCH), stored(1, b"next", 0)).json()
        equal(len(rows), 2, "rows")
        equal(base64.b64decode(rows[0]["raw"]), batch, "the batch as it is")
        check("corrupt" in rows[0]["reason"], f"the reason says why (saw {rows[0]['reason']})")
        equal(rows[1]["body"], "next", "the message behind it")


@test
def millions_of_tiny_messages_are_bounded_by_their_number():
    tiny = stored(0, b"", 0)
    answer = pulled(tiny * 20000)
    equal(len(answer.json()), 8192, "rows")
    equal(answer.ext["sidecar.truncated"], str(20000 - 8192), "messages left out")
    batch = batched(b"") * 300000
    rows = pulled(stored(0, batch, INNER_BATCH)).json()
    check("fit no answer" in rows[0]["reason"], f"one batch of them (saw {rows[0]['reason']})")


@test
def a_body_that_becomes_far_larger_than_it_is_stays_compressed():
    small, bomb = zlib.compress(bytes(1 << 20), 9), zlib.compress(bytes(8 << 20), 9)
    rows = pulled(stored(0, small, COMPRESSED), stored(1, bomb, COMPRESSED)).json()
    equal((rows[0]["encoding"], len(rows[0]["body"])), ("base64", 1398104), "1 MiB is granted")
    check("200 times" in rows[1]["reason"], f"the reason (saw {rows[1].get('reason')})")
    equal(base64.b64decode(rows[1]["raw"]), bomb, "the bomb as it is")


main()
