#!/usr/bin/env python3
"""SIGTERM: what was accepted is answered, then the end"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, test, wait_until


@test
def requests_in_flight_get_their_own_answers_before_the_end():
    with stage() as on:
        clients = [on.client() for _ in range(10)]
        idle = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            on.ask(client, n)
        waiting = held.wait_for(len(clients))
        on.daemon.terminate()
        wait_until(on.daemon.refuses, 5, "new callers are refused")
        equal(on.daemon.process.poll(), None, "the exit code while requests are in flight")
        for connection, request in waiting:
            connection.echo(request)
        for n, client in enumerate(clients):
            answers = client.wait_for_end(5)
            equal(len(answers), 1, "answers before the end")
            is_own(answers[0], n)
        equal(idle.wait_for_end(5), [], "what an idle caller is told")
        equal(on.daemon.wait(5), 0, "the exit code")


@test
def what_is_still_in_flight_when_the_time_is_over_is_told_so():
    with stage({"drain": {"timeout": "500ms"}}) as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, Held())
        on.ask(client, "never", {"sidecar.timeoutMillis": 20000})
        on.broker.wait_for(1)
        began = time.monotonic()
        on.daemon.terminate()
        answers = client.wait_for_end(10)
        took = time.monotonic() - began
        check(
            0.4 < took < 5.0, f"the drain of 500 ms was waited for, no longer (took {took:.2f} s)"
        )
        equal(len(answers), 1, "answers before the end")
        is_failure(answers[0], "draining", 2, "maybe")
        equal(on.daemon.wait(5), 0, "the exit code")


@test
def an_idle_daemon_ends_at_once():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "x"), "x")
        began = time.monotonic()
        on.daemon.terminate()
        equal(on.daemon.wait(10), 0, "the exit code")
        less(time.monotonic() - began, 3.0, "seconds to the end")
        equal(client.wait_for_end(1), [], "what the idle caller is told")


main()
