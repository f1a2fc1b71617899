#!/usr/bin/env python3
"""A broker that cannot be reached"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, silence
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test


@test
def nobody_listens_and_the_caller_is_told_that_nothing_was_sent():
    with stage() as on:
        client = on.client()
        on.broker.refuse()
        began = time.monotonic()
        answer = on.call(client, "a", {"sidecar.timeoutMillis": 1000})
        less(time.monotonic() - began, 2.0, "seconds to the answer of a request with 1000 ms")
        is_failure(answer, "unreachable", 10001, "no")
        contains(answer.remark, on.broker.address, "the remark")


@test
def it_is_used_again_soon_after_it_is_back_while_somebody_asks():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        on.broker.refuse()
        for n in range(5):
            answer = on.call(client, n, {"sidecar.timeoutMillis": 300})
            check(
                answer.error in ("unreachable", "connection-lost"),
                f"a failure while it is away (saw {answer})",
            )
        on.broker.listen()
        began = time.monotonic()
        n = 0
        while (answer := on.call(client, n, {"sidecar.timeoutMillis": 300})).error:
            is_failure(answer, "unreachable", 10001, "no")
            n += 1
            less(
                time.monotonic() - began,
                10.0,
                "seconds until it is used again (backoff.max_wanted is 2 s)",
            )
        is_own(answer, n)


@test
def a_request_waits_for_the_connection_within_its_deadline():
    with stage() as on:
        client = on.client()
        on.broker.refuse()
        opaque = on.ask(client, "patient", {"sidecar.timeoutMillis": 10000})
        check(client.is_silent(0.3), "the request waits")
        on.broker.listen()
        is_own(client.receive(opaque), "patient")


@test
def a_send_goes_to_another_broker_when_nothing_was_sent_to_the_first():
    with stage() as on, FakeBroker("broker-b") as other:
        on.nameserver.route_to = [on.broker, other]
        on.broker.refuse()
        client = on.client()
        for n in range(8):
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"%d" % n)
            equal(
                (answer.code, answer.error), (0, None), f"the answer to send {n} ({answer.remark})"
            )
            equal(answer.ext.get("brokerName"), "broker-b", "the broker that took it")
        equal(len(other.seen()), 8, "sends at the other broker: each once")


@test
def a_silent_broker_costs_the_callers_deadline_and_no_more():
    with stage() as on:
        on.broker.on(GET_MAX_OFFSET, silence)
        client = on.client()
        began = time.monotonic()
        opaques = [on.ask(client, n, {"sidecar.timeoutMillis": 300}) for n in range(20)]
        for answer in client.gather(opaques).values():
            is_failure(answer, "timeout", 10002, "maybe")
        took = time.monotonic() - began
        check(
            0.29 < took < 1.5,
            f"the deadline of 300 ms was waited for, no longer (took {took:.2f} s)",
        )
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
