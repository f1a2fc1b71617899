#!/usr/bin/env python3
"""No more connections than there may be, and the requests succeed"""

import contextlib
import os
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Held, after, echo
from remoting import GET_MAX_OFFSET, SEND_MESSAGE, SYSTEM_BUSY
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until

GET_POOL_STATS = 30006
PATIENT = {"sidecar.timeoutMillis": 10000}


class Watch:
    """
    The most TCP connections that the daemon was seen to have at once, with those that are being
    made: its open files beyond those of the start and its callers, who stay the same meanwhile.
    """

    def __init__(self, daemon):
        self.daemon = daemon
        self.others = daemon.base_files + len(daemon.clients)
        self.most = 0
        self.n_looks = 0
        self.is_over = False
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self.is_over:
            n_files = len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
            self.most = max(self.most, n_files - self.others)
            self.n_looks += 1
            time.sleep(0.001)

    def __enter__(self):
        wait_until(
            lambda: len(os.listdir(f"/proc/{self.daemon.pid}/fd")) >= self.others,
            5,
            "the daemon has accepted all callers",
        )
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()


@contextlib.contextmanager
def three_brokers(settings):
    with stage(settings) as on, FakeBroker("broker-b") as b, FakeBroker("broker-c") as c:
        on.nameserver.route_to = [on.broker, b, c]
        yield on, [on.broker, b, c]


@test
def one_connection_in_all_serves_a_nameserver_and_three_brokers_in_turn():
    with three_brokers({"pool": {"max_connections": 1}}) as (on, brokers):
        client = on.client()
        with Watch(on.daemon) as watch:
            for n in range(30):
                answer = client.call(SEND_MESSAGE, {"topic": f"{TOPIC}-{n % 4}"}, b"%d" % n)
                equal((answer.code, answer.error), (0, None), f"send {n} ({answer.remark})")
                broker = brokers[n % 3]
                is_own(on.call(client, n, {"sidecar.addr": broker.address}), n)
        check(watch.n_looks > 10, f"the connections were looked at (saw {watch.n_looks} looks)")
        equal(watch.most, 1, "the most connections at once")
        seen = [len(broker.seen()) for broker in brokers]
        equal(sum(seen), 60, "requests at all brokers: each once")
        check(all(seen), f"every broker was used (saw {seen})")


@test
def callers_at_once_share_the_one_connection_within_their_deadlines():
    with three_brokers({"pool": {"max_connections": 1}}) as (on, brokers):
        for broker in brokers:
            broker.default = after(0.01)
        clients = [on.client() for _ in range(30)]
        with Watch(on.daemon) as watch:
            for n, client in enumerate(clients):
                ext = {"sidecar.addr": brokers[n % 3].address, **PATIENT}
                on.ask(client, n, ext)
            for n, client in enumerate(clients):
                is_own(client.receive(), n)
        equal(watch.most, 1, "the most connections at once")


@test
def when_the_only_connection_is_busy_the_limit_is_named():
    with three_brokers({"pool": {"max_connections": 1}}) as (on, brokers):
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held", PATIENT)
        held.wait_for(1)
        began = time.monotonic()
        ext = {"sidecar.addr": brokers[1].address, "sidecar.timeoutMillis": 300}
        answer = on.call(client, "no room", ext)
        less(time.monotonic() - began, 1.5, "seconds to the answer of a request with 300 ms")
        is_failure(answer, "overloaded", SYSTEM_BUSY, "no")
        contains(answer.remark, "pool.max_connections", "the remark")
        check(answer.ext.get("sidecar.retryAfterMillis"), "it says when to come back")
        # Whoever has the time gets the place as soon as it is free.
        waiting = on.ask(client, "waits", {"sidecar.addr": brokers[1].address, **PATIENT})
        check(client.is_silent(0.1), "the request waits for room")
        for connection, request in held.waiting:
            connection.echo(request)
        is_own(client.receive(opaque), "held")
        is_own(client.receive(waiting), "waits")
        equal(len(on.daemon.upstreams()), 1, "connections at the end")


@test
def a_place_that_nobody_waits_for_any_more_is_left_to_who_has_it():
    with three_brokers({"pool": {"max_connections": 1}}) as (on, brokers):
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held", PATIENT)
        held.wait_for(1)
        ext = {"sidecar.addr": brokers[1].address, "sidecar.timeoutMillis": 100}
        is_failure(on.call(client, "gave up", ext), "overloaded", SYSTEM_BUSY, "no")
        on.broker.on(GET_MAX_OFFSET, echo)
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(opaque), "held")
        for n in range(5):
            is_own(on.call(client, n), n)
        equal(len(on.broker.connections), 1, "connections to the broker that is used")
        equal(len(brokers[1].connections), 0, "connections to the one that nobody wants any more")


def fill_and_empty(on, client, brokers):
    """One connection to each of these, which is idle then."""
    for n, broker in enumerate(brokers):
        is_own(on.call(client, n, {"sidecar.addr": broker.address}), n)


@test
def one_more_connection_to_a_busy_address_takes_nobody_elses():
    settings = {"pool": {"max_connections": 2, "connections_per_address": 3}}
    with three_brokers(settings) as (on, brokers):
        client = on.client()
        fill_and_empty(on, client, brokers[:2])
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaques = [on.ask(client, n, PATIENT) for n in range(10)]
        for connection, request in held.wait_for(10):
            connection.echo(request)
        for n, opaque in enumerate(opaques):
            is_own(client.receive(opaque), n)
        equal(len(on.broker.connections), 1, "connections to the busy one")
        is_own(on.call(client, "idle", {"sidecar.addr": brokers[1].address}), "idle")
        equal(len(brokers[1].connections), 1, "connections to the idle one")


@test
def an_address_that_nobody_waits_for_takes_no_place():
    backoff = {"initial": "200ms", "max_wanted": "200ms"}
    with three_brokers({"pool": {"max_connections": 1}, "backoff": backoff}) as (on, brokers):
        on.measure_nameserver()
        client = on.client()
        away = brokers[1]
        away.refuse()
        ext = {"sidecar.addr": away.address, "sidecar.timeoutMillis": 600}
        equal(on.call(client, "away", ext).error, "unreachable", "a request to one that is away")
        away.listen()
        # Its attempts would go on for some seconds, and the first of them would succeed.
        began = time.monotonic()
        n = 0
        while time.monotonic() - began < 1.5:
            is_own(on.call(client, n), n)
            n += 1
        equal(len(on.broker.connections), 1, "connections to the one that is used")
        equal(len(away.connections), 0, "connections to the one that nobody waits for")
        is_own(on.call(client, "now", {"sidecar.addr": away.address}), "now")


@test
def an_attempt_that_nobody_waits_for_any_more_gives_way():
    """Neither that of a caller who gave up, nor for longer than the next one can wait"""
    with unanswered_connect() as silent, stage({"pool": {"max_connections": 1}}) as on:
        client = on.client()
        ext = {"sidecar.addr": silent, "sidecar.timeoutMillis": 100}
        equal(on.call(client, "gone", ext).error, "unreachable", "a request to the silent address")
        began = time.monotonic()
        is_own(on.call(client, "next"), "next")
        less(time.monotonic() - began, 2.0, "seconds to the next answer (connect_timeout is 3 s)")


@contextlib.contextmanager
def unanswered_connect():
    """An address whose handshake is never answered: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield "127.0.0.1:%d" % listener.getsockname()[1]


@test
def three_connections_to_an_address_are_used_least_busy_first():
    with stage({"pool": {"connections_per_address": 3}}) as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        n_asked = 0

        def busy():
            return [
                sum(1 for row in held.waiting if row[0] is connection)
                for connection in on.broker.connections
            ]

        # Each request that finds all busy has one more connection made, in the background.
        for n_connections in range(1, 4):
            for _ in range(50):
                if len(on.daemon.upstreams_to(on.broker.address)) >= n_connections:
                    break
                on.ask(client, n_asked, PATIENT)
                n_asked += 1
                held.wait_for(n_asked)
        wait_until(lambda: len(on.broker.connections) == 3, 5, "three connections")
        # Who was asked while there was one connection has more; the others catch up first.
        for _ in range(30):
            on.ask(client, n_asked, PATIENT)
            n_asked += 1
            held.wait_for(n_asked)
        most, least = max(busy()), min(busy())
        less(most - least, 2, f"the difference between the busiest and the least busy of {busy()}")
        equal(len(on.broker.connections), 3, "connections ever made")
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in held.waiting:
            connection.echo(request)
        for n in range(n_asked):
            is_own(client.receive(n + 1), n)


@test
def two_hundred_callers_at_once_make_no_more_than_three():
    with stage({"pool": {"connections_per_address": 3}}) as on:
        on.broker.on(GET_MAX_OFFSET, after(0.02))
        clients = [on.client() for _ in range(200)]
        with Watch(on.daemon) as watch:
            for turn in range(3):
                for n, client in enumerate(clients):
                    on.ask(client, f"{turn} {n}", PATIENT)
                for n, client in enumerate(clients):
                    is_own(client.receive(), f"{turn} {n}")
        less(watch.most, 5, "the most connections at once, with one to the nameserver")
        equal(len(on.broker.connections), 3, "connections ever made to the broker")


@test
def a_host_by_name_and_by_number_is_one_connection():
    settings = {"upstream": {"allow_addresses": "any"}}
    for first, second in (("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")):
        with stage(settings) as on:
            client = on.client()
            hosts = [first, second] * 5
            for n, host in enumerate(hosts):
                is_own(on.call(client, n, {"sidecar.addr": f"{host}:{on.broker.port}"}), n)
            opaques = {
                n: on.ask(client, n, {"sidecar.addr": f"{host}:{on.broker.port}"})
                for n, host in enumerate(hosts)
            }
            for n, opaque in opaques.items():
                is_own(client.receive(opaque), n)
            equal(len(on.broker.connections), 1, f"connections, with {first} asked for first")


@test
def an_unused_connection_is_closed_and_a_busy_one_is_not():
    settings = {"pool": {"max_idle": "1s", "cleanup_interval": "100ms"}}
    with stage(settings) as on, FakeBroker("broker-b") as other:
        on.measure_nameserver()
        client = on.client()
        held = Held()
        other.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "busy", {"sidecar.addr": other.address, **PATIENT})
        held.wait_for(1)
        began = time.monotonic()
        is_own(on.call(client, "once"), "once")
        equal(len(on.daemon.upstreams_to(on.broker.address)), 1, "connections after its use")
        wait_until(
            lambda: not on.daemon.upstreams_to(on.broker.address), 10, "the unused one is closed"
        )
        check(time.monotonic() - began > 0.9, "it was kept for max_idle (1 s)")
        # Twice the limit: the busy one would be gone by now.
        wait_until(lambda: time.monotonic() - began > 2, 5, "twice the limit has passed")
        equal(len(on.daemon.upstreams_to(other.address)), 1, "connections with a request on it")
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(opaque), "busy")
        wait_until(
            lambda: not on.daemon.upstreams(), 10, "the other one is closed, too, once unused"
        )
        # What was counted stays.
        totals = client.call(GET_POOL_STATS).json()
        counted = {key: totals[key] for key in ("total", "total_requests", "total_connects")}
        expected = {"total": 0, "total_requests": 3, "total_connects": 3}
        equal(counted, expected, "the pool's statistics when both are closed")
        is_own(on.call(client, "again"), "again")
        equal(len(on.broker.connections), 2, "connections ever made to the first broker")


main()
