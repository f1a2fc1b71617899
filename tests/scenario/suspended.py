#!/usr/bin/env python3
"""Clocks that jump: the daemon was stopped for a while, or somebody set the wall clock"""

import glob
import os
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET, SEND_MESSAGE, SEND_MESSAGE_V2
from scenario import TOPIC, is_own, stage
from tap import check, equal, less, main, skip, test, wait_until

# Debian's package faketime; the name of the machine's architecture is part of the path.
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
HOUR_SECONDS = 3600
GET_STATS = 30012
GET_POOL_STATS = 30006


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def suspend(daemon):
    os.kill(daemon.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(daemon.pid) == "T", 5, "the daemon is stopped")


@test
def answers_that_came_meanwhile_are_handed_out_though_their_deadlines_passed():
    """More of them than one read takes: 400 of 1.5 kB"""
    with stage({"breaker": {"failures": 5}}) as on:
        clients = [on.client() for _ in range(40)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            for i in range(10):
                on.ask(client, f"{n} {i}", {"sidecar.timeoutMillis": 1500}, bytes(1500), opaque=i)
        waiting = held.wait_for(400)
        suspend(on.daemon)
        began = time.monotonic()
        for connection, request in waiting:
            connection.echo(request)
        wait_until(lambda: time.monotonic() - began > 1.8, 5, "the deadlines have passed")
        os.kill(on.daemon.pid, signal.SIGCONT)
        for n, client in enumerate(clients):
            for i in range(10):
                is_own(client.receive(i), f"{n} {i}")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def requests_that_were_sent_meanwhile_have_their_whole_deadlines():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        suspend(on.daemon)
        began = time.monotonic()
        opaques = [on.ask(client, n, {"sidecar.timeoutMillis": 700}) for n in range(10)]
        wait_until(lambda: time.monotonic() - began > 1, 5, "their deadlines would have passed")
        os.kill(on.daemon.pid, signal.SIGCONT)
        for n, opaque in enumerate(opaques):
            is_own(client.receive(opaque), n)


@test
def a_silent_broker_is_told_as_ever_and_not_given_up_for_the_time_that_was_slept():
    with stage({"breaker": {"failures": 2}}) as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, Held())
        opaques = [on.ask(client, n, {"sidecar.timeoutMillis": 500}) for n in range(10)]
        on.broker.wait_for(10)
        suspend(on.daemon)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 1.5, 5, "the deadlines have passed")
        began = time.monotonic()
        os.kill(on.daemon.pid, signal.SIGCONT)
        for answer in client.gather(opaques).values():
            equal((answer.error, answer.code), ("timeout", 10002), f"({answer.remark})")
        less(time.monotonic() - began, 1.0, "seconds until they were told")
        on.broker.on(GET_MAX_OFFSET, echo)
        for n in range(5):
            is_own(on.call(client, n), n)
        # The probe was answered, for the broker is alive.
        equal(len(on.broker.connections), 1, "connections to the broker")


def with_wall_clock(offset_file):
    """A command that runs the daemon with a wall clock that is as far off as the file says."""
    library = next(iter(glob.glob(FAKETIME)), None)
    if library is None:
        skip("not run: libfaketime is not installed (Debian's package faketime)")
    settings = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": offset_file,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return ["env", *(f"{key}={value}" for key, value in settings.items())]


def negatives(value, path="statistics"):
    """Where in this JSON value there are numbers below 0."""
    if isinstance(value, dict):
        return [row for key in value for row in negatives(value[key], f"{path}.{key}")]
    if isinstance(value, list):
        return [row for i, item in enumerate(value) for row in negatives(item, f"{path}[{i}]")]
    return [path] if isinstance(value, (int, float)) and value < 0 else []


def born_seconds(on, client):
    """The time of birth that the daemon gave a message, by its wall clock."""
    answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
    equal((answer.code, answer.error), (0, None), f"a send ({answer.remark})")
    sent = on.broker.seen(SEND_MESSAGE, SEND_MESSAGE_V2)[-1]
    return int(sent.ext.get("bornTimestamp") or sent.ext["g"]) / 1000


@test
def a_wall_clock_that_is_set_by_an_hour_moves_no_deadline():
    with tempfile.NamedTemporaryFile("w") as offset:

        def set_wall_clock(seconds):
            offset.seek(0)
            offset.truncate()
            offset.write(f"{seconds:+d}")
            offset.flush()

        set_wall_clock(0)
        # The sanitizer wants to be loaded first, and need not be.
        through, asan = with_wall_clock(offset.name), "verify_asan_link_order=0"
        with stage(through=through, asan_options=asan) as on:
            client = on.client()
            for seconds in (HOUR_SECONDS, -HOUR_SECONDS, 0):
                held = Held()
                on.broker.on(GET_MAX_OFFSET, held)
                patient = [on.ask(client, n, {"sidecar.timeoutMillis": 60000}) for n in range(20)]
                short = on.ask(client, "short", {"sidecar.timeoutMillis": 700})
                waiting = held.wait_for(21)
                began = time.monotonic()
                set_wall_clock(seconds)
                equal(client.receive(short).error, "timeout", "the one with 700 ms")
                took = time.monotonic() - began
                check(0.5 < took < 3.0, f"it had its deadline (took {took:.2f} s)")
                for connection, request in waiting:
                    connection.echo(request)
                for n, opaque in enumerate(patient):
                    is_own(client.receive(opaque), n)
                off = born_seconds(on, client) - time.time() - seconds
                check(abs(off) < 60, f"the wall clock was set by {seconds} s (off by {off:.0f} s)")
                for code in (GET_STATS, GET_POOL_STATS):
                    equal(negatives(client.call(code).json()), [], f"negative numbers of {code}")
            equal(len(on.broker.connections), 1, "connections to the broker")


main()
