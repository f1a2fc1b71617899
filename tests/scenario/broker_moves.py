#!/usr/bin/env python3
"""A broker gets another master: requests go to the new one, and the old one's connections end"""

import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, Held, answers
from remoting import GET_MAX_OFFSET, NO_PERMISSION, SEND_MESSAGE, TOPIC_NOT_EXIST
from scenario import TOPIC, is_own
from tap import contains, equal, less, main, test, wait_until

# A route younger than a second is not asked for again because of one refusal.
ROUTE_IS_NEW_SECONDS = 1.1
STORED = answers(0, {"msgId": "M", "queueId": "0", "queueOffset": "0"})


@contextlib.contextmanager
def two_masters(route_refresh):
    """The route names the first one; both say that they are broker-a."""
    settings = {"nameserver": {"route_refresh": route_refresh}, "pool": {"max_idle": "1h"}}
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as old:
        with FakeBroker("broker-a") as new, Daemon([nameserver.address], settings) as daemon:
            nameserver.route_to = [old]
            yield daemon, nameserver, old, new


def send(client):
    return client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")


@test
def the_old_masters_connections_end_when_what_is_in_flight_there_is_answered():
    with two_masters("1s") as (daemon, nameserver, old, new):
        held = Held()
        for broker in (old, new):
            broker.on(SEND_MESSAGE, STORED)
        old.on(GET_MAX_OFFSET, held)
        client = daemon.client()
        equal(send(client).code, 0, "a send")
        ask = {"token": "flies", "sidecar.broker": "broker-a", "sidecar.timeoutMillis": "20000"}
        waiting = client.send(GET_MAX_OFFSET, ask)
        held.wait_for(1)
        nameserver.route_to = [new]

        def has_moved():
            equal(send(client).error, None, "a send meanwhile")
            time.sleep(0.05)
            return len(new.seen(SEND_MESSAGE)) > 0

        wait_until(has_moved, 10, "sends at the new master")
        equal(len(daemon.upstreams_to(old.address)), 1, "connections that something is in flight on")
        contains(daemon.log(), f"broker=broker-a moved from={old.address}", "the log")
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(waiting), "flies")
        wait_until(lambda: not daemon.upstreams_to(old.address), 5, "the end of the old connection")
        contains(daemon.log(), "its broker has another master now", "the log")


@test
def a_topic_that_is_not_at_the_old_master_any_more_is_found_at_the_new_one_at_once():
    for code in (TOPIC_NOT_EXIST, NO_PERMISSION):
        with two_masters("30s") as (daemon, nameserver, old, new):
            old.on(SEND_MESSAGE, STORED)
            new.on(SEND_MESSAGE, STORED)
            client = daemon.client()
            equal(send(client).code, 0, "a send")
            remark = "the broker[broker-a] sending message is forbidden"
            old.on(SEND_MESSAGE, answers(code, remark=remark))
            nameserver.route_to = [new]
            time.sleep(ROUTE_IS_NEW_SECONDS)
            began = time.monotonic()
            answer = send(client)
            equal((answer.code, answer.error), (0, None), f"the send ({code}: {answer.remark})")
            less(time.monotonic() - began, 1.0, "seconds")
            wait_until(lambda: not daemon.upstreams_to(old.address), 5, "the old connection's end")


main()
