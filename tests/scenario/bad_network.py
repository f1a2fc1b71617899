#!/usr/bin/env python3
"""Between the daemon and a broker everything happens that a network does"""

import contextlib
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fault_proxy import FaultProxy
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, note, test, wait_until

SETTINGS = {"backoff": {"initial": "10ms", "max_wanted": "50ms"}}
N_CALLERS = 20


@contextlib.contextmanager
def proxied(settings=None):
    with stage({**SETTINGS, **(settings or {})}) as on:
        with FaultProxy(on.broker.address) as proxy:
            yield on, proxy


def ask(on, proxy, client, token, timeout_ms=10000, body=b""):
    ext = {"sidecar.addr": proxy.address, "sidecar.timeoutMillis": timeout_ms}
    return on.ask(client, token, ext, body)


def works(on, proxy, client, token="works"):
    """Within a few seconds, whatever was before."""
    wait_until(
        lambda: client.receive(ask(on, proxy, client, token)).ext.get("echo.token") == token,
        15,
        "requests are answered again",
    )


@test
def answers_come_late_in_single_bytes_and_slowly_and_are_whole():
    with proxied() as (on, proxy):
        cases = {
            "late": lambda: setattr(proxy.down, "delay", 0.05),
            "late both ways": lambda: setattr(proxy.up, "delay", 0.05),
            "in pieces of three bytes": lambda: setattr(proxy.down, "bytes_at_once", 3),
            "requests in pieces": lambda: setattr(proxy.up, "bytes_at_once", 3),
            "slowly": lambda: setattr(proxy.down, "bytes_per_second", 200_000),
        }
        clients = [on.client(timeout=30) for _ in range(N_CALLERS)]
        for what, spoil in cases.items():
            spoil()
            opaques = [
                ask(on, proxy, client, f"{what} {n}", 30000, bytes(500))
                for n, client in enumerate(clients)
            ]
            for n, (client, opaque) in enumerate(zip(clients, opaques)):
                is_own(client.receive(opaque), f"{what} {n}", f"an answer {what}")
        equal(len(proxy.pairs), 1, "connections: it was one all the time")


@test
def a_direction_that_stalls_costs_deadlines_and_nothing_else():
    for flow in ("up", "down"):
        with proxied({"breaker": {"failures": 1000}}) as (on, proxy):
            client, other = on.client(), on.client()
            works(on, proxy, client)
            getattr(proxy, flow).stalled.set()
            began = time.monotonic()
            answer = client.receive(ask(on, proxy, client, "stalled", 500))
            is_failure(answer, "timeout", 10002, what=f"while {flow} stalls")
            less(time.monotonic() - began, 3.0, "seconds until then, with a deadline of 500 ms")
            is_own(on.call(other, "elsewhere"), "elsewhere")
            getattr(proxy, flow).stalled.clear()
            is_own(client.receive(ask(on, proxy, client, "after")), "after")
            check(client.is_silent(0.1), "the late answer reaches nobody")
            equal(len(proxy.pairs), 1, "connections")


@test
def a_half_open_address_is_left_after_silent_deadlines_and_used_when_it_heals():
    settings = {"breaker": {"failures": 2}}
    with proxied(settings) as (on, proxy):
        client = on.client()
        works(on, proxy, client)
        proxy.is_deaf = True
        errors = []
        for n in range(8):
            errors.append(client.receive(ask(on, proxy, client, n, 600)).error)
        check(set(errors) <= {"timeout", "unreachable", "connection-lost"}, f"failures: {errors}")
        proxy.is_deaf = False
        works(on, proxy, client)


@test(deadline=120)
def cut_and_reset_at_any_byte_each_of_twenty_has_one_outcome():
    rng = random.Random(5)
    with proxied() as (on, proxy):
        clients = [on.client(timeout=20) for _ in range(N_CALLERS)]
        outcomes = {}
        for turn in range(40):
            flow = proxy.down if turn % 2 else proxy.up
            proxy.resets = turn % 4 > 1
            flow.cut_after = rng.randrange(1, 4000)
            opaques = [
                ask(on, proxy, client, f"{turn} {n}", 8000) for n, client in enumerate(clients)
            ]
            for n, (client, opaque) in enumerate(zip(clients, opaques)):
                answer = client.receive(opaque)
                outcomes[answer.error] = outcomes.get(answer.error, 0) + 1
                if answer.error is None:
                    is_own(answer, f"{turn} {n}")
                else:
                    is_failure(answer, "connection-lost", 10100)
            proxy.heal()
            proxy.close_all()
            works(on, proxy, clients[0], f"turn {turn}")
        note(outcomes)
        check(outcomes.get(None, 0) > 50, "many are answered")
        check(outcomes.get("connection-lost", 0) > 50, "many are told")
        sent = [row.ext["token"] for row in on.broker.seen() if row.ext["token"][0].isdigit()]
        twice = len(sent) - len(set(sent))
        equal(twice, 0, "requests that reached the broker twice")


@test(deadline=90)
def resets_at_any_moment_under_load_leave_each_request_with_one_outcome():
    with proxied() as (on, proxy):
        is_over = threading.Event()
        wrong, outcomes, lock = [], {}, threading.Lock()

        def run(number):
            client, n = on.client(timeout=20), 0
            while not is_over.is_set():
                token = f"{number} {n}"
                answer = client.receive(ask(on, proxy, client, token, 5000))
                n += 1
                with lock:
                    outcomes[answer.error] = outcomes.get(answer.error, 0) + 1
                    if answer.error is None and answer.ext.get("echo.token") != token:
                        wrong.append((token, answer))

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            before = outcomes.get(None, 0)
            wait_until(lambda: outcomes.get(None, 0) > before + 20, 20, "requests are answered")
            proxy.reset_all()
        is_over.set()
        for thread in threads:
            thread.join(30)
        note(outcomes)
        equal([thread.is_alive() for thread in threads], [False] * 8, "callers that still wait")
        equal(wrong, [], "answers of others")
        equal(set(outcomes) - {None, "connection-lost"}, set(), "other outcomes")


main()
