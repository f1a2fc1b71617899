#!/usr/bin/env python3
"""Two requests in flight with one opaque end the connection"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import check, equal, main, test


@test
def a_second_request_with_an_opaque_in_flight_closes_the_connection_of_that_caller_alone():
    with stage() as on:
        client, other = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        on.ask(other, "other", opaque=5)
        on.ask(client, "first", opaque=5)
        held.wait_for(2)
        on.ask(client, "second", opaque=5)
        answers = client.wait_for_end(5)
        check(
            all(answer.error == "invalid" for answer in answers),
            f"nothing but 'invalid' is answered (saw {answers})",
        )
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in held.waiting:
            connection.echo(request)
        is_own(other.receive(5), "other")
        is_own(on.call(other, "again", opaque=5), "again")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def an_opaque_may_be_used_again_once_it_was_answered_and_by_others_at_any_time():
    with stage() as on:
        clients = [on.client() for _ in range(10)]
        for n in range(20):
            for number, client in enumerate(clients):
                on.ask(client, f"{n} {number}", opaque=-2147483648)
            for number, client in enumerate(clients):
                is_own(client.receive(-2147483648), f"{n} {number}")


main()
