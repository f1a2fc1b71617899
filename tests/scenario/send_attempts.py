#!/usr/bin/env python3
"""Which brokers a send tries, and in how much of its deadline"""

import contextlib
import json
import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import fake_broker
from daemon_process import Daemon
from fake_broker import FakeBroker, answers
from remoting import (
    GET_ROUTEINFO_BY_TOPIC,
    NO_PERMISSION,
    SEND_BATCH_MESSAGE,
    SEND_MESSAGE,
    SEND_MESSAGE_V2,
    SYSTEM_BUSY,
    SYSTEM_ERROR,
    TOPIC_NOT_EXIST,
)
from scenario import TOPIC, is_failure
from tap import contains, equal, less, main, test, wait_until

HELLO = 30000
SERVICE_NOT_AVAILABLE = 14
FORBIDDEN_HERE = "the broker[10.0.0.7] sending message is forbidden"
# A route is asked for again only when it is older than this.
ROUTE_AGE_SECONDS = 1.05


@contextlib.contextmanager
def two_brokers(settings=None):
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as a, FakeBroker(
        "broker-b"
    ) as b:
        nameserver.route_to = [a, b]
        with Daemon([nameserver.address], settings or {}) as daemon:
            yield daemon, nameserver, a, b


def send(client, **ext):
    return client.call(SEND_MESSAGE, {"topic": TOPIC, **ext}, b"x", timeout=15)


def questions(nameserver):
    return len(nameserver.seen(GET_ROUTEINFO_BY_TOPIC))


def grow_old(nameserver, client):
    """Until the route may be asked for again: the story's clock is the daemon's own."""
    equal(send(client).error, None, "the first send")
    began = time.monotonic()  # the route is here, and not younger
    wait_until(lambda: time.monotonic() - began > ROUTE_AGE_SECONDS, 5, "the route to be old")
    return questions(nameserver)


@test(deadline=60)
def a_broker_that_never_answers_costs_at_least_once_sends_no_success():
    with two_brokers() as (daemon, _, dead, alive):
        dead.on(SEND_MESSAGE, fake_broker.silence)
        clients = [daemon.client() for _ in range(20)]
        n_ok = n_retries = 0
        longest = 0.0
        for _ in range(100):
            began = time.monotonic()
            opaques = [
                client.send(SEND_MESSAGE, {"topic": TOPIC, "sidecar.retry": "at-least-once"}, b"x")
                for client in clients
            ]
            for client, opaque in zip(clients, opaques):
                answer = client.receive(opaque, 10)
                n_ok += answer.error is None and answer.code == 0
                n_retries += int(answer.ext.get("sidecar.attempts", 1)) - 1
            longest = max(longest, time.monotonic() - began)
        less(1979, n_ok, "sends of 2000 that succeeded")
        less(longest, 3.0, "seconds that the slowest round took")
        less(n_retries, 0.2 * 2000, "repeated attempts of 2000 sends")
        less(1979, len(alive.seen(SEND_MESSAGE)), "sends at the other broker")


@test
def a_safe_send_to_a_broker_that_never_answers_is_told_that_it_may_be_stored():
    with two_brokers() as (daemon, _, a, b):
        a.on(SEND_MESSAGE, fake_broker.silence)
        b.on(SEND_MESSAGE, fake_broker.silence)
        answer = send(daemon.client(), **{"sidecar.timeoutMillis": "700"})
        is_failure(answer, "timeout", 10002, "maybe")
        equal(len(a.seen(SEND_MESSAGE)) + len(b.seen(SEND_MESSAGE)), 1, "sends at the brokers")
        equal(len(answer.ext["sidecar.uniqKey"]), 32, "characters of sidecar.uniqKey")


@test
def what_was_silent_once_is_passed_over_afterwards():
    with two_brokers() as (daemon, _, silent, good):
        silent.on(SEND_MESSAGE, fake_broker.silence)
        client = daemon.client()
        while send(client, **{"sidecar.timeoutMillis": "900"}).error is None:
            pass
        silent_before = len(silent.seen(SEND_MESSAGE))
        equal(silent_before, 1, "sends at the silent broker")
        for _ in range(50):
            equal(send(client).ext.get("brokerName"), good.name, "who took it")
        equal(len(silent.seen(SEND_MESSAGE)), silent_before, "sends at the silent broker")


@test
def without_latency_fault_tolerance_every_broker_has_its_turn():
    with two_brokers({"send": {"latency_fault_tolerance": "no"}}) as (daemon, _, busy, good):
        busy.on(SEND_MESSAGE, answers(SYSTEM_BUSY, remark="[PCBUSY_CLEAN_QUEUE]"))
        client = daemon.client()
        for _ in range(16):
            equal(send(client).ext.get("brokerName"), good.name, "who took it")
        # One in four begins there: the queues take turns, and a repeat passes over its others.
        less(2, len(busy.seen(SEND_MESSAGE)), "sends that began at the busy broker")


@test
def one_impatient_caller_takes_no_broker_away():
    with two_brokers() as (daemon, _, a, b):
        a.on(SEND_MESSAGE, fake_broker.after(0.1))
        client = daemon.client()
        for _ in range(4):
            send(client, **{"sidecar.timeoutMillis": "20"})
        names = {send(client).ext.get("brokerName") for _ in range(8)}
        equal(names, {a.name, b.name}, "who takes sends")


@test
def every_broker_out_of_use_is_told_with_the_cause():
    with two_brokers() as (daemon, _, a, b):
        client = daemon.client()
        equal(send(client).error, None, "the first send")
        a.refuse()
        b.refuse()
        for _ in range(20):
            answer = send(client, **{"sidecar.timeoutMillis": "300"})
            is_failure(answer, "unreachable", 10001, "no")
        a.listen()
        b.listen()
        wait_until(lambda: send(client).error is None, 10, "a send once they are back")


@test
def brokers_that_all_refuse_are_still_tried():
    with two_brokers() as (daemon, _, a, b):
        a.on(SEND_MESSAGE, answers(SYSTEM_BUSY, remark="[OVERLOAD]"))
        b.on(SEND_MESSAGE, answers(SYSTEM_BUSY, remark="[OVERLOAD]"))
        client = daemon.client()
        for _ in range(3):
            answer = send(client)
            equal((answer.error, answer.code), (None, SYSTEM_BUSY), "the broker's own answer")
            equal(answer.ext.get("sidecar.attempts"), "3", "sidecar.attempts")
            contains((a.name, b.name), answer.ext.get("brokerName"), "brokerName")
        a.on(SEND_MESSAGE, fake_broker.echo)
        equal(send(client).ext.get("brokerName"), a.name, "who takes it again")


@test
def no_permission_is_final():
    with two_brokers() as (daemon, nameserver, a, b):
        for broker in (a, b):
            broker.on(SEND_MESSAGE, answers(NO_PERMISSION, remark="User:x is not found."))
        client = daemon.client()
        answer = send(client)
        equal((answer.error, answer.code), (None, NO_PERMISSION), "the broker's own answer")
        equal(answer.ext.get("sidecar.attempts"), "1", "sidecar.attempts")
        equal(questions(nameserver), 1, "questions for the route")


@test
def where_sending_is_forbidden_the_route_is_asked_for_once_and_another_broker_takes_it():
    with two_brokers() as (daemon, nameserver, a, b):
        client = daemon.client()
        asked = grow_old(nameserver, client)
        a.on(SEND_MESSAGE, answers(NO_PERMISSION, remark=FORBIDDEN_HERE))
        nameserver.route_to = [b]
        for _ in range(8):
            equal(send(client).ext.get("brokerName"), b.name, "who took it")
        less(questions(nameserver) - asked, 2, "questions for the route")


@test
def a_master_that_moved_is_found_where_it_is_now():
    cases = (
        ("not a master", answers(SERVICE_NOT_AVAILABLE, remark="not a master any more")),
        ("no such topic", answers(TOPIC_NOT_EXIST, remark="topic[Orders] not exist")),
        ("forbidden", answers(NO_PERMISSION, remark=FORBIDDEN_HERE)),
        ("gone", None),
    )
    for name, behaviour in cases:
        with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as old, FakeBroker(
            "broker-a"
        ) as new:
            nameserver.route_to = [old]
            with Daemon([nameserver.address], {}) as daemon:
                client = daemon.client()
                asked = grow_old(nameserver, client)
                nameserver.route_to = [new]
                if behaviour:
                    old.on(SEND_MESSAGE, behaviour)
                else:
                    old.refuse()
                ext = {"property.__SHARDINGKEY": "k"}
                for keyed in ({}, ext, {}, ext):
                    answer = send(client, **keyed)
                    equal((answer.error, answer.code), (None, 0), f"{name}: {answer.remark}")
                    equal(answer.ext.get("sidecar.addr"), new.address, f"{name}: who took it")
                equal(questions(nameserver) - asked, 1, f"{name}: questions for the route")


@test
def where_broker_and_nameserver_are_out_of_use_a_send_ends_once():
    """Both refuse at once: each attempt, and the question for the route, ends inside the one before"""
    settings = {
        "upstream": {"request_timeout": "2s"},
        "backoff": {"initial": "30s", "max": "60s", "max_wanted": "60s"},
    }
    with two_brokers(settings) as (daemon, nameserver, a, b):
        nameserver.route_to = [a]
        client = daemon.client()
        grow_old(nameserver, client)
        a.refuse()
        nameserver.refuse()
        for _ in range(3):
            answer = send(client, **{"sidecar.timeoutMillis": 1000})
            is_failure(answer, "unreachable", 10001, "no")
        equal(client.call(HELLO).code, 0, "the daemon")


@test
def a_silent_nameserver_does_not_keep_a_refusal_from_its_caller():
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as broker:
        nameserver.route_to = [broker]
        with Daemon([nameserver.address], {}) as daemon:
            client = daemon.client()
            grow_old(nameserver, client)
            nameserver.on(GET_ROUTEINFO_BY_TOPIC, fake_broker.silence)
            broker.on(SEND_MESSAGE, answers(SERVICE_NOT_AVAILABLE, remark="not a master"))
            answer = send(client, **{"sidecar.timeoutMillis": "1000"})
            equal((answer.error, answer.code), (None, SERVICE_NOT_AVAILABLE), "the broker's answer")


@test
def an_error_in_the_broker_is_repeated_only_for_who_wants_it():
    with two_brokers() as (daemon, _, a, b):
        a.on(SEND_MESSAGE, answers(SYSTEM_ERROR, remark="in-sync replicas not enough"))
        client = daemon.client()
        codes = {send(client).code for _ in range(8)}
        equal(codes, {0, SYSTEM_ERROR}, "the answers of both brokers")
        for _ in range(8):
            answer = send(client, **{"sidecar.retry": "at-least-once"})
            equal((answer.code, answer.ext.get("brokerName")), (0, b.name), "who took it")
        keys = [row.ext["properties"].split("UNIQ_KEY\x01")[1][:32] for row in b.seen(SEND_MESSAGE)]
        equal(len(set(keys)), len(keys), "unique keys at the broker that takes sends")


@test
def a_sharding_key_stays_with_its_queue_while_that_refuses():
    with two_brokers() as (daemon, _, a, b):
        client = daemon.client()
        first = send(client, **{"property.__SHARDINGKEY": "order-17"})
        queue = (first.ext["brokerName"], first.ext["echo.queueId"])
        broker = a if queue[0] == a.name else b
        broker.on(SEND_MESSAGE, answers(SYSTEM_BUSY, remark="[OVERLOAD]"))
        for retry in ("safe", "at-least-once", "no"):
            ext = {"property.__SHARDINGKEY": "order-17", "sidecar.retry": retry}
            answer = send(client, **ext)
            equal((answer.code, answer.ext["brokerName"]), (SYSTEM_BUSY, queue[0]), retry)
        asked = [(row.ext["queueId"]) for row in broker.seen(SEND_MESSAGE)]
        equal(set(asked), {queue[1]}, "queues of this key")


@test
def sends_to_a_broker_of_the_callers_choice_go_round_its_queues():
    with two_brokers() as (daemon, nameserver, a, b):
        client = daemon.client()
        queues = [send(client, **{"sidecar.broker": b.name}).ext["echo.queueId"] for _ in range(8)]
        equal(sorted(queues), sorted("01230123"), "the queues of eight sends")
        equal((len(a.seen(SEND_MESSAGE)), len(b.seen(SEND_MESSAGE))), (0, 8), "who took them")
        nameserver.no_route.add("Elsewhere")
        answer = client.call(SEND_MESSAGE, {"topic": "Elsewhere", "sidecar.broker": b.name}, b"x")
        equal((answer.error, answer.ext["echo.queueId"]), (None, "0"), "a topic without a route")


@test
def the_broker_that_a_send_in_the_v2_form_names_gets_it():
    with two_brokers() as (daemon, _, a, b):
        client = daemon.client()
        batch = struct.pack(">5i", 23, 0, 0, 0, 1) + b"x" + struct.pack(">h", 0)
        for code, body in ((SEND_MESSAGE_V2, b"x"), (SEND_BATCH_MESSAGE, batch)):
            for ext in ({"n": b.name}, {"n": b.name, "e": "3"}):
                answer = client.call(code, {"b": TOPIC, **ext}, body)
                equal((answer.error, answer.ext.get("brokerName")), (None, b.name), answer.remark)
                equal(answer.ext["echo.n"], b.name, "the name at the broker")
                if "e" in ext:
                    equal(answer.ext["echo.e"], "3", "the queue at the broker")
        equal(a.seen(SEND_MESSAGE_V2, SEND_BATCH_MESSAGE), [], "what the other broker got")


@test
def a_nameserver_that_invents_brokers_and_queues_is_held_to_the_limits():
    row = {"brokerName": "x", "perm": 6, "readQueueNums": 4, "writeQueueNums": 4, "topicSysFlag": 0}
    data = {"brokerName": "x", "cluster": "c", "brokerAddrs": {"0": "127.0.0.1:22"}}
    many = range(20000)
    routes = (
        {"brokerDatas": [], "queueDatas": []},
        {"brokerDatas": [{**data, "brokerName": f"b{i}"} for i in many], "queueDatas": []},
        {"brokerDatas": [data], "queueDatas": [{**row, "brokerName": f"b{i}"} for i in many]},
        {"brokerDatas": [data], "queueDatas": [{**row, "writeQueueNums": 2**31 - 1}]},
        {"brokerDatas": [data, data], "queueDatas": [row]},
        {"brokerDatas": [data], "queueDatas": [row, row]},
        {"brokerDatas": [data], "queueDatas": [row], "orderTopicConf": "x:2147483647;" * 1000},
        {"brokerDatas": [{**data, "brokerAddrs": {"0": "nonsense"}}], "queueDatas": [row]},
        {"brokerDatas": [data], "queueDatas": [{**row, "perm": 4}]},
    )
    with two_brokers() as (daemon, nameserver, a, _):
        client = daemon.client()
        for i, route in enumerate(routes):
            body = json.dumps(route).encode()
            nameserver.on(GET_ROUTEINFO_BY_TOPIC, answers(body=body))
            ext = {"topic": f"Topic{i}", "sidecar.timeoutMillis": "500"}
            answer = client.call(SEND_MESSAGE, ext, b"x")
            contains(
                ("no-route", "no-broker", "unreachable", "connection-lost", "timeout"),
                answer.error,
                f"the failure with route {i} ({answer.remark})",
            )
        nameserver.on(GET_ROUTEINFO_BY_TOPIC, None)
        nameserver.route_to = [a]
        equal(send(client).error, None, "a send by a good route")


main()
