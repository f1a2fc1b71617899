#!/usr/bin/env python3
"""A broker that does not read: requests pile up to a limit, and what was not written moves on"""

import json
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Valve
from remoting import SYSTEM_BUSY, decode, measure
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until

SETTINGS = {"limits": {"upstream_buffer": "1MiB", "max_timeout": "60s"}}
PATIENT = {"sidecar.timeoutMillis": 20000}
BODY = bytes(60000)


CLOSE_CLIENTS = 30005
GET_STATS = 30012


def ask_until_refused(on, client):
    """The opaques of requests that the daemon took, and the answer to the one that it refused."""
    opaques = []
    while client.is_silent(0.01):
        opaques.append(on.ask(client, len(opaques), PATIENT, BODY))
        less(len(opaques), 2000, "requests until the buffer is full")
    refused = client.receive()
    opaques.remove(refused.opaque)
    return opaques, refused


def fill_the_rest(on):
    """One request each of so many callers that the whole buffer is full: (client, opaque) of each."""
    rows = []
    while len(rows) < 100:
        client = on.client()
        opaque = on.ask(client, f"rest {len(rows)}", PATIENT, BODY)
        if not client.is_silent(0.05):
            is_failure(client.receive(opaque), "overloaded", SYSTEM_BUSY, "no")
            break
        rows.append((client, opaque))
    return rows


@test
def beyond_the_buffer_requests_are_refused_at_once_and_taken_again_when_it_reads():
    with stage(SETTINGS) as on, FakeBroker("broker-b") as other:
        valve = Valve(on.broker)
        client, elsewhere = on.client(), on.client()
        opaques, refused = ask_until_refused(on, client)
        is_failure(refused, "overloaded", SYSTEM_BUSY, "no")
        contains(refused.remark, "limits.upstream_buffer", "the remark")
        contains(refused.remark, on.broker.address, "the remark")
        rest = fill_the_rest(on)
        began = time.monotonic()
        for n in range(20):
            answer = on.call(elsewhere, n, PATIENT)
            is_failure(answer, "overloaded", SYSTEM_BUSY, "no", "a further request")
        less(time.monotonic() - began, 1.0, "seconds until twenty were refused")
        # Other brokers are not affected.
        for n in range(20):
            is_own(on.call(elsewhere, n, {"sidecar.addr": other.address}), n)
        valve.opened.set()
        for n, opaque in enumerate(opaques):
            answer = client.receive(opaque)
            is_own(answer, n)
            equal(len(answer.body), len(BODY), "the size of the body")
        for n, (other_client, opaque) in enumerate(rest):
            is_own(other_client.receive(opaque), f"rest {n}")
        is_own(on.call(elsewhere, "again", PATIENT, BODY), "again")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def what_was_not_written_moves_to_the_next_connection():
    """The connection breaks with requests on it of which the broker has seen no byte"""
    for is_reset in (True, False):
        with stage(SETTINGS) as on:
            valve = Valve(on.broker)
            client = on.client()
            opaques, _ = ask_until_refused(on, client)
            first = on.broker.connections[0]
            on.broker.serve = valve.ordinary
            first.is_open = not is_reset
            if is_reset:
                # Closed with bytes that were not read: the peer sees a reset.
                first.socket.close()
            else:
                first.socket.shutdown(socket.SHUT_WR)
            lost = 0
            for n, opaque in enumerate(opaques):
                answer = client.receive(opaque)
                if answer.error is None:
                    is_own(answer, n)
                    continue
                is_failure(answer, "connection-lost", 10100, "maybe")
                equal(n, lost, "the place of one that was lost: they are the first")
                lost += 1
            less(lost, len(opaques) - 5, f"of {len(opaques)}, those that were lost")
            check(lost > 0, "what was written before is lost")
            second = [row for row in on.broker.seen() if row.connection is not first]
            equal(len(second), len(opaques) - lost, "requests at the second connection: the rest")
            first.is_open = False
            valve.opened.set()


@test
def oneway_requests_are_written_before_a_connection_that_drains_is_closed():
    """The last answer comes while they still wait for the broker to read"""
    with stage({"limits": {"upstream_buffer": "64MiB"}}) as on:
        client = on.client()
        ordinary, answered, opened = on.broker.serve, threading.Event(), threading.Event()

        def answers_one_before_it_reads_more(connection):
            received = bytearray()
            while (size := measure(received)) is None or len(received) < size:
                received += connection.socket.recv(1)
            answered.wait()
            connection.echo(decode(bytes(received)))
            opened.wait()
            ordinary(connection)

        on.broker.serve = answers_one_before_it_reads_more
        on.ask(client, "first", PATIENT)
        # Several times what the kernel takes.
        for n in range(400):
            on.ask(client, n, PATIENT, BODY, oneway=True)
        body = json.dumps([on.broker.address]).encode()
        equal(client.call(CLOSE_CLIENTS, body=body).code, 0, "the answer to CLOSE_CLIENTS")
        stats = client.call(GET_STATS).json()
        less(stats["onewayWritten"], 400, "oneway requests that are written")
        answered.set()
        is_own(client.receive(), "first")
        opened.set()
        seen = on.broker.wait_for(400)
        equal([row.ext["token"] for row in seen], [str(n) for n in range(400)], "what it read")
        wait_until(lambda: not on.broker.open_connections(), 5, "the connection is closed")
        stats = client.call(GET_STATS).json()
        equal((stats["onewayWritten"], stats["onewayFailed"]), (400, 0), "written and failed")


@test
def a_reset_at_once_after_accepting_loses_nobody():
    """Each is answered: by the broker in the end, or with an outcome that is unknown"""
    with stage({"backoff": {"initial": "20ms", "max_wanted": "50ms"}}) as on:
        ordinary = on.broker.serve

        def reset_at_once(connection):
            if connection.number >= 5:
                on.broker.serve = ordinary
                ordinary(connection)
                return
            connection.close(reset=True)

        on.broker.serve = reset_at_once
        clients = [on.client() for _ in range(20)]
        for n, client in enumerate(clients):
            on.ask(client, n, PATIENT)
        for n, client in enumerate(clients):
            answer = client.receive()
            if answer.error is None:
                is_own(answer, n)
            else:
                is_failure(answer, "connection-lost", 10100, "maybe")
        wait_until(
            lambda: on.call(clients[0], "next", PATIENT).ext.get("echo.token") == "next",
            10,
            "it works as soon as the broker does",
        )


@test
def a_host_that_answers_no_connection_attempt_costs_the_deadline_and_no_more():
    # A listener whose backlog is full: further attempts are not answered at all.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    with stage() as on:
        client, other = on.client(), on.client()
        for n in range(5):
            began = time.monotonic()
            answer = on.call(
                client, n, {"sidecar.addr": address, "sidecar.timeoutMillis": 100}
            )
            took = time.monotonic() - began
            is_failure(answer, "unreachable", 10001, "no")
            contains(answer.remark, address, "the remark")
            check(0.09 < took < 1.0, f"100 ms were waited for, no longer (took {took:.3f} s)")
            is_own(on.call(other, n), n)
    for one in (listener, *waiting):
        one.close()


main()
