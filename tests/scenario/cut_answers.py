#!/usr/bin/env python3
"""An answer that breaks off never reaches a caller half"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import close, cut_at, echo, echo_ext, reset
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import equal, main, test

BODY = bytes(range(48))


@test(deadline=90)
def an_answer_cut_at_any_byte_is_told_as_a_lost_connection():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "whole", body=BODY), "whole")
        request = on.broker.seen()[0]
        size = len(remoting.encode(remoting.response(request, ext=echo_ext(request), body=BODY)))
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


@test
def an_answer_in_single_bytes_arrives_whole():
    with stage() as on:

        def drip(connection, request):
            for byte in remoting.encode(
                remoting.response(request, ext=echo_ext(request), body=request.body)
            ):
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
