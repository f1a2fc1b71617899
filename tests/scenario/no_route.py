#!/usr/bin/env python3
"""A topic that no nameserver knows, and that no broker would make"""

import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, answers, close, silence
from remoting import GET_ROUTEINFO_BY_TOPIC, POP_MESSAGE, SEND_MESSAGE, TOPIC_NOT_EXIST
from scenario import TOPIC, is_failure, stage
from tap import check, contains, equal, less, main, test, wait_until

# Brokers that make topics on demand have this one; its route is that of topics still to be made.
TEMPLATE = "TBW102"


@test
def it_is_told_at_once_that_nothing_was_sent():
    with stage() as on:
        on.nameserver.no_route.update(("Nowhere", TEMPLATE))
        client = on.client()
        requests = (
            (SEND_MESSAGE, {"topic": "Nowhere"}),
            (POP_MESSAGE, {"topic": "Nowhere", "consumerGroup": "g"}),
        )
        for code, ext in requests:
            began = time.monotonic()
            answer = client.call(code, ext, b"x")
            is_failure(answer, "no-route", 10005, "no", f"the answer to code {code}")
            contains(answer.remark, "Nowhere", "the remark")
            less(time.monotonic() - began, 1.0, "seconds to the answer")
        equal(on.broker.seen(), [], "requests at the broker")


@test
def nameservers_are_not_asked_again_for_every_send():
    with stage() as on:
        on.nameserver.no_route.update(("Nowhere", TEMPLATE))
        client = on.client()
        for _ in range(100):
            is_failure(
                client.call(SEND_MESSAGE, {"topic": "Nowhere"}, b"x"), "no-route", 10005, "no"
            )
        asked = on.nameserver.seen(GET_ROUTEINFO_BY_TOPIC)
        less(len([row for row in asked if row.ext["topic"] == "Nowhere"]), 5, "questions for it")


@test
def it_is_found_once_it_was_made():
    with stage({"nameserver": {"negative_ttl": "500ms"}}) as on:
        on.nameserver.no_route.update((TOPIC, TEMPLATE))
        client = on.client()
        is_failure(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x"), "no-route", 10005, "no")
        on.nameserver.no_route.clear()
        wait_until(
            lambda: client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error is None,
            5,
            "a send to the topic that now exists",
        )


@contextlib.contextmanager
def two_nameservers(settings=None):
    """The daemon's current nameserver, the other one, and the broker that both name."""
    with FakeBroker("one") as one, FakeBroker("two") as two, FakeBroker("broker-a") as broker:
        one.route_to = two.route_to = [broker]
        with Daemon([one.address, two.address], settings) as daemon:
            daemon.client().call(GET_ROUTEINFO_BY_TOPIC, {"topic": "another"})
            current, other = (one, two) if one.seen(GET_ROUTEINFO_BY_TOPIC) else (two, one)
            yield daemon, current, other, broker


@test
def a_nameserver_that_has_just_started_hides_no_topic_that_another_one_knows():
    with two_nameservers() as (daemon, current, _, _):
        current.no_route.update((TOPIC, TEMPLATE))
        answer = daemon.client().call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
        equal((answer.code, answer.error), (0, None), f"the first send ({answer.remark})")


@test
def what_the_only_nameserver_that_works_says_is_believed_soon():
    for end in (close, silence):
        with two_nameservers() as (daemon, current, other, _):
            current.no_route.update((TOPIC, TEMPLATE))
            other.on(GET_ROUTEINFO_BY_TOPIC, end)
            client = daemon.client()
            seen = [client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x") for _ in range(2)]
            equal([answer.error for answer in seen], ["no-route", "no-route"], "the answers")


@test
def a_route_that_nameservers_deny_all_at_once_serves_on():
    with stage({"nameserver": {"route_refresh": "1s", "negative_ttl": "500ms"}}) as on:
        client = on.client()
        equal(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error, None, "a send")
        on.nameserver.no_route.update((TOPIC, TEMPLATE))
        asked = len(on.nameserver.seen(GET_ROUTEINFO_BY_TOPIC))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
            equal((answer.code, answer.error), (0, None), f"a send ({answer.remark})")
            answer = client.call(POP_MESSAGE, {"topic": TOPIC, "consumerGroup": "g"})
            equal((answer.code, answer.error), (0, None), f"the answer to POP ({answer.remark})")
            time.sleep(0.01)
        n_asked = len(on.nameserver.seen(GET_ROUTEINFO_BY_TOPIC)) - asked
        check(2 <= n_asked <= 8, f"it is asked for again at times (saw {n_asked})")
        contains(on.daemon.log(), f"topic={TOPIC} kept", "the log")


@test
def a_topic_that_was_deleted_from_its_brokers_too_is_gone():
    with stage({"nameserver": {"route_refresh": "1s"}}) as on:
        client = on.client()
        equal(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error, None, "a send")
        on.nameserver.no_route.update((TOPIC, TEMPLATE))
        on.broker.on(SEND_MESSAGE, answers(TOPIC_NOT_EXIST, remark="topic not exist"))
        equal(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").code, TOPIC_NOT_EXIST, "the broker's answer")
        wait_until(
            lambda: client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error == "no-route", 5, "its end"
        )


main()
