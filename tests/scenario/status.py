#!/usr/bin/env python3
"""How the daemon is, as an operator sees it: status and health, and what they say of faults"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import binary
from fake_broker import FakeBroker, Held, answers, close, silence
from remoting import (
    GET_BROKER_CLUSTER_INFO,
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    GET_STATS,
    SEND_MESSAGE,
    TOPIC_NOT_EXIST,
)
from scenario import TOPIC, is_own, stage
from tap import check, contains, equal, main, test, wait_until

PATIENCE_S = 30
GET_STATUS = 30024


def remotingctl(daemon, *arguments, **environment):
    return subprocess.run(
        [binary("REMOTINGCTL", "build-test/client/remotingctl"), *arguments, "--socket", daemon.socket],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **environment},
    )


def status(daemon):
    done = remotingctl(daemon, "status", "--json")
    equal(done.returncode, 0, f"the exit code of status ({done.stderr})")
    return json.loads(done.stdout)


def screen(daemon):
    done = remotingctl(daemon, "status")
    equal(done.returncode, 0, f"the exit code of status ({done.stderr})")
    return done.stdout


def health(daemon):
    """(exit code, text)"""
    done = remotingctl(daemon, "health")
    return done.returncode, done.stdout


def send(client, topic=TOPIC, **more):
    return client.call(SEND_MESSAGE, {"topic": topic, **more}, b"body")


@test
def a_daemon_that_works_is_healthy_and_says_so_everywhere():
    with stage() as on:
        on.broker.on(SEND_MESSAGE, lambda connection, request: connection.answer(request))
        equal(send(on.client()).code, 0, "the code of a send")
        code, text = health(on.daemon)
        equal((code, text), (0, "healthy\n"), "health")
        seen = status(on.daemon)
        equal((seen["state"], seen["conditions"]), ("healthy", []), "the state")
        equal(seen["pid"], on.daemon.pid, "the process")
        equal(seen["brokers"]["total"], 1, "brokers")
        equal(seen["requests"]["total"], 3, "requests: the send, health, and this one")
        text = screen(on.daemon)
        contains(text.splitlines()[0], "up 0s: healthy", "the first line")
        check("\x1b" not in text, "what is piped has no colour")
        check(len(text.splitlines()) <= 24, f"it fits a screen ({text})")


@test
def one_broker_of_three_that_is_away_is_told_and_is_no_condition():
    with stage() as on, FakeBroker("broker-b") as second, FakeBroker("broker-c") as third:
        on.nameserver.route_to = [on.broker, second, third]
        client = on.client()
        second.refuse()
        on.call(client, "x", {"sidecar.addr": second.address, "sidecar.timeoutMillis": "200"})
        client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        equal(health(on.daemon), (0, "healthy\n"), "health")
        contains(screen(on.daemon), f"broker-b {second.address}: ", "the broker that is away")
        equal(status(on.daemon)["brokers"]["outOfUse"], 1, "brokers out of use")


@test
def no_nameserver_is_degraded_with_kept_routes_and_down_without():
    with stage({"nameserver": {"probe_interval": "100ms"}}) as on:
        client = on.client()
        on.nameserver.refuse()
        equal(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"}).error, "no-nameserver", "asked")
        wait_until(lambda: health(on.daemon)[0] == 2, 10, "down, for nothing is known")
        contains(health(on.daemon)[1], "no nameserver of 1 answers, and no route", "the reason")
        contains(health(on.daemon)[1], "try: remotingctl show nameservers", "what to type")
        on.nameserver.listen()
        wait_until(lambda: health(on.daemon)[0] == 0, 10, "healthy again")
        equal(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC}).code, 0, "a route")
        on.nameserver.refuse()
        equal(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"}).error, "no-nameserver", "another")
        wait_until(lambda: health(on.daemon)[0] == 1, 10, "degraded, for a route is kept")
        contains(screen(on.daemon), "the 1 known routes are served", "the reason")


@test
def every_broker_away_is_down_and_the_cause_is_shown():
    with stage() as on:
        on.broker.refuse()
        client = on.client()
        equal(send(client, **{"sidecar.timeoutMillis": "300"}).error, "unreachable", "a send")
        code, text = health(on.daemon)
        equal(code, 2, f"the exit code ({text})")
        contains(text, "1 of 1 brokers cannot be used", "the reason")
        text = screen(on.daemon)
        contains(text, "refused", "the cause")
        contains(text, "topic", "the topic that is in use is told, too")
        contains(text, "unreachable 1 (1)", "the failure by its cause")


@test
def a_topic_in_use_whose_brokers_are_all_away_is_degraded_and_named():
    with stage() as on, FakeBroker("broker-b") as b, FakeBroker("broker-c") as c:
        client = on.client()
        on.nameserver.route_to = [on.broker, b, c]
        client.call(GET_BROKER_CLUSTER_INFO)
        client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "others"})
        on.nameserver.route_to = [on.broker]
        on.broker.refuse()
        equal(send(client, "orders", **{"sidecar.timeoutMillis": "300"}).error, "unreachable", "a send")
        code, text = health(on.daemon)
        equal(code, 1, f"the exit code ({text})")
        contains(text, "topic orders is in use and has no queue", "the reason")
        contains(text, "remotingctl show routes", "what to type")


@test
def a_topic_that_never_was_is_nobodys_fault_and_one_that_went_is_told():
    with stage({"nameserver": {"route_refresh": "1s"}}) as on:
        on.nameserver.no_route = {"typo", "TBW102"}
        client = on.client()
        equal(send(client, "typo").error, "no-route", "a send to a topic that never was")
        equal(health(on.daemon), (0, "healthy\n"), "health")
        send(client, "orders")
        on.nameserver.no_route.add("orders")
        on.broker.on(SEND_MESSAGE, answers(TOPIC_NOT_EXIST, remark="topic[orders] not exist"))
        wait_until(lambda: send(client, "orders").error == "no-route", 20, "the route is gone")
        wait_until(lambda: health(on.daemon)[0] == 1, 10, "degraded")
        code, text = health(on.daemon)
        equal(code, 1, f"the exit code ({text})")
        contains(text, "topic orders is in use", "the reason")


@test
def a_broker_that_accepts_and_is_silent_is_recognised():
    settings = {"breaker": {"failures": "2"}}
    with stage(settings) as on:
        on.broker.default = silence
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, silence)
        client = on.client()
        client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        for n in range(3):
            equal(on.call(client, n, {"sidecar.timeoutMillis": "600"}).error, "timeout", "a request")
        wait_until(lambda: health(on.daemon)[0] == 2, 20, "the broker is out of use")
        text = screen(on.daemon)
        contains(text, "probe", "the cause")
        contains(text, "timeout 3 (3)", "the failures by cause")


@test
def a_broker_that_talks_garbage_is_recognised():
    with stage() as on:
        on.broker.serve = lambda connection: connection.send_bytes(b"SSH-2.0-OpenSSH_9.2\r\n")
        client = on.client()
        client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        for n in range(10):
            on.call(client, n, {"sidecar.timeoutMillis": "300"})
        contains(screen(on.daemon), "no frame", "the cause")


@test
def a_listener_that_is_full_is_told():
    with stage({"listener": {"max_sessions": "2"}}) as on:
        first, second = on.client(), on.client()
        is_own(on.call(first, "x"), "x")
        is_own(on.call(second, "y"), "y")
        answer = first.call(GET_STATUS).json()
        equal(answer["state"], "degraded", "the state")
        contains(answer["reason"], "max_sessions", "the reason")
        done = remotingctl(on.daemon, "health")
        equal(done.returncode, 2, "health itself is refused")
        contains(done.stderr, "max_sessions", "why")


@test
def failures_of_the_last_minute_are_told_by_their_cause():
    with stage() as on:
        on.broker.on(GET_MAX_OFFSET, close)
        client = on.client()
        client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        for n in range(12):
            on.call(client, n, {"sidecar.timeoutMillis": "2000"})
        code, text = health(on.daemon)
        check(code >= 1, f"it is not healthy ({text})")
        seen = status(on.daemon)
        names = [row["condition"] for row in seen["conditions"]]
        check("failing" in names, f"failing is among the conditions ({names})")
        check(seen["failures"]["byCause"]["connection-lost"]["lastMinute"] > 0, "the cause is counted")


@test
def a_drain_is_down_and_still_answered():
    with stage() as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client, operator = on.client(), on.client()
        equal(operator.call(GET_STATS).code, 0, "a first answer")
        opaque = on.ask(client, "held", {"sidecar.timeoutMillis": "20000"})
        connection, request = held.wait_for(1)[0]
        on.daemon.terminate()
        wait_until(lambda: operator.call(GET_STATUS).json()["state"] == "down", 10, "down")
        contains(operator.call(GET_STATUS).json()["reason"], "draining", "the reason")
        connection.echo(request)
        is_own(client.receive(opaque), "held")
        equal(on.daemon.wait(), 0, "the exit code")


@test
def no_daemon_is_down():
    with stage() as on:
        pass
    done = remotingctl(on.daemon, "health")
    equal(done.returncode, 2, "the exit code")
    contains(done.stdout, "down", "what is said")
    done = remotingctl(on.daemon, "health", "--json")
    equal(json.loads(done.stdout)["state"], "down", "the same for programs")


@test
def a_daemon_that_stood_still_says_so():
    with stage() as on:
        on.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(8)  # it is to stand still for longer than its samples are apart
        on.daemon.process.send_signal(signal.SIGCONT)
        wait_until(lambda: health(on.daemon)[0] == 1, 10, "degraded")
        contains(health(on.daemon)[1], "stood still", "the reason")


main()
