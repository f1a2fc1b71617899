#!/usr/bin/env python3
"""Which brokers a receive asks while some of them are silent, gone, or masters no more"""

import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, answers, silence
from remoting import (
    GET_ROUTEINFO_BY_TOPIC,
    NO_PERMISSION,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    TOPIC_NOT_EXIST,
    stored_message,
)
from scenario import TOPIC, is_failure
from tap import equal, less, main, test, wait_until

FOUND = answers(
    ext={
        "popTime": "1700000000000",
        "invisibleTime": "60000",
        "reviveQid": "3",
        "startOffsetInfo": "0 0 0",
        "msgOffsetInfo": "0 0 0",
    },
    body=stored_message(TOPIC, b"here"),
)


@contextlib.contextmanager
def two_brokers():
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as a:
        with FakeBroker("broker-b") as b:
            nameserver.route_to = [a, b]
            with Daemon([nameserver.address]) as running:
                yield running, nameserver, a, b


def pop(client, **more):
    ext = {"topic": TOPIC, "consumerGroup": "GID", "pollTime": 0, "sidecar.answerFormat": "json"}
    return client.call(POP_MESSAGE, {**ext, **more}, timeout=15)


def bodies(answer):
    equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
    return [row["body"] for row in answer.json()]


@test
def a_broker_that_never_answers_is_passed_over_within_the_deadline():
    with two_brokers() as (running, _, dead, alive):
        dead.on(POP_MESSAGE, silence)
        alive.on(POP_MESSAGE, FOUND)
        client = running.client()
        for _ in range(4):
            began = time.monotonic()
            equal(bodies(pop(client)), ["here"], "the messages")
            less(time.monotonic() - began, 4.0, "seconds")


@test
def every_broker_out_of_use_is_told_with_the_cause():
    with two_brokers() as (running, _, a, b):
        for broker in (a, b):
            broker.on(POP_MESSAGE, FOUND)
        client = running.client()
        equal(bodies(pop(client)), ["here"], "the messages")
        a.refuse()
        b.refuse()
        for _ in range(10):
            answer = pop(client, **{"sidecar.timeoutMillis": 300})
            is_failure(answer, "unreachable", 10001)
        a.listen()
        b.listen()
        wait_until(lambda: pop(client).error is None, 10, "messages once they are back")


@test
def a_master_that_moved_is_found_where_it_is_now():
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as old:
        with FakeBroker("broker-a") as new:
            nameserver.route_to = [old]
            with Daemon([nameserver.address]) as running:
                client = running.client()
                old.on(POP_MESSAGE, answers(POLLING_TIMEOUT))
                equal(pop(client).code, POLLING_TIMEOUT, "the first answer")
                old.on(POP_MESSAGE, answers(TOPIC_NOT_EXIST, remark="topic[Orders] not exist"))
                new.on(POP_MESSAGE, FOUND)
                nameserver.route_to = [new]
                wait_until(lambda: pop(client).code == 0, 10, "messages of the new master")
                asked = len(nameserver.seen(GET_ROUTEINFO_BY_TOPIC))
                before = len(old.seen(POP_MESSAGE))
                for _ in range(8):
                    equal(bodies(pop(client)), ["here"], "the messages")
                equal(len(old.seen(POP_MESSAGE)), before, "what the old one is still asked")
                less(len(nameserver.seen(GET_ROUTEINFO_BY_TOPIC)) - asked, 2, "questions for a route")


@test
def a_group_without_permission_is_told_at_once_in_the_brokers_words():
    with two_brokers() as (running, _, a, b):
        words = "subscription group no permission, GID"
        for broker in (a, b):
            broker.on(POP_MESSAGE, answers(NO_PERMISSION, remark=words))
        began = time.monotonic()
        answer = pop(running.client(), pollTime=15000)
        seen = (answer.code, answer.error, answer.remark)
        equal(seen, (NO_PERMISSION, None, words), "the answer")
        less(time.monotonic() - began, 5.0, "seconds")


main()
