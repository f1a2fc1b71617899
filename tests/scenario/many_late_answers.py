#!/usr/bin/env python3
"""
Answers about the time of their deadlines, by the ten thousand: each request ends once

With N_LATE=100000 and N_AT_DEADLINE=100000 in the environment it is as many as are to be survived.
"""

import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from bulk import Callers, DelayedEcho
from scenario import stage
from tap import check, equal, less, main, note, test, wait_until

N_LATE = int(os.environ.get("N_LATE", "30000"))
N_AT_DEADLINE = int(os.environ.get("N_AT_DEADLINE", "30000"))
GET_STATS = 30012
BREAKER = {"breaker": {"failures": 1000}}


def is_connected(on):
    """Whether a request is answered: before there is a connection some would be unreachable."""
    client = on.client()
    answer = on.call(client, "first", {"sidecar.timeoutMillis": 3000})
    client.close()
    return answer.error is None


def is_each_ended_once(on, echoes, callers, n):
    """n requests, each its own answer or a timeout, and each timeout's answer dropped as late."""
    note(f"{callers.n_answers} answers, {callers.n_timeouts} timeouts")
    equal(callers.wrong[:3], [], "what is neither the caller's own answer nor a timeout")
    equal(callers.n_answers + callers.n_timeouts, n, "outcomes: one for each request")
    equal(len(echoes.opaques), n, "requests at the broker")
    equal(len(set(echoes.opaques)), n, "different opaques at the broker")
    client = on.client()

    def counted():
        stats = client.call(GET_STATS).json()
        return stats["lateResponses"], stats["unknownResponses"]

    wait_until(lambda: counted()[0] >= callers.n_timeouts, 10, "all late answers have come")
    equal(counted(), (callers.n_timeouts, 0), "answers that were late, and that answer nothing")
    for caller in callers.clients:
        check(caller.is_silent(0), "no request has a second outcome")
    equal(echoes.n_connections, 1, "connections to the broker")


@test(deadline=100)
def answers_at_the_very_deadline_give_each_request_one_outcome():
    """All answers come within a millisecond of where half of them are too late"""
    with stage(BREAKER) as on:
        rng = random.Random(3)
        # How long the broker waits so that about half of its answers come in time.
        middle = 0.200
        echoes = DelayedEcho(lambda: middle + rng.uniform(-0.001, 0.001))
        on.broker.serve = echoes
        wait_until(lambda: is_connected(on), 10, "a connection")
        callers = Callers([on.client() for _ in range(20)], on.broker.address, 200)
        echoes.opaques.clear()
        for _ in range(N_AT_DEADLINE // 500):
            n_timeouts = callers.n_timeouts
            callers.ask(25)
            share = (callers.n_timeouts - n_timeouts) / 500
            # At the deadline, however busy the machine is.
            middle = min(max(middle + 0.04 * (0.5 - share), 0.001), 0.220)
        is_each_ended_once(on, echoes, callers, N_AT_DEADLINE)
        for n in (callers.n_answers, callers.n_timeouts):
            check(n > N_AT_DEADLINE // 100, f"both outcomes were met often (saw {n})")


@test(deadline=100)
def late_answers_of_two_hundred_callers_are_given_to_nobody():
    """Half of the answers come too late, while all callers go on with the same opaques"""
    with stage(BREAKER) as on:
        rng = random.Random(1)
        echoes = DelayedEcho(lambda: rng.uniform(0, 0.8))
        on.broker.serve = echoes
        wait_until(lambda: is_connected(on), 10, "a connection")
        callers = Callers([on.client() for _ in range(200)], on.broker.address, 400)
        echoes.opaques.clear()
        slowest = max(callers.ask(25) for _ in range(N_LATE // 5000))
        note(f"the slowest of 5000 at once had its outcome after {slowest:.2f} s")
        is_each_ended_once(on, echoes, callers, N_LATE)
        check(callers.n_timeouts > N_LATE // 4, f"many came too late (saw {callers.n_timeouts})")
        check(callers.n_answers > N_LATE // 100, f"many came in time (saw {callers.n_answers})")
        less(slowest, 10.0, "seconds to the last outcome, with deadlines of 400 ms")


main()
