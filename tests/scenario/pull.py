#!/usr/bin/env python3
"""PULL goes with its subscription inside: the daemon adds what the caller leaves out"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import MESSAGE_ILLEGAL, POP_MESSAGE, PULL_MESSAGE
from scenario import TOPIC, is_failure, stage
from tap import contains, equal, main, test

QUEUE = {"topic": TOPIC, "consumerGroup": "GID", "queueId": 3, "queueOffset": 40}
COMMIT_OFFSET, SUSPEND, SUBSCRIPTION = 1, 2, 4


def sent(on, **more):
    """The ext fields that the broker gets."""
    answer = on.client().call(PULL_MESSAGE, {**QUEUE, **more})
    equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
    return on.broker.seen(PULL_MESSAGE)[-1].ext


def part(ext, *keys):
    return [ext.get(key) for key in keys]


@test
def a_queue_and_an_offset_are_enough():
    with stage() as on:
        ext = sent(on)
        equal(
            part(ext, "sysFlag", "subscription", "expressionType", "subVersion", "commitOffset"),
            [str(SUBSCRIPTION), "*", "TAG", "0", "0"],
            "what is added",
        )
        equal(part(ext, "maxMsgNums", "suspendTimeoutMillis"), ["32", "0"], "the rest of it")
        equal(part(ext, "queueId", "queueOffset"), ["3", "40"], "what the caller said")


@test
def what_the_caller_gives_decides_the_flags():
    with stage() as on:
        ext = sent(on, suspendTimeoutMillis=9000, commitOffset=12, subscription="a || b")
        equal(
            part(ext, "sysFlag", "suspendTimeoutMillis", "commitOffset", "subscription"),
            [str(COMMIT_OFFSET | SUSPEND | SUBSCRIPTION), "9000", "12", "a || b"],
            "the fields",
        )
        # A member of a group has told its subscription with a heartbeat.
        ext = sent(on, sysFlag=0)
        equal(part(ext, "sysFlag", "subscription"), ["0", None], "with flags of the caller's own")


@test
def a_shorter_deadline_shortens_the_poll():
    with stage() as on:
        ext = sent(on, suspendTimeoutMillis=60000, **{"sidecar.timeoutMillis": 20000})
        equal(int(ext["suspendTimeoutMillis"]) in range(14000, 15001), True, "20 s, less 5")
        ext = sent(on, suspendTimeoutMillis=60000, **{"sidecar.timeoutMillis": 3000})
        equal(
            part(ext, "sysFlag", "suspendTimeoutMillis"), [str(SUBSCRIPTION), "0"], "with 3 s left"
        )


@test
def what_is_missing_or_no_number_is_named():
    with stage() as on:
        client = on.client()
        for key in ("consumerGroup", "queueId", "queueOffset"):
            ext = {name: value for name, value in QUEUE.items() if name != key}
            answer = client.call(PULL_MESSAGE, ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"a pull without {key}")
            equal(key in answer.remark, True, f"the remark names {key}")
        for key in ("sysFlag", "suspendTimeoutMillis", "commitOffset"):
            answer = client.call(PULL_MESSAGE, {**QUEUE, key: "soon"})
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"{key} that is no number")


@test
def what_is_shown_of_a_value_ends_with_a_whole_character():
    with stage() as on:
        client = on.client()
        # Each is cut: in the middle of a character, where it has two bytes.
        long = "a" + 100 * "é"
        wrong = (
            (PULL_MESSAGE, {**QUEUE, "sysFlag": long}),
            (POP_MESSAGE, {"topic": "T", "consumerGroup": "G", "pollTime": long}),
            (PULL_MESSAGE, {**QUEUE, "sidecar.addr": long}),
        )
        for code, ext in wrong:
            answer = client.call(code, ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"the answer to {list(ext)[-1]}")
            contains(answer.remark, "aéé", "the remark")


@test
def a_signed_pull_and_one_to_an_address_pass_as_they_stand():
    with stage() as on:
        for way in ({"Signature": "x"}, {"sidecar.addr": on.broker.address}):
            ext = sent(on, **way)
            equal(part(ext, "sysFlag", "subscription"), [None, None], f"with {list(way)[0]}")


main()
