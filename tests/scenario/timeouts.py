#!/usr/bin/env python3
"""Timeouts by the hundred thousand leave nothing behind"""

import os
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import GET_MAX_OFFSET, Command
from scenario import stage
from tap import check, equal, less, main, note, test, wait_until

N_TIMEOUTS = int(os.environ.get("N_TIMEOUTS", "200000"))
N_CALLERS = 4
N_AT_ONCE = 1000
BREAKER = {"breaker": {"failures": 1000}}
# Memory that was freed would be kept back to find its wrong uses: too much to see a leak beside it.
SMALL_QUARANTINE = "quarantine_size_mb=4"
MEBIBYTE = 1 << 20
OPAQUE = re.compile(rb'"opaque":(-?\d+)[,}]')


def swallow(opaques, is_over):
    """
    Reads requests and answers none, but sends something now and then that answers nobody, or the
    connection would be taken for a dead one.
    """
    sign_of_life = remoting.encode(Command(7777, {}, b"", 0, remoting.ONEWAY, "JAVA"))

    def serve(connection):
        def live():
            while connection.is_open and not is_over.wait(0.1):
                connection.send_bytes(sign_of_life)

        threading.Thread(target=live, daemon=True).start()
        rest = b""
        while data := connection.socket.recv(1 << 20):
            rest += data
            end = 0
            for match in OPAQUE.finditer(rest):
                opaques.append(int(match[1]))
                end = match.end()
            rest = rest[end:]

    return serve


def time_out(client, address, n):
    """n requests with a deadline of 20 ms, so many at once; returns how many were told timeout."""
    frames = b"".join(
        remoting.encode(
            Command(
                GET_MAX_OFFSET,
                {"sidecar.addr": address, "sidecar.timeoutMillis": "20"},
                opaque=opaque,
            )
        )
        for opaque in range(N_AT_ONCE)
    )
    n_told = 0
    for _ in range(n // N_AT_ONCE):
        client.send_bytes(frames)
        received = bytearray()
        n_left = N_AT_ONCE
        while n_left > 0:
            received += client.socket.recv(1 << 20)
            at = 0
            while (size := remoting.measure(received[at : at + 4])) and at + size <= len(received):
                n_told += received.find(b'"timeout"', at, at + size) > 0
                at += size
                n_left -= 1
            del received[:at]
    return n_told


@test(deadline=100)
def two_hundred_thousand_of_them_cost_no_memory_and_no_connection():
    with stage(BREAKER, asan_options=SMALL_QUARANTINE) as on:
        opaques, is_over = [], threading.Event()
        on.broker.serve = swallow(opaques, is_over)
        clients = [on.client(timeout=30) for _ in range(N_CALLERS)]
        told = []

        def run(n):
            threads = [
                threading.Thread(
                    target=lambda client=client: told.append(
                        time_out(client, on.broker.address, n // N_CALLERS)
                    )
                )
                for client in clients
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        # Before there is a connection they would be told unreachable.
        ext = {"sidecar.timeoutMillis": 20}
        wait_until(lambda: on.call(clients[0], "first", ext).error == "timeout", 10, "a connection")
        told.append(1)
        # The table of pending requests grows to its capacity once: each timeout takes a slot out
        # of use for a while.
        n_warm = min(80000, N_TIMEOUTS)
        began = time.monotonic()
        run(n_warm)
        before = on.daemon.resident_bytes()
        run(N_TIMEOUTS)
        grown = on.daemon.resident_bytes() - before
        note(
            f"{n_warm + N_TIMEOUTS} timeouts in {time.monotonic() - began:.1f} s, "
            f"{grown / MEBIBYTE:.1f} MiB for the last {N_TIMEOUTS}"
        )
        equal(sum(told), 1 + n_warm + N_TIMEOUTS, "requests that were told timeout")
        less(grown, 6 * MEBIBYTE, f"bytes that {N_TIMEOUTS} timeouts cost")
        equal(len(on.broker.connections), 1, "connections to the broker")
        wait_until(lambda: len(opaques) == sum(told), 10, "the broker has read them all")
        equal(len(set(opaques)), len(opaques), "different opaques at the broker")
        # A slot is in the lower half of the opaque. One whose answer may still come is not used
        # again while there are others.
        first = [opaque & 0xFFFF for opaque in opaques[:60000]]
        equal(len(set(first)), len(first), "different slots of the first requests")
        late = opaques[-2000:]
        connection = on.broker.connections[0]
        for opaque in late:
            answer = Command(0, {"echo.token": "late"}, b"", opaque, remoting.RESPONSE, "JAVA")
            connection.send_bytes(remoting.encode(answer))
        for client in clients:
            check(client.is_silent(0.05), "late answers reach nobody")
        is_over.set()


main()
