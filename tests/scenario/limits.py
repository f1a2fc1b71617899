#!/usr/bin/env python3
"""What is too much is refused in words, at once"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers, echo, silence
from remoting import (
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    GET_STATS,
    NOTIFICATION,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    SEND_MESSAGE,
    SYSTEM_BUSY,
    ConnectionEnded,
)
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, equal, less, main, test, wait_until

GET_POOL_STATS = 30006
DRAIN = 30016


def is_refused(answer, what):
    is_failure(answer, "overloaded", SYSTEM_BUSY, "no", what)
    millis = answer.ext.get("sidecar.retryAfterMillis", "")
    check(millis.isdigit() and int(millis) > 0, f"{what} says when to come back (saw '{millis}')")


@test(deadline=180)
def slow_requests_hold_no_more_than_half_of_the_memory_to_be_repeated():
    """Each of them shares what was written with many others that are answered long ago"""
    with stage({"limits": {"total_memory": "16MiB"}}) as on:
        client, slow = on.client(), on.client()

        def behave(connection, request):
            if request.ext["token"] != "slow":
                connection.echo(request)

        on.broker.on(GET_MAX_OFFSET, behave)
        body = bytes(4000)
        for n in range(1200):
            # On a busy machine all of this takes longer than the time of a usual request.
            on.ask(slow, "slow", {"sidecar.timeoutMillis": 300000})
            client.gather([on.ask(client, n, body=body) for _ in range(4)])
        stats = client.call(GET_STATS).json()
        equal(stats["requestsOverloaded"], 0, "requests that were refused")
        check(stats["inFlight"] >= 1200, f"the slow ones are in flight (saw {stats['inFlight']})")
        less(stats["memoryUsed"], 9 << 20, "bytes in use")


@test
def polls_that_stay_parked_without_a_caller_are_so_many_and_no_more():
    with stage({"limits": {"max_long_polls_per_session": 400}}) as on:
        nothing = answers(POLLING_TIMEOUT, remark="no message")
        on.broker.on(POP_MESSAGE, nothing)
        on.broker.on(NOTIFICATION, silence)
        poller, other = on.client(), on.client()
        for n in range(400):
            poller.send(
                POP_MESSAGE, {"topic": TOPIC, "consumerGroup": f"group-{n}", "pollTime": "10000"}
            )

        def parked():
            rows = other.call(GET_POOL_STATS).json()["addresses"]
            return sum(
                connection["inFlight"]
                for row in rows
                if row["class"] == "long poll"
                for connection in row["connections"]
            )

        on.broker.wait_for(400, NOTIFICATION)
        equal(parked(), 400, "polls that are parked")
        poller.close()
        wait_until(lambda: parked() == 256, 10, "256 of them stay")


@test
def questions_for_routes_that_outlive_their_callers_are_so_many_and_no_more():
    limits = {"max_in_flight": 600, "max_in_flight_per_session": 600}
    # Silence is what this is about, and not to be found out.
    patient = {"upstream": {"request_timeout": "60s"}, "breaker": {"failures": 1000}}
    with stage({"limits": limits, **patient}) as on:
        held = Held()
        on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, held)
        client, other = on.client(), on.client()

        def in_flight():
            rows = other.call(GET_POOL_STATS).json()["addresses"]
            row = [row for row in rows if row["addr"] == on.nameserver.address][0]
            return sum(connection["inFlight"] for connection in row["connections"])

        for n in range(1000):
            ext = {"topic": f"Random-{n}", "sidecar.timeoutMillis": "1"}
            error = client.call(SEND_MESSAGE, ext, b"x").error
            check(error in ("timeout", "no-nameserver"), f"the failure of {n} (saw {error})")
        n_left = in_flight()
        # One more where the daemon happens to ask on its own account.
        check(n_left in (256, 257), f"256 questions go on without a caller (saw {n_left})")
        # There is room for others, and all is well when the nameserver answers again.
        is_own(on.call(other, "other"), "other")
        on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, None)
        for connection, request in held.wait_for(256):
            connection.answer(request, 17, remark="no route")
        wait_until(lambda: in_flight() == 0, 10, "the questions are answered")
        answer = other.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
        equal((answer.code, answer.error), (0, None), f"a send afterwards ({answer.remark})")


@test
def more_in_flight_than_one_caller_may_have_is_overloaded():
    with stage({"limits": {"max_in_flight_per_session": 4}}) as on:
        client, other = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaques = [on.ask(client, n) for n in range(6)]
        for opaque in opaques[4:]:
            is_refused(client.receive(opaque), f"request {opaque}")
        on.ask(other, "other")
        waiting = held.wait_for(5)
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in waiting:
            connection.echo(request)
        for n, opaque in enumerate(opaques[:4]):
            is_own(client.receive(opaque), n)
        is_own(other.receive(), "other")
        is_own(on.call(client, "again"), "again")
        equal(len(on.broker.seen()), 6, "requests at the broker")


@test
def more_in_flight_than_all_callers_may_have_is_overloaded():
    with stage({"limits": {"max_in_flight": 8, "max_in_flight_per_session": 8}}) as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        clients = [on.client() for _ in range(10)]
        for n, client in enumerate(clients[:8]):
            on.ask(client, n)
        held.wait_for(8)
        for n, client in enumerate(clients[8:]):
            is_refused(on.call(client, n), f"the answer to caller {n + 8}")
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in held.waiting:
            connection.echo(request)
        for n, client in enumerate(clients[:8]):
            is_own(client.receive(), n)
        is_own(on.call(clients[9], "again"), "again")


@test
def a_daemon_that_is_full_is_still_shown_and_drained():
    with stage({"limits": {"max_in_flight": 2, "max_in_flight_per_session": 2}}) as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client, operator = on.client(), on.client()
        for n in range(2):
            on.ask(client, n)
        held.wait_for(2)
        is_refused(on.call(operator, "full"), "a request of the operator's")
        equal(operator.call(GET_STATS).json()["inFlight"], 2, "requests that are in flight")
        equal(operator.call(DRAIN).json()["inFlight"], 2, "requests that the drain waits for")
        for connection, request in held.waiting:
            connection.echo(request)
        for n in range(2):
            is_own(client.receive(), n)
        equal(on.daemon.wait(5), 0, "the exit code")


@test
def more_callers_than_there_may_be_are_sent_away_and_room_is_used_again():
    with stage({"listener": {"max_sessions": 3}}) as on:
        clients = [on.client() for _ in range(3)]
        for n, client in enumerate(clients):
            is_own(on.call(client, n), n)
        fourth = on.client()
        try:
            on.ask(fourth, "fourth")
        except (BrokenPipeError, ConnectionResetError):
            pass
        answers = fourth.wait_for_end(5)
        check(len(answers) <= 1, f"at most one answer before the end (saw {answers})")
        for answer in answers:
            equal(
                (answer.error, answer.code),
                ("overloaded", SYSTEM_BUSY),
                f"it says why ({answer.remark})",
            )
        is_own(on.call(clients[0], "still"), "still")
        clients[2].close()

        def is_let_in():
            client = on.client()
            try:
                answer = on.call(client, "now")
            except (BrokenPipeError, ConnectionResetError, ConnectionEnded):
                return False
            return answer.ext.get("echo.token") == "now"

        wait_until(is_let_in, 5, "a new caller is let in after one has left")


main()
