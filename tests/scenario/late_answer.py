#!/usr/bin/env python3
"""An answer that comes after its deadline belongs to nobody"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, test


@test
def a_late_answer_is_dropped_and_the_connection_is_kept():
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        began = time.monotonic()
        answer = on.call(client, "late", {"sidecar.timeoutMillis": 200}, opaque=7)
        less(time.monotonic() - began, 1.0, "seconds to the answer of a request with 200 ms")
        is_failure(answer, "timeout", 10002, "maybe")
        check(
            on.broker.address in answer.remark,
            f"the remark names the address (saw: {answer.remark})",
        )
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(client, "next", opaque=7), "next")
        for connection, request in held.wait_for(1):
            connection.echo(request)
        for n in range(50):
            is_own(on.call(client, n, opaque=7), n)
        check(client.is_silent(0.1), "nothing of the late answer reaches the caller")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def two_hundred_late_answers_reach_nobody():
    with stage() as on:
        clients = [on.client() for _ in range(200)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            on.ask(client, f"late {n}", {"sidecar.timeoutMillis": 400}, opaque=1)
        waiting = held.wait_for(200)
        for client in clients:
            is_failure(client.receive(1), "timeout", 10002, "maybe")
        on.broker.on(GET_MAX_OFFSET, echo)
        for n, client in enumerate(clients):
            on.ask(client, n, opaque=1)
        for connection, request in waiting:
            connection.echo(request)
        for n, client in enumerate(clients):
            is_own(client.receive(1), n)
            check(client.is_silent(0), "one answer for one request")
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
