#!/usr/bin/env python3
"""Answers come in any order"""

import pathlib
import sys
import random

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import check, equal, main, test


@test
def answers_in_another_order_reach_their_own_callers():
    with stage() as on:
        clients = [on.client() for _ in range(40)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        tokens = {}
        for round_number in range(5):
            for n, client in enumerate(clients):
                # Every caller uses the same opaques.
                on.ask(client, f"{n}-{round_number}", opaque=round_number)
                tokens[n, round_number] = f"{n}-{round_number}"
        waiting = held.wait_for(len(tokens))
        equal(
            len({request.opaque for _, request in waiting}),
            len(tokens),
            "different opaques at the broker",
        )
        random.Random(5).shuffle(waiting)
        for connection, request in waiting:
            connection.echo(request)
        for n, client in enumerate(clients):
            for round_number in range(5):
                is_own(client.receive(round_number), tokens[n, round_number])
            check(client.is_silent(0), "no more answers than requests")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def an_answer_does_not_wait_for_one_that_was_asked_earlier():
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        first, second = on.ask(client, "first"), on.ask(client, "second")
        by_token = {
            request.ext["token"]: (connection, request) for connection, request in held.wait_for(2)
        }
        connection, request = by_token["second"]
        connection.echo(request)
        is_own(client.receive(second), "second")
        connection, request = by_token["first"]
        connection.echo(request)
        is_own(client.receive(first), "first")


main()
