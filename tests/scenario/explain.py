#!/usr/bin/env python3
"""remotingctl explain where nameservers tell different things, and where nobody tells anything"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, answers, close
from remoting import GET_ROUTEINFO_BY_TOPIC
from remotingctl_run import Run
from tap import contains, equal, main, test


def findings(first_knows, second_knows):
    """What is found where the first and the second nameserver name these of the brokers a and b."""
    with FakeBroker("first") as first, FakeBroker("second") as second:
        with FakeBroker("broker-a") as a, FakeBroker("broker-b") as b:
            brokers = {"a": a, "b": b}
            first.route_to = [brokers[name] for name in first_knows]
            second.route_to = [brokers[name] for name in second_knows]
            with Daemon(nameservers=[first.address, second.address]) as running:
                run = Run(running, "explain", "orders", "--json")
                equal(run.code, 1 if json.loads(run.out)["findings"] else 0, f"the exit code ({run.err})")
                addresses = {"first": first.address, "second": second.address}
                return json.loads(run.out)["findings"], addresses


@test
def nameservers_that_agree_are_not_stale():
    found, _ = findings("ab", "ab")
    equal(found, [], "what is found")


@test
def a_nameserver_that_knows_no_such_topic_beside_one_that_does_is_stale():
    found, addresses = findings("a", "")
    equal([row["cause"] for row in found], ["nameserver-stale"], "the causes")
    contains(found[0]["text"], f"nameserver {addresses['second']} knows no topic orders", "what it says")
    contains(found[0]["command"], f"--addr {addresses['second']}", "the next command")


@test
def a_nameserver_that_tells_another_route_is_stale():
    found, addresses = findings("ab", "a")
    equal([row["cause"] for row in found], ["nameserver-stale"], "the causes")
    contains(found[0]["text"], f"nameserver {addresses['second']} tells another route", "what it says")


@test
def a_topic_that_no_nameserver_knows_is_none():
    found, _ = findings("", "")
    equal([row["cause"] for row in found], ["no-such-topic"], "the causes")


@test
def without_any_nameserver_that_is_the_cause_and_what_is_not_known_is_told():
    with FakeBroker("first") as first:
        first.on(GET_ROUTEINFO_BY_TOPIC, close)
        with Daemon(nameservers=[first.address]) as running:
            report = json.loads(Run(running, "explain", "orders", "--json").out)
            equal([row["cause"] for row in report["findings"]], ["no-nameserver"], "the causes")
            equal([(row["knows"], bool(row["reason"])) for row in report["nameservers"]], [(None, True)], "why")
            equal(report["route"]["from"], None, "there is no route")


@test
def a_broker_that_answers_nothing_but_errors_leaves_what_it_should_tell_unknown():
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as broker:
        nameserver.route_to = [broker]
        for code in (12, 14, 29, 30, 31, 38, 300, 352):
            broker.on(code, answers(code=1, remark="not today"))
        with Daemon(nameservers=[nameserver.address]) as running:
            run = Run(running, "explain", "orders", "billing", "--json")
            report = json.loads(run.out)
            equal(report["findings"], [], "the causes")
            contains({row["what"] for row in report["notKnown"]}, "offsets at broker-a", "what is not known")
            contains(run.out, "not today", "why")
            equal(report["groups"][0]["lag"], None, "the lag")


main()
