#!/usr/bin/env python3
"""Timeouts by the hundred thousand leave nothing behind"""

import os
import pathlib
import random
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held
from remoting import GET_MAX_OFFSET, Command
from scenario import is_own, stage
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


@test
def answers_at_the_very_deadline_give_each_request_one_outcome():
    with stage(BREAKER) as on:
        clients = [on.client() for _ in range(20)]
        rng = random.Random(3)
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        outcomes = {"answer": 0, "timeout": 0}
        n_rounds = 40
        for turn in range(n_rounds):
            held.waiting.clear()
            began = time.monotonic()
            for n, client in enumerate(clients):
                on.ask(client, f"{turn} {n}", {"sidecar.timeoutMillis": 40}, opaque=turn)
            waiting = held.wait_for(len(clients))
            # From half the deadline to one and a half: a good share of them at it.
            for i, (connection, request) in enumerate(sorted(waiting, key=lambda _: rng.random())):
                due = began + 0.030 + 0.001 * i
                time.sleep(max(0.0, due - time.monotonic()))
                connection.echo(request)
            for n, client in enumerate(clients):
                answer = client.receive(turn)
                if answer.error is None:
                    is_own(answer, f"{turn} {n}")
                    outcomes["answer"] += 1
                else:
                    equal((answer.error, answer.code), ("timeout", 10002), "the failure")
                    outcomes["timeout"] += 1
        for client in clients:
            check(client.is_silent(0.02), "no request has a second outcome")
        note(outcomes)
        equal(sum(outcomes.values()), n_rounds * len(clients), "outcomes: one for each request")
        check(all(outcomes.values()), f"both were seen (saw {outcomes})")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def late_answers_of_two_hundred_callers_are_given_to_nobody():
    """Half of the answers come too late, while all callers go on with the same opaques"""
    with stage(BREAKER) as on:
        clients = [on.client() for _ in range(200)]
        rng = random.Random(1)
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        is_over = threading.Event()

        def answer_sometime():
            due = []
            while not is_over.is_set():
                now = time.monotonic()
                taken, held.waiting = held.waiting, []
                due += [(now + rng.uniform(0, 0.4), *row) for row in taken]
                for row in [row for row in due if row[0] <= now]:
                    row[1].echo(row[2])
                due = [row for row in due if row[0] > now]
                time.sleep(0.002)

        thread = threading.Thread(target=answer_sometime, daemon=True)
        thread.start()
        n_late = 0
        for turn in range(8):
            for n, client in enumerate(clients):
                on.ask(client, f"{turn} {n}", {"sidecar.timeoutMillis": 200}, opaque=1)
            for n, client in enumerate(clients):
                answer = client.receive(1)
                if answer.error is None:
                    is_own(answer, f"{turn} {n}")
                else:
                    equal((answer.error, answer.code), ("timeout", 10002), "the failure")
                    n_late += 1
        is_over.set()
        thread.join()
        check(100 < n_late < 1500, f"about half of 1600 came too late (saw {n_late})")
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
