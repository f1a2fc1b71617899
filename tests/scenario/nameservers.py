#!/usr/bin/env python3
"""Any nameserver of the list will do"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, close, sends, silence
from remoting import GET_MAX_OFFSET, GET_ROUTEINFO_BY_TOPIC, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own
from tap import equal, less, main, test, wait_until


def works_with(prepare):
    """
    The first nameserver of two is as prepare() makes it; every request succeeds within its
    deadline.
    """
    with FakeBroker("first") as first, FakeBroker("second") as second, FakeBroker(
        "broker-a"
    ) as broker:
        first.route_to = second.route_to = [broker]
        prepare(first)
        with Daemon(nameservers=[first.address, second.address]) as running:
            client = running.client()
            for n in range(12):
                began = time.monotonic()
                topic = f"{TOPIC}-{n}"
                answer = client.call(SEND_MESSAGE, {"topic": topic}, b"x")
                equal(
                    (answer.code, answer.error),
                    (0, None),
                    f"the answer to send {n} ({answer.remark})",
                )
                answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
                equal(
                    (answer.code, answer.error),
                    (0, None),
                    f"the answer to route {n} ({answer.remark})",
                )
                less(
                    time.monotonic() - began,
                    6.0,
                    f"seconds for both requests of round {n}, with deadlines of 3 s",
                )


@test
def the_second_is_used_when_nobody_listens_at_the_first():
    works_with(lambda first: first.refuse())


@test
def the_second_is_used_when_the_first_accepts_and_is_silent():
    works_with(lambda first: first.on(GET_ROUTEINFO_BY_TOPIC, silence))


@test
def the_second_is_used_when_the_first_closes_every_connection():
    works_with(lambda first: first.on(GET_ROUTEINFO_BY_TOPIC, close))


@test
def the_second_is_used_when_the_first_talks_garbage():
    works_with(
        lambda first: first.on(GET_ROUTEINFO_BY_TOPIC, sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    )


@test
def none_that_answers_is_told_as_no_nameserver():
    with FakeBroker("first") as first, FakeBroker("second") as second:
        for nameserver in (first, second):
            nameserver.refuse()
        with Daemon(nameservers=[first.address, second.address]) as running:
            client = running.client()
            for code, ext in (
                (SEND_MESSAGE, {"topic": TOPIC}),
                (GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC}),
            ):
                began = time.monotonic()
                answer = client.call(code, ext, b"x")
                is_failure(answer, "no-nameserver", 10004, "no", f"the answer to code {code}")
                less(time.monotonic() - began, 4.0, "seconds to the answer, with a deadline of 3 s")


@test
def a_failure_that_was_before_the_request_is_not_its_answer():
    """The only nameserver is back, and its next attempt is due within the deadline"""
    with FakeBroker("only") as only, FakeBroker("broker-a") as broker:
        only.route_to = [broker]
        only.refuse()
        settings = {"backoff": {"initial": "1s", "max_wanted": "1h", "max": "1h"}}
        with Daemon([only.address], settings) as running:
            client = running.client()

            def failed(what, timeout_ms):
                began = time.monotonic()
                ext = {"topic": what, "sidecar.timeoutMillis": timeout_ms}
                is_failure(client.call(SEND_MESSAGE, ext, b"x"), "no-nameserver", 10004, "no", what)
                return time.monotonic() - began

            for n in range(3):
                less(failed(f"patient-{n}", 9000), 3.0, "seconds until a fresh failure is told")
            less(failed("in-a-hurry", 300), 0.29, "seconds until one with 300 ms is told")
            only.listen()
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
            equal((answer.code, answer.error), (0, None), f"one that can wait ({answer.remark})")


@test
def a_known_topic_is_served_while_no_nameserver_answers():
    with FakeBroker("only") as only, FakeBroker("broker-a") as broker:
        only.route_to = [broker]
        with Daemon(
            nameservers=[only.address], settings={"nameserver": {"route_refresh": "1s"}}
        ) as running:
            client = running.client()
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
            equal((answer.code, answer.error), (0, None), f"the first answer ({answer.remark})")
            only.refuse()
            end = time.monotonic() + 3
            while time.monotonic() < end:
                answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
                equal(
                    (answer.code, answer.error),
                    (0, None),
                    f"an answer while it is away ({answer.remark})",
                )
            only.listen()
            wait_until(
                lambda: client.call(SEND_MESSAGE, {"topic": "Another"}, b"x").error is None,
                15,
                "a new topic is found after it is back",
            )


@test
def a_start_without_any_nameserver_recovers_without_a_restart():
    with FakeBroker("first") as first, FakeBroker("second") as second, FakeBroker(
        "broker-a"
    ) as broker:
        for nameserver in (first, second):
            nameserver.route_to = [broker]
            nameserver.refuse()
        settings = {"upstream": {"allow_addresses": "127.0.0.0/8"}}
        with Daemon([first.address, second.address], settings) as running:
            client = running.client()
            # It serves what needs no nameserver, and says what is wrong with the rest.
            answer = client.call(GET_MAX_OFFSET, {"sidecar.addr": broker.address, "token": "x"})
            is_own(answer, "x")
            for n in range(5):
                began = time.monotonic()
                ext = {"topic": f"{TOPIC}-{n}", "sidecar.timeoutMillis": 1000}
                answer = client.call(SEND_MESSAGE, ext, b"x")
                is_failure(answer, "no-nameserver", 10004, "no", f"send {n}")
                less(time.monotonic() - began, 1.5, "seconds to the answer of a send with 1 s")
            second.listen()
            began = time.monotonic()
            wait_until(
                lambda: client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error is None,
                15,
                "a send succeeds after one nameserver is there",
            )
            less(time.monotonic() - began, 10.0, "seconds until then (backoff.max_wanted is 2 s)")


main()
