#!/usr/bin/env python3
"""The broker closes with requests in flight"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, close, echo, in_turn, reset
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own, stage
from tap import contains, equal, less, main, test, wait_until

N_CALLERS = 50


@test
def everyone_in_flight_is_told_at_once_and_the_next_request_works():
    for is_reset in (False, True):
        with stage() as on:
            clients = [on.client() for _ in range(N_CALLERS)]
            held = Held()
            on.broker.on(GET_MAX_OFFSET, held)
            for n, client in enumerate(clients):
                on.ask(client, n)
            connection = held.wait_for(N_CALLERS)[0][0]
            on.broker.on(GET_MAX_OFFSET, echo)
            began = time.monotonic()
            connection.close(is_reset)
            for client in clients:
                answer = client.receive()
                is_failure(answer, "connection-lost", 10100, "maybe")
                contains(answer.remark, on.broker.address, "the remark")
            less(time.monotonic() - began, 0.5, f"seconds until {N_CALLERS} callers were told")
            began = time.monotonic()
            is_own(on.call(clients[0], "next"), "next")
            less(time.monotonic() - began, 1.0, "seconds for the next request")
            equal(
                len(on.broker.connections),
                2,
                "connections to the broker: the lost one and its successor",
            )
            equal(len(on.broker.seen()), N_CALLERS + 1, "requests at the broker: none was repeated")


@test
def a_send_whose_outcome_is_unknown_is_not_repeated_unless_the_caller_says_so():
    with stage() as on:
        client = on.client()
        on.broker.on(SEND_MESSAGE, close)
        on.broker.on(310, close)
        answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"once")
        is_failure(answer, "connection-lost", 10100, "maybe")
        equal(len(on.broker.seen()), 1, "sends at the broker")
        on.broker.on(SEND_MESSAGE, in_turn(close, echo))
        on.broker.on(310, in_turn(close, echo))
        answer = client.call(
            SEND_MESSAGE, {"topic": TOPIC, "sidecar.retry": "at-least-once"}, b"twice"
        )
        equal(
            (answer.code, answer.error),
            (0, None),
            f"the answer with sidecar.retry=at-least-once ({answer.remark})",
        )
        equal(answer.ext.get("sidecar.attempts"), "2", "sidecar.attempts")
        bodies = [request.body for request in on.broker.seen()]
        equal(bodies, [b"once", b"twice", b"twice"], "the bodies of all sends at the broker")


@test
def a_connection_is_made_again_after_every_break():
    with stage() as on:
        client = on.client()
        for n in range(20):
            on.broker.on(GET_MAX_OFFSET, reset if n % 2 else close)
            is_failure(on.call(client, n), "connection-lost", 10100, "maybe")
            on.broker.on(GET_MAX_OFFSET, echo)
            is_own(on.call(client, n), n)


@test
def an_idle_connection_that_the_broker_closes_costs_nobody_a_request():
    with stage() as on:
        client = on.client()
        for n in range(5):
            is_own(on.call(client, n), n)
            on.broker.close_connections()
            # The end of the connection is known before the next request, or that would be told
            # connection-lost.
            wait_until(
                lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the daemon sees the end"
            )
        is_own(on.call(client, "last"), "last")


main()
