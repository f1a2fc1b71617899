#!/usr/bin/env python3
"""The daemon was stopped for a while, as a laptop that sleeps or a machine that is moved"""

import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import equal, less, main, test, wait_until


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


main()
