#!/usr/bin/env python3
"""What a send looks like at the broker: compressed bodies, batches, properties"""

import base64
import json
import pathlib
import struct
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import SEND_MESSAGE, SEND_MESSAGE_V2
from scenario import TOPIC, is_failure, stage
from tap import check, contains, equal, less, main, test

SEND_BATCH_MESSAGE = 320


def properties(text):
    return dict(pair.split("\x01", 1) for pair in text.split("\x02") if pair)


def batch_rows(body):
    rows = []
    at = 0
    while at < len(body):
        size, magic, crc, flag, n = struct.unpack_from(">5i", body, at)
        equal((magic, crc, flag), (0, 0, 0), "magic, bodyCRC and flag")
        text = body[at + 20 : at + 20 + n]
        (n_properties,) = struct.unpack_from(">h", body, at + 20 + n)
        equal(size, 22 + n + n_properties, "totalSize")
        rows.append((text, properties(body[at + 22 + n : at + size].decode())))
        at += size
    return rows


def call(on, code, ext, body):
    key = "topic" if code == SEND_MESSAGE else "b"
    return on.client().call(code, {key: TOPIC, **ext}, body)


def batch(on, messages, **ext):
    body = messages if isinstance(messages, bytes) else json.dumps(messages).encode()
    return call(on, SEND_BATCH_MESSAGE, {"sidecar.bodyFormat": "json", **ext}, body)


@test
def bodies_from_compress_over_on_are_compressed_as_java_does():
    with stage() as on:
        for body in (b"a" * 4095, b"a" * 4096, bytes(range(256)) * 400):
            equal(call(on, SEND_MESSAGE, {}, body).error, None, "the answer")
            seen = on.broker.seen(SEND_MESSAGE)[-1]
            if len(body) < 4096:
                equal((seen.ext["sysFlag"], seen.body), ("0", body), "a small body")
            else:
                equal(seen.ext["sysFlag"], str(0x301), "sysFlag: compressed, zlib")
                equal(seen.body, zlib.compress(body, 5), "the body, at Java's level")


@test
def who_wrote_the_sys_flag_has_the_body_left_alone():
    with stage() as on:
        body = b"a" * 10000
        call(on, SEND_MESSAGE_V2, {"f": "0"}, body)
        equal(on.broker.seen(SEND_MESSAGE_V2)[-1].body, body, "the body")


@test
def other_codecs_are_a_setting():
    for name, flag, magic in (("lz4", 0x101, "04224d18"), ("zstd", 0x201, "28b52ffd")):
        with stage({"send": {"compress_type": name}}) as on:
            call(on, SEND_MESSAGE, {}, b"a" * 5000)
            seen = on.broker.seen(SEND_MESSAGE)[-1]
            equal((seen.ext["sysFlag"], seen.body[:4].hex()), (str(flag), magic), name)
    with stage({"send": {"compress_over": "0B"}}) as on:
        call(on, SEND_MESSAGE, {}, b"a" * 5000)
        equal(on.broker.seen(SEND_MESSAGE)[-1].body, b"a" * 5000, "the body, never compressed")


@test
def a_json_batch_becomes_rocketmqs_own():
    with stage() as on:
        messages = [
            {"body": "grüße", "properties": {"KEYS": "k1", "n": 7, "on": True}},
            {"body": base64.b64encode(b"\0\1\2").decode(), "encoding": "base64"},
            {"body": "with\0nul", "properties": {"UNIQ_KEY": "MINE"}},
        ]
        answer = batch(on, messages)
        equal(answer.error, None, f"the answer ({answer.remark})")
        seen = on.broker.seen(SEND_BATCH_MESSAGE)[0]
        rows = batch_rows(seen.body)
        equal(
            [row[0] for row in rows], ["grüße".encode(), b"\0\1\2", b"with\0nul"], "the bodies"
        )
        keys = [row[1].pop("UNIQ_KEY") for row in rows]
        equal(
            [row[1] for row in rows],
            [{"KEYS": "k1", "n": "7", "on": "true", "WAIT": "true"}] + [{"WAIT": "true"}] * 2,
            "the properties",
        )
        equal((len(keys[0]), len(set(keys)), keys[2]), (32, 3, "MINE"), "the unique keys")
        equal(answer.ext["sidecar.uniqKey"], ",".join(keys), "sidecar.uniqKey")
        equal((seen.ext["m"], seen.ext["f"]), ("true", "0"), "batch and sysFlag")


@test
def a_batch_of_one_sharding_key_goes_to_its_queue():
    with stage() as on:
        row = {"body": "x", "properties": {"__SHARDINGKEY": "order-17"}}
        one = call(on, SEND_MESSAGE, {"property.__SHARDINGKEY": "order-17"}, b"x")
        for _ in range(3):
            answer = batch(on, [row, row])
            equal(answer.ext["echo.e"], one.ext["echo.queueId"], "the queue")


@test
def what_may_not_be_batched_is_said_in_words():
    plain = {"body": "x"}
    cases = (
        ([], "array"),
        ({"body": "x"}, "array"),
        (b"[{", "array"),
        ([1], "object"),
        ([plain, {"body": ""}], "message 1"),
        ([{"body": "x", "encoding": "base65"}], "encoding"),
        ([{"body": "?", "encoding": "base64"}], "base64"),
        ([{"body": "x", "topic": "Other"}], "'topic'"),
        ([{"body": "x", "properties": {"DELAY": "3"}}], "DELAY"),
        ([{"body": "x", "properties": {"TIMER_DELAY_SEC": "3"}}], "TIMER_DELAY_SEC"),
        ([{"body": "x", "properties": {"a": "1\x012"}}], "byte 1"),
        ([{"body": "x", "properties": {"REAL_TOPIC": "y"}}], "REAL_TOPIC"),
        ([{"body": "x", "properties": {"a": []}}], "not a string"),
        ([{"body": "x", "properties": {"UNIQ_KEY": ""}}], "UNIQ_KEY is empty"),
        ([plain, {"body": "x", "properties": {"WAIT": "false"}}], "WAIT"),
        ([plain, {"body": "x", "properties": {"__SHARDINGKEY": "y"}}], "sharding"),
        ([{"body": "x" * 3000000}, {"body": "y" * 3000000}], "max_message_size"),
        ([plain] * 60000, "JSON values"),
    )
    with stage() as on:
        for messages, word in cases:
            answer = batch(on, messages)
            is_failure(answer, "invalid", 13, "no", f"the answer to {str(messages)[:60]}")
            contains(answer.remark, word, "the remark")
        more = (
            ({"b": "%RETRY%g"}, "retry topic"),
            ({"property.KEYS": "k"}, "property.NAME"),
        )
        for ext, word in more:
            answer = batch(on, [plain], **ext)
            is_failure(answer, "invalid", 13, "no", f"the answer with {ext}")
            contains(answer.remark, word, "the remark")
        answer = call(on, SEND_MESSAGE, {"sidecar.bodyFormat": "json"}, b"[]")
        is_failure(answer, "invalid", 13, "no", "a JSON body that is no batch")
        equal(on.broker.seen(), [], "requests at the broker")


@test
def a_body_that_is_no_batch_never_reaches_the_broker():
    with stage() as on:
        good = struct.pack(">5i", 26, 0, 0, 0, 2) + b"hi" + struct.pack(">h", 2) + b"WA"
        equal(call(on, SEND_BATCH_MESSAGE, {}, good + good).error, None, "two messages")
        for n in list(range(1, 26)) + [27, 51]:
            answer = call(on, SEND_BATCH_MESSAGE, {}, (good + good)[:n])
            is_failure(answer, "invalid", 13, "no", f"the answer to {n} bytes")
        answer = call(on, SEND_BATCH_MESSAGE, {}, b"\xff" * 64)
        is_failure(answer, "invalid", 13, "no", "the answer to garbage")
        equal(len(on.broker.seen()), 1, "requests at the broker")


@test
def what_no_broker_could_read_is_answered_at_once():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    cases = (
        ({"property.a": "1\x022"}, "byte 2"),
        ({"property.a\x01": "1"}, "byte 1"),
        ({"property.UNIQ_KEY": ""}, "UNIQ_KEY is empty"),
        ({"property.": "1"}, "no name"),
        ({"property.REAL_QID": "1"}, "REAL_QID"),
        ({"property.DELAY": "soon"}, "DELAY is 'soon'"),
        ({"property.TIMER_DELAY_MS": "-1"}, "TIMER_DELAY_MS"),
        ({"sidecar.traceparent": "yes"}, "W3C"),
        ({"sidecar.traceparent": trace.upper()}, "W3C"),
        ({"sidecar.traceparent": "ff" + trace[2:]}, "W3C"),
        ({"sidecar.traceparent": trace + "-x"}, "W3C"),
        ({"sidecar.traceparent": trace.replace("b7ad6b7169203331", "0" * 16)}, "W3C"),
    )
    with stage() as on:
        for ext, word in cases:
            answer = call(on, SEND_MESSAGE, ext, b"x")
            is_failure(answer, "invalid", 13, "no", f"the answer with {ext}")
            contains(answer.remark, word, "the remark")
        answer = call(on, SEND_MESSAGE, {}, b"x" * (4 * 1024 * 1024 + 1))
        is_failure(answer, "invalid", 13, "no", "the answer to a body over 4 MiB")
        less(0, len(answer.remark), "characters of the remark")
        equal(on.broker.seen(), [], "requests at the broker")
        for good in (trace, "01" + trace[2:] + "-later"):
            equal(call(on, SEND_MESSAGE, {"sidecar.traceparent": good}, b"x").error, None, good)
            seen = properties(on.broker.seen()[-1].ext["properties"])
            equal(seen["traceparent"], good, "the property")


@test
def the_number_of_a_request_in_the_log_is_in_the_trace_of_its_message():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ext = {"sidecar.traceparent": trace}
    with stage() as on:
        equal(call(on, SEND_MESSAGE, ext, b"x").error, None, "a send")
        first = properties(on.broker.seen()[-1].ext["properties"])["tracestate"]
        word, number = first.split("=")
        equal(word, "remotingd", "who says it")
        # The number of the next request is the next one, as its failure and the log tell it.
        failure = call(on, SEND_MESSAGE, {**ext, "property.": "1"}, b"x")
        equal(int(failure.ext["sidecar.requestId"]), int(number) + 1, "the number of the next one")
        contains(on.daemon.log(), f"request={int(number) + 1} ", "the log")
        own = {**ext, "property.tracestate": "shop=7"}
        equal(call(on, SEND_MESSAGE, own, b"x").error, None, "a send with a state of its own")
        seen = properties(on.broker.seen()[-1].ext["properties"])
        equal(seen["tracestate"], "shop=7", "the state that the caller gave")
        equal(call(on, SEND_MESSAGE, {}, b"x").error, None, "a send without a trace")
        check("tracestate" not in properties(on.broker.seen()[-1].ext["properties"]), "none")
        batch = json.dumps([{"body": "a"}, {"body": "b"}]).encode()
        answer = call(on, SEND_BATCH_MESSAGE, {**ext, "sidecar.bodyFormat": "json"}, batch)
        equal(answer.error, None, f"a batch ({answer.remark})")
        equal(on.broker.seen()[-1].body.count(b"tracestate\x01remotingd="), 2, "in the batch")


main()
