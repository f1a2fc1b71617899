#!/usr/bin/env python3
"""An answer that breaks off never reaches a caller half"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, close, cut_at, echo, echo_ext, reset
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import equal, less, main, test

BODY = bytes(range(48))
# No answer is whole for long: the pauses between attempts would grow.
QUICK = {"backoff": {"initial": "1ms", "max_wanted": "1ms"}}
N_IN_FLIGHT = 50


def encoded_echo(request):
    return remoting.encode(
        remoting.response(request, ext=echo_ext(request), body=request.body)
    )


@test(deadline=90)
def an_answer_cut_at_any_byte_is_told_as_a_lost_connection():
    with stage(QUICK) as on:
        client = on.client()
        is_own(on.call(client, "whole", body=BODY), "whole")
        request = on.broker.seen()[0]
        size = len(encoded_echo(request))
        for n in range(size):
            on.broker.on(GET_MAX_OFFSET, cut_at(n, reset if n % 2 else close))
            is_failure(
                on.call(client, "whole", body=BODY),
                "connection-lost",
                10100,
                "maybe",
                f"an answer cut at {n}",
            )
        on.broker.on(GET_MAX_OFFSET, echo)
        answer = on.call(client, "whole", body=BODY)
        is_own(answer, "whole")
        equal(answer.body, BODY, "the body of a whole answer")


@test(deadline=90)
def an_answer_cut_at_any_byte_takes_all_fifty_in_flight_with_it():
    """The first of fifty is answered in part; none of them is repeated"""
    with stage(QUICK) as on:
        clients = [on.client() for _ in range(5)]
        n_each = N_IN_FLIGHT // len(clients)
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        on.ask(clients[0], "50", body=BODY)
        size = len(encoded_echo(held.wait_for(1)[0][1]))
        on.broker.close_connections()
        is_failure(clients[0].receive(), "connection-lost", 10100, "maybe")
        slowest = 0.0
        for n in range(size):
            held.waiting.clear()
            opaques = {
                client: [on.ask(client, f"{i:02}", body=BODY) for i in range(n_each)]
                for client in clients
            }
            waiting = held.wait_for(N_IN_FLIGHT)
            connection, request = waiting[0]
            began = time.monotonic()
            connection.send_bytes(encoded_echo(request)[:n])
            connection.close(reset=n % 2 == 1)
            for client in clients:
                for answer in client.gather(opaques[client]).values():
                    what = f"one of fifty when an answer is cut at {n}"
                    is_failure(answer, "connection-lost", 10100, "maybe", what)
                    equal(answer.body, b"", f"the body of {what}")
            slowest = max(slowest, time.monotonic() - began)
        less(slowest, 0.5, "seconds until fifty were told, at worst")
        equal(len(on.broker.seen()), 1 + size * N_IN_FLIGHT, "requests at the broker: each once")


@test
def an_answer_in_single_bytes_arrives_whole():
    with stage() as on:

        def drip(connection, request):
            for byte in encoded_echo(request):
                connection.send_bytes(bytes([byte]))

        on.broker.on(GET_MAX_OFFSET, drip)
        client = on.client()
        for n in range(10):
            answer = on.call(client, n, body=BODY)
            is_own(answer, n)
            equal(answer.body, BODY, "the body")


@test
def a_body_of_sixteen_megabytes_goes_there_and_back():
    with stage() as on:
        client = on.client(timeout=30)
        body = bytes(range(256)) * ((16777212 - 4 - 1024) // 256)
        answer = on.call(client, "large", {"sidecar.timeoutMillis": 30000}, body=body)
        is_own(answer, "large")
        equal(len(answer.body), len(body), "the size of the body")
        equal(answer.body == body, True, "the bytes are the same")


main()
