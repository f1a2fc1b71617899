#!/usr/bin/env python3
"""A broker that takes connections and answers nothing is out of use until it answers a probe"""

import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Held, after, answers, echo, silence
from remoting import GET_MAX_OFFSET, GET_ROUTEINFO_BY_TOPIC, REQUEST_CODE_NOT_SUPPORTED
from remoting import SEND_MESSAGE, encode, response
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until

SETTINGS = {"breaker": {"failures": 5}, "upstream": {"request_timeout": "1s"}}
SECOND = {"sidecar.timeoutMillis": 1000}
UNKNOWN_CODE = answers(REQUEST_CODE_NOT_SUPPORTED, remark="request type 105 not supported")


def probes(broker):
    return broker.seen(GET_ROUTEINFO_BY_TOPIC)


def fall_silent(broker):
    broker.default = silence
    broker.on(GET_ROUTEINFO_BY_TOPIC, silence)


def recover(broker):
    broker.default = echo
    broker.on(GET_ROUTEINFO_BY_TOPIC, UNKNOWN_CODE)


@contextlib.contextmanager
def out_of_use():
    """A stage whose broker has just been given up for its silence."""
    with stage(SETTINGS) as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        fall_silent(on.broker)
        opaques = [on.ask(client, n, SECOND) for n in range(5)]
        for answer in client.gather(opaques).values():
            is_failure(answer, "timeout", 10002, "maybe")
        wait_until(lambda: probes(on.broker), 10, "a probe after five silent deadlines")
        wait_until(
            lambda: not on.broker.connections[0].is_open, 10, "the silent connection is closed"
        )
        yield on, client


@test
def after_five_silent_deadlines_and_a_probe_it_is_unreachable_at_once():
    with out_of_use() as (on, client):
        probe = probes(on.broker)[0]
        equal(probe.ext.get("topic"), "TBW102", "the topic that the probe asks for")
        equal(probe.connection.number, 0, "the connection that was probed")
        on_it = [row for row in probes(on.broker) if row.connection is probe.connection]
        equal(len(on_it), 1, "probes before the connection was given up")
        # Its attempts go on while somebody asks, and fail: it accepts, and answers no probe.
        answered = []
        for n in range(40):
            began = time.monotonic()
            answer = on.call(client, n, {"sidecar.timeoutMillis": 100})
            is_failure(answer, "unreachable", 10001, "no")
            answered.append(time.monotonic() - began)
            if n == 0:
                contains(answer.remark, on.broker.address, "the remark")
        less(max(answered), 1.0, "seconds for the slowest of the answers with 100 ms")
        equal(len(on.broker.seen(GET_MAX_OFFSET)), 6, "requests that reached the silent broker")
        less(len(on.broker.connections), 8, "connections to it meanwhile")


@test
def it_is_used_again_when_it_answers_a_probe():
    with out_of_use() as (on, client):
        recover(on.broker)
        began = time.monotonic()
        is_own(on.call(client, "patient", {"sidecar.timeoutMillis": 9000}), "patient")
        less(time.monotonic() - began, 8.0, "seconds until it is used (backoff.max_wanted is 2 s)")
        first_use = on.broker.seen(GET_MAX_OFFSET)[-1]
        asked = [row for row in probes(on.broker) if row.connection is first_use.connection]
        equal(len(asked), 1, "probes on the new connection")
        check(asked[0].at < first_use.at, "the probe came before the first request")
        for n in range(5):
            is_own(on.call(client, n), n)


@test
def a_connection_on_which_bytes_come_is_not_silent():
    """The answer to the probe is behind a large one that comes slowly"""
    with stage(SETTINGS) as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        fall_silent(on.broker)
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        slow = on.ask(client, "slow", {"sidecar.timeoutMillis": 9000})
        opaques = [on.ask(client, n, SECOND) for n in range(5)]
        client.gather(opaques)
        wait_until(lambda: probes(on.broker), 10, "a probe after five silent deadlines")
        connection, request = held.wait_for(1)[0]
        whole = encode(response(request, ext={"echo.token": "slow"}))
        began = time.monotonic()
        for at in range(0, len(whole) - 1):
            connection.send_bytes(whole[at : at + 1])
            time.sleep(0.03)
            if time.monotonic() - began > 1.5:
                break
        connection.send_bytes(whole[at + 1 :])
        is_own(client.receive(slow), "slow")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def a_probe_that_is_answered_keeps_the_connection():
    with stage(SETTINGS) as on:
        client = on.client()
        on.broker.default = silence
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, UNKNOWN_CODE)
        opaques = [on.ask(client, n, SECOND) for n in range(5)]
        for answer in client.gather(opaques).values():
            is_failure(answer, "timeout", 10002, "maybe")
        on.broker.wait_for(1, GET_ROUTEINFO_BY_TOPIC)
        on.broker.default = echo
        for n in range(5):
            is_own(on.call(client, n), n)
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def a_slow_broker_that_answers_is_never_probed():
    with stage(SETTINGS) as on:
        on.broker.default = after(0.5)
        clients = [on.client() for _ in range(10)]
        for turn in range(2):
            for n, client in enumerate(clients):
                on.ask(client, f"{turn} {n}", SECOND)
            for n, client in enumerate(clients):
                is_own(client.receive(), f"{turn} {n}")
        # Answers that come too late are signs of life as well.
        for turn in range(4):
            for client in clients:
                on.ask(client, "late", {"sidecar.timeoutMillis": 300})
            for client in clients:
                is_failure(client.receive(), "timeout", 10002, "maybe")
        equal(len(probes(on.broker)), 0, "probes")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def sends_by_topic_go_on_through_the_other_broker():
    with stage(SETTINGS) as on, FakeBroker("broker-b") as other:
        on.nameserver.route_to = [on.broker, other]
        fall_silent(on.broker)
        # Two turns through the four queues of each.
        clients = [on.client() for _ in range(16)]
        for n, client in enumerate(clients):
            client.send(SEND_MESSAGE, {"topic": TOPIC}, b"%d" % n)
        results = [client.receive() for client in clients]
        for answer in results:
            # The outcome of a send to the silent broker is unknown: it is not repeated.
            check(
                answer.error is None or (answer.error, answer.code) == ("timeout", 10002),
                f"stored or timeout (saw {answer})",
            )
        equal(sum(1 for answer in results if answer.error), 8, "sends that met the silent broker")
        wait_until(
            lambda: not on.broker.connections[0].is_open, 10, "the silent connection is closed"
        )
        began = time.monotonic()
        for n in range(40):
            answer = clients[0].call(SEND_MESSAGE, {"topic": TOPIC}, b"later %d" % n)
            equal((answer.code, answer.error), (0, None), f"send {n} ({answer.remark})")
            equal(answer.ext.get("brokerName"), "broker-b", "the broker that took it")
        less(time.monotonic() - began, 3.0, "seconds for 40 sends")
        # It takes part again some time after it answers.
        recover(on.broker)
        wait_until(
            lambda: clients[0]
            .call(SEND_MESSAGE, {"topic": TOPIC}, b"again")
            .ext.get("brokerName")
            == "broker-a",
            10,
            "the first broker takes sends again",
        )


@test
def the_same_silence_under_another_name_is_known_too():
    settings = {**SETTINGS, "upstream": {**SETTINGS["upstream"], "allow_addresses": "any"}}
    with stage(settings) as on:
        client = on.client()
        by_name = {"sidecar.addr": f"localhost:{on.broker.port}", **SECOND}
        is_own(on.call(client, "number"), "number")
        is_own(on.call(client, "name", by_name), "name")
        fall_silent(on.broker)
        opaques = [on.ask(client, n, by_name) for n in range(5)]
        for answer in client.gather(opaques).values():
            is_failure(answer, "timeout", 10002, "maybe")
        wait_until(
            lambda: not on.broker.connections[0].is_open, 10, "the silent connection is closed"
        )
        for n in range(3):
            is_failure(on.call(client, n, by_name), "unreachable", 10001, "no")
        equal(len(on.broker.seen(GET_MAX_OFFSET)), 7, "requests that reached the broker")


main()
