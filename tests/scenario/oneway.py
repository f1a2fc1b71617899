#!/usr/bin/env python3
"""A oneway request is never answered"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import echo
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_own, stage
from tap import check, equal, less, main, test, wait_until

N_ONEWAY = int(os.environ.get("N_ONEWAY", "300000"))


@test
def it_reaches_the_broker_as_oneway_and_an_answer_to_it_is_dropped():
    with stage() as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, echo)
        on.ask(client, "quiet", oneway=True, opaque=5)
        seen = on.broker.wait_for(1)
        check(seen[0].is_oneway, "the broker sees the oneway flag")
        equal(seen[0].ext.get("token"), "quiet", "its token")
        is_own(on.call(client, "loud", opaque=5), "loud")
        check(client.is_silent(0.2), "nothing else is answered")


@test
def it_is_not_answered_on_failure_either():
    with stage() as on:
        client = on.client()
        on.broker.refuse()
        on.nameserver.no_route.add("Nowhere")
        on.ask(client, "unreachable", {"sidecar.timeoutMillis": 200}, oneway=True)
        client.send(SEND_MESSAGE, {"topic": "Nowhere"}, b"x", oneway=True)
        client.send(SEND_MESSAGE, {"topic": TOPIC, "sidecar.nonsense": "1"}, b"x", oneway=True)
        client.send(9999, {}, oneway=True)
        client.send(30999, {}, oneway=True)
        check(client.is_silent(0.6), "none of these failures is answered")
        on.broker.listen()
        is_own(on.call(client, "next", {"sidecar.timeoutMillis": 9000}), "next")


@test
def its_opaque_does_not_count_as_in_flight():
    with stage() as on:
        client = on.client()
        on.broker.on(
            GET_MAX_OFFSET,
            lambda connection, request: request.is_oneway or connection.echo(request),
        )
        for n in range(100):
            on.ask(client, n, oneway=True, opaque=1)
        is_own(on.call(client, "after", opaque=1), "after")
        equal(len(on.broker.wait_for(101)), 101, "requests at the broker")


@test(deadline=100)
def hundreds_of_thousands_leave_nothing_behind():
    with stage(asan_options="quarantine_size_mb=4") as on:
        client = on.client(timeout=30)
        n_bytes = 0

        def count(connection):
            nonlocal n_bytes
            while data := connection.socket.recv(1 << 20):
                n_bytes += len(data)

        on.broker.serve = count
        ext = {"sidecar.addr": on.broker.address, "token": "quiet"}
        quiet = remoting.encode(remoting.Command(GET_MAX_OFFSET, ext, b"", 1, remoting.ONEWAY))
        # The first one finds no connection, and is what all of them are.
        client.send_bytes(quiet)
        wait_until(lambda: n_bytes, 5, "the first one is at the broker")
        size = n_bytes
        thousand = quiet * 1000
        for _ in range(20):
            client.send_bytes(thousand)
        wait_until(lambda: n_bytes == 20001 * size, 30, "20,001 are at the broker")
        before = on.daemon.resident_bytes()
        for _ in range(N_ONEWAY // 1000 - 20):
            client.send_bytes(thousand)
        wait_until(lambda: n_bytes == (N_ONEWAY + 1) * size, 60, "all of them are at the broker")
        less(on.daemon.resident_bytes() - before, 2 << 20, "bytes that oneway requests cost")
        stats = client.call(30012).json()
        counts = (stats["onewayWritten"], stats["onewayFailed"], stats["inFlight"])
        equal(counts, (N_ONEWAY + 1, 0, 0), "oneway requests written, failed, and in flight")
        check(client.is_silent(0.1), "none of them is answered")


main()
