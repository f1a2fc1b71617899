#!/usr/bin/env python3
"""A broker that talks garbage loses that connection and nothing else"""

import pathlib
import sys
import os
import struct
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import FakeBroker, Held, echo, sends
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, test

GARBAGE = {
    "random bytes": b"\xfe" + os.urandom(200),
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a TLS alert": bytes.fromhex("15030100020228"),
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "a frame too large": struct.pack(">II", 0x7FFFFFFF, 10) + bytes(100),
    "a header longer than its frame": struct.pack(">II", 20, 100) + bytes(100),
    "a header that is not JSON": remoting.frame(b"hello"),
    "serialize type 7": remoting.frame(b"{}", serialize=7),
    "a binary header that ends too early": remoting.frame(bytes(10), serialize=1),
}


@test
def garbage_closes_that_connection_and_fails_what_was_in_flight_on_it():
    for what, data in GARBAGE.items():
        with stage() as on, FakeBroker("broker-b") as other:
            clients = [on.client() for _ in range(5)]
            held, elsewhere = Held(), Held()
            on.broker.on(GET_MAX_OFFSET, held)
            other.on(GET_MAX_OFFSET, elsewhere)
            patient = on.client()
            opaque = on.ask(patient, "elsewhere", {"sidecar.addr": other.address})
            for n, client in enumerate(clients):
                on.ask(client, n, {"sidecar.timeoutMillis": 20000})
            connection = held.wait_for(len(clients))[0][0]
            elsewhere.wait_for(1)
            connection.send_bytes(data)
            for client in clients:
                is_failure(client.receive(timeout=5), "connection-lost", 10100, "maybe", what)
            on.broker.on(GET_MAX_OFFSET, echo)
            is_own(on.call(clients[0], "next"), "next", f"the next answer after {what}")
            equal(len(on.broker.connections), 2, f"{what}: connections to the broker")
            for connection, request in elsewhere.waiting:
                connection.echo(request)
            is_own(
                patient.receive(opaque), "elsewhere", f"the answer of another broker after {what}"
            )
            equal(len(other.connections), 1, f"{what}: connections to the other broker")


@test
def an_answer_that_nobody_asked_for_is_dropped():
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "mine", opaque=3)
        connection, request = held.wait_for(1)[0]
        for stray in (
            request.opaque + 1,
            request.opaque + 65536,
            request.opaque - 1,
            3,
            0,
            -1,
            0x7FFFFFFF,
        ):
            if stray != request.opaque:
                ext = {"echo.token": "stray"}
                strange = remoting.Command(0, ext, b"stray", stray, remoting.RESPONSE, "JAVA")
                connection.send_bytes(remoting.encode(strange))
        connection.echo(request)
        is_own(client.receive(opaque), "mine")
        connection.echo(request)
        check(client.is_silent(0.2), "the second answer to one request is dropped too")
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(client, "next"), "next")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def a_broker_that_talks_nothing_but_garbage_is_tried_again_with_pauses():
    with stage() as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, sends(GARBAGE["HTTP"]))
        began = time.monotonic()
        n = 0
        while time.monotonic() - began < 2:
            answer = on.call(client, n, {"sidecar.timeoutMillis": 100})
            check(
                (answer.error, answer.code)
                in (("connection-lost", 10100), ("unreachable", 10001)),
                f"a failure that says what is wrong (saw {answer})",
            )
            n += 1
        # With pauses that do not grow there would be about forty.
        less(len(on.broker.connections), 20, "connections in two seconds of asking")
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(client, "patient", {"sidecar.timeoutMillis": 9000}), "patient")


main()
