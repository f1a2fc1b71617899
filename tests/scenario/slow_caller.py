#!/usr/bin/env python3
"""Callers that are slow, and callers that leave"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import check, equal, less, main, test, wait_until


def request_bytes(on, token, opaque=1, serialize=remoting.JSON, body=b"body"):
    ext = {"token": str(token), "sidecar.addr": on.broker.address}
    return remoting.encode(remoting.Command(GET_MAX_OFFSET, ext, body, opaque, serialize=serialize))


@test
def one_byte_at_a_time_is_understood():
    with stage() as on:
        for serialize in (remoting.JSON, remoting.ROCKETMQ):
            client = on.client()
            for byte in request_bytes(on, "dripped", serialize=serialize):
                client.send_bytes(bytes([byte]))
            is_own(client.receive(1), "dripped")


@test
def a_frame_cut_anywhere_and_many_in_one_write_are_the_same_requests():
    with stage() as on:
        client = on.client()
        data = b"".join(request_bytes(on, n, n) for n in range(3))
        for at in range(1, len(data), 3):
            client.send_bytes(data[:at])
            client.send_bytes(data[at:])
            for n in range(3):
                is_own(client.receive(n), n)


@test
def half_a_frame_and_then_silence_is_cut_off_and_harms_nobody():
    with stage({"limits": {"header_timeout": "1s"}}) as on:
        other = on.client()
        slow = [on.client() for _ in range(20)]
        for n, client in enumerate(slow):
            client.send_bytes(request_bytes(on, "half")[: 5 + 3 * n])
        began = time.monotonic()
        is_own(on.call(other, "other"), "other")
        less(time.monotonic() - began, 1.0, "seconds for another caller's request")
        for client in slow:
            answers = client.wait_for_end(10)
            check(
                all(answer.error == "invalid" for answer in answers),
                f"nothing but 'invalid' is answered (saw {answers})",
            )
        is_own(on.call(other, "still"), "still")


@test
def a_caller_that_leaves_does_not_take_the_connection_along_and_nobody_gets_its_answer():
    with stage() as on:
        is_own(on.call(on.client(), "first"), "first")
        for n in range(30):
            held = Held()
            on.broker.on(GET_MAX_OFFSET, held)
            leaving = on.client()
            on.ask(leaving, f"gone {n}", opaque=1)
            connection, request = held.wait_for(1)[0]
            files = on.daemon.files()
            leaving.close()
            wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it left")
            fresh = on.client()
            on.broker.on(GET_MAX_OFFSET, echo)
            connection.echo(request)
            is_own(on.call(fresh, n, opaque=1), n)
            check(fresh.is_silent(0), "the new caller is given nothing that it did not ask for")
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
