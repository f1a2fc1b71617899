#!/usr/bin/env python3
"""Connecting is done once for everyone who waits"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import SEND_MESSAGE
from scenario import TOPIC, is_own, stage
from tap import equal, main, test, wait_until


@test
def two_hundred_first_requests_make_one_connection():
    with stage() as on:
        clients = [on.client() for _ in range(200)]
        for n, client in enumerate(clients):
            on.ask(client, n)
        for n, client in enumerate(clients):
            is_own(client.receive(), n)
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def two_hundred_first_sends_by_topic_make_one_connection_to_each():
    with stage() as on:
        clients = [on.client() for _ in range(200)]
        for n, client in enumerate(clients):
            client.send(SEND_MESSAGE, {"topic": TOPIC}, b"%d" % n)
        for n, client in enumerate(clients):
            answer = client.receive()
            equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")
            equal(answer.body, b"%d" % n, "the body that the broker's echo brings back")
        equal(len(on.broker.connections), 1, "connections to the broker")
        equal(len(on.nameserver.connections), 1, "connections to the nameserver")


@test
def callers_who_leave_while_it_is_made_do_not_harm_it():
    with stage() as on:
        on.broker.refuse()
        leaving = [on.client() for _ in range(50)]
        staying = [on.client() for _ in range(50)]
        for n, (one, other) in enumerate(zip(leaving, staying)):
            on.ask(one, f"leaving {n}", {"sidecar.timeoutMillis": 10000})
            on.ask(other, n, {"sidecar.timeoutMillis": 10000})
        files = on.daemon.files()
        for client in leaving:
            client.close()
        wait_until(
            lambda: on.daemon.files() <= files - len(leaving), 5, "the daemon sees that they left"
        )
        on.broker.listen()
        for n, client in enumerate(staying):
            is_own(client.receive(), n)
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
