#!/usr/bin/env python3
"""One caller with thousands of requests does not keep the single request of another one out"""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Held, Valve, echo
from remoting import (
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    GET_STATS,
    ONEWAY,
    SEND_MESSAGE,
    SYSTEM_BUSY,
    Command,
    encode,
)
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, less, main, note, test, wait_until

PATIENT = {"sidecar.timeoutMillis": 20000}
MEBIBYTE = 1 << 20


def is_refused(answer, setting, what):
    is_failure(answer, "overloaded", SYSTEM_BUSY, "no", what)
    contains(answer.remark, setting, f"the remark of {what}")
    millis = answer.ext.get("sidecar.retryAfterMillis", "")
    check(millis.isdigit() and int(millis) > 0, f"{what} says when to come back (saw '{millis}')")


def fill(on, client, body, most=2000):
    """
    Asks until one is refused: the opaques of those that were taken, and the refusal. Others may have
    been asked before that one was seen.
    """
    opaques = []
    while client.is_silent(0.01):
        opaques.append(on.ask(client, f"hog {len(opaques)}", PATIENT, body))
        less(len(opaques), most, "requests until one is refused")
    refused = client.receive()
    opaques.remove(refused.opaque)
    while not client.is_silent(0.3):
        opaques.remove(client.receive().opaque)
    return opaques, refused


@test
def who_has_filled_the_buffer_of_a_broker_that_does_not_read_leaves_room_for_others():
    with stage({"limits": {"upstream_buffer": "1MiB", "max_timeout": "60s"}}) as on:
        valve = Valve(on.broker)
        hog, second = on.client(), on.client()
        others = [on.client() for _ in range(20)]
        opaques, refused = fill(on, hog, bytes(20000))
        is_refused(refused, "limits.upstream_buffer", "the hog's refusal")
        is_refused(on.call(hog, "again", PATIENT), "limits.upstream_buffer", "the next one")
        waiting = [on.ask(other, n, PATIENT, bytes(1000)) for n, other in enumerate(others)]
        for other in others:
            check(other.is_silent(0.01), "a single request of another caller is taken")
        more, _ = fill(on, second, bytes(20000))
        check(len(more) >= 1, "another one with many has some of it")
        is_refused(on.call(hog, "still", PATIENT), "limits.upstream_buffer", "a third one")
        valve.opened.set()
        for n, opaque in enumerate(opaques):
            is_own(hog.receive(opaque), f"hog {n}")
        for n, opaque in enumerate(more):
            is_own(second.receive(opaque), f"hog {n}")
        for n, other in enumerate(others):
            is_own(other.receive(waiting[n]), n)
        is_own(on.call(hog, "at last", PATIENT, bytes(20000)), "at last")


@test
def oneway_requests_have_the_share_of_their_caller():
    with stage({"limits": {"upstream_buffer": "1MiB", "max_timeout": "60s"}}) as on:
        valve = Valve(on.broker)
        hog, other = on.client(), on.client()
        on.ask(hog, "first", PATIENT)
        ext = {"token": "quiet", "sidecar.addr": on.broker.address}
        quiet = encode(Command(GET_MAX_OFFSET, ext, bytes(20000), 1, ONEWAY))

        def failed():
            return on.client().call(GET_STATS).json()["onewayFailed"]

        for _ in range(1000):
            hog.send_bytes(quiet)
        wait_until(lambda: failed() > 0, 10, "some of them are dropped")
        opaque = on.ask(other, "other", PATIENT)
        check(other.is_silent(0.1), "a request of another caller is taken")
        valve.opened.set()
        is_own(other.receive(opaque), "other")


@test
def the_last_quarter_of_all_places_is_for_callers_that_hold_little():
    with stage({"limits": {"max_in_flight": 400, "max_in_flight_per_session": 400}}) as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        hog = on.client()
        opaques = [on.ask(hog, n, PATIENT) for n in range(400)]
        refused = [hog.receive(opaque) for opaque in opaques[300:]]
        for answer in refused:
            is_refused(answer, "limits.max_in_flight", "one above three quarters")
        others = [on.client() for _ in range(50)]
        waiting = [[on.ask(other, n, PATIENT) for n in range(2)] for other in others]
        held.wait_for(300 + 50)
        n_taken = sum(other.is_silent(0.05) for other in others)
        check(n_taken >= 25, f"others have a request in flight (saw {n_taken} with all of theirs)")
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in held.waiting:
            connection.echo(request)
        for n, opaque in enumerate(opaques[:300]):
            is_own(hog.receive(opaque), n)
        for other, (first, second) in zip(others, waiting):
            is_own(other.receive(first), 0, "the first request of another caller")
            answer = other.receive(second)
            if answer.error:
                is_refused(answer, "limits.max_in_flight", "a second request")
        is_own(on.call(hog, "again"), "again")


@test
def oneway_requests_that_wait_for_a_route_leave_places_for_others():
    """All oneway requests together have the share of one caller, however many connections sent them"""
    with stage({"limits": {"max_in_flight": 400, "max_in_flight_per_session": 400}}) as on:
        on.call(on.client(), "connected")
        held = Held()
        on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, held)
        quiet = encode(Command(SEND_MESSAGE, {"topic": "Unknown"}, b"quiet", 1, ONEWAY))
        hogs = [on.client() for _ in range(4)]
        for hog in hogs:
            hog.send_bytes(quiet * 200)
        before = on.client()

        def stats():
            return before.call(GET_STATS).json()

        wait_until(lambda: stats()["onewayFailed"] >= 400, 10, "what has no place is dropped")
        less(stats()["inFlight"], 302, "places that oneway requests have, and the one that asks")
        others = [on.client() for _ in range(20)]
        for n, other in enumerate(others):
            is_own(on.call(other, n), n, "a request of another caller")


@test
def refusals_come_at_once_while_the_rest_is_served():
    """A hog asks as fast as it can; another caller's requests are all served meanwhile"""
    with stage({"limits": {"max_in_flight": 200, "max_in_flight_per_session": 200}}) as on:
        hog, other = on.client(timeout=30), on.client()
        is_over = threading.Event()
        outcomes = {}

        def run():
            n = 0
            while not is_over.is_set():
                opaques = [on.ask(hog, n + i) for i in range(400)]
                for answer in hog.gather(opaques).values():
                    outcomes[answer.error] = outcomes.get(answer.error, 0) + 1
                n += 400

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        slowest = 0.0
        for n in range(300):
            began = time.monotonic()
            is_own(on.call(other, n), n, "the answer to the other caller")
            slowest = max(slowest, time.monotonic() - began)
        is_over.set()
        thread.join(30)
        note(f"the hog: {outcomes}; the other's slowest answer took {slowest * 1000:.0f} ms")
        check(outcomes.get(None, 0) > 0, "the hog is served, too")
        equal(set(outcomes) - {None, "overloaded"}, set(), "the hog's other outcomes")
        less(slowest, 3.0, "seconds that the other's slowest answer took")


@test
def a_large_request_that_finds_no_memory_is_answered_and_the_connection_goes_on():
    settings = {"limits": {"total_memory": "16MiB", "upstream_buffer": "16MiB"}}
    with stage(settings) as on, FakeBroker("broker-b") as elsewhere:
        Valve(on.broker)
        fillers = [on.client() for _ in range(6)]
        n_taken = 0
        for n, filler in enumerate(fillers):
            for _ in range(2):
                on.ask(filler, n, {"sidecar.timeoutMillis": 10000}, bytes(3 * MEBIBYTE // 2))
                n_taken += 1
        other = on.client(timeout=20)
        to_other = {"sidecar.addr": elsewhere.address}
        wait_until(
            lambda: other.call(GET_STATS).json()["memoryUsed"] > 11 * MEBIBYTE,
            10,
            "the memory is nearly full",
        )
        began = time.monotonic()
        for size in (4 * MEBIBYTE, 6 * MEBIBYTE):
            refused = on.call(other, "large", to_other, bytes(size))
            is_refused(refused, "limits.total_memory", f"one of {size} bytes")
        less(time.monotonic() - began, 5.0, "seconds until two large ones were refused")
        is_own(on.call(other, "small", to_other, b"small"), "small")
        # In the binary form, cut anywhere, and followed by another one in the same write.
        ext = {**to_other, "token": "x"}
        large = encode(Command(GET_MAX_OFFSET, ext, bytes(5 * MEBIBYTE), 77, 0, serialize=1))
        small = encode(Command(GET_MAX_OFFSET, {**to_other, "token": "next"}, b"", 78))
        other.send_bytes(large[:300])
        other.send_bytes(large[300:70000])
        other.send_bytes(large[70000:] + small)
        is_refused(other.receive(77), "limits.total_memory", "one in the binary form")
        is_own(other.receive(78), "next")
        equal(on.daemon.process.poll(), None, "the daemon's exit code")


main()
