#!/usr/bin/env python3
"""A broker that is about to stop says GO_AWAY, and its callers never see it"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Held, answers, echo, in_turn, silence
from remoting import GET_MAX_OFFSET, GET_ROUTEINFO_BY_TOPIC, GO_AWAY, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own, stage
from tap import contains, equal, main, test, wait_until

PULL_MESSAGE = 11

go_away = answers(GO_AWAY, remark="The broker is shutting down")


@test
def the_request_is_repeated_once_on_a_new_connection():
    with stage() as on:
        client = on.client()
        body = bytes(range(256)) * 800
        for n in range(5):
            is_own(on.call(client, n), n)
            on.broker.on(GET_MAX_OFFSET, in_turn(go_away, echo))
            answer = on.call(client, f"repeated {n}", body=body)
            is_own(answer, f"repeated {n}")
            equal(answer.body == body, True, "the body that came back is the one that was sent")
            *_, first, second = on.broker.seen()
            equal(second.connection.number, n + 1, "the connection of the repetition")
            equal(first.connection.number, n, "the connection that said GO_AWAY")
            equal(second.body == first.body, True, "the broker saw the same body twice")
            wait_until(
                lambda: len(on.daemon.upstreams_to(on.broker.address)) == 1,
                5,
                "the old connection is closed once it is empty",
            )


@test
def a_small_body_behind_a_large_head_is_repeated_with_it():
    """Head and body each fit a block of the daemon's output, and both together do not"""
    with stage() as on:
        client = on.client()
        for n, size in enumerate((11000, 12000, 14000, 15500, 16000)):
            on.broker.on(GET_MAX_OFFSET, in_turn(go_away, echo))
            body = bytes([65 + n]) * 4000
            answer = on.call(client, n, {"padding": "x" * size}, body)
            is_own(answer, n)
            *_, first, second = on.broker.seen()
            equal(first.body == body, True, f"the body that came first, {size} bytes of padding")
            equal(second.body == body, True, f"the body that was repeated, {size} bytes of padding")


@test
def a_long_poll_is_repeated_as_well():
    with stage() as on:
        client = on.client()
        on.broker.on(PULL_MESSAGE, in_turn(go_away, echo))
        ext = {"token": "poll", "sidecar.addr": on.broker.address, "topic": TOPIC}
        is_own(client.receive(client.send(PULL_MESSAGE, ext)), "poll")
        equal(len(on.broker.seen(PULL_MESSAGE)), 2, "polls at the broker")


@test
def a_second_one_is_unreachable_and_nothing_was_executed():
    with stage() as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, go_away)
        for n in range(3):
            answer = on.call(client, n)
            is_failure(answer, "unreachable", 10001, "no")
            contains(answer.remark, on.broker.address, "the remark")
        equal(len(on.broker.seen()), 6, "requests at the broker: two each")
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(client, "after"), "after")


@test
def others_in_flight_on_the_connection_still_get_their_answers():
    with stage() as on:
        clients = [on.client() for _ in range(10)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            on.ask(client, n)
        waiting = held.wait_for(len(clients))
        on.broker.on(GET_MAX_OFFSET, in_turn(go_away, echo))
        late = on.client()
        is_own(on.call(late, "told to go"), "told to go")
        # New requests take the new connection while the old one drains.
        is_own(on.call(late, "new"), "new")
        equal(on.broker.seen()[-1].connection.number, 1, "the connection of a new request")
        equal(len(on.daemon.upstreams_to(on.broker.address)), 2, "connections while one drains")
        for connection, request in waiting[:-1]:
            connection.echo(request)
        for (connection, request), client in zip(waiting[:-1], clients):
            is_own(client.receive(), request.ext["token"])
        equal(len(on.daemon.upstreams_to(on.broker.address)), 2, "connections with one in flight")
        connection, request = waiting[-1]
        connection.echo(request)
        is_own(clients[-1].receive(), request.ext["token"])
        wait_until(
            lambda: len(on.daemon.upstreams_to(on.broker.address)) == 1,
            5,
            "the draining connection closes when it is empty",
        )
        equal(len(on.broker.connections), 2, "connections ever made")


@test
def fifty_that_are_told_at_once_share_one_new_connection():
    with stage() as on:
        clients = [on.client() for _ in range(50)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            on.ask(client, n)
        waiting = held.wait_for(len(clients))
        on.broker.on(GET_MAX_OFFSET, echo)
        for connection, request in waiting:
            go_away(connection, request)
        for n, client in enumerate(clients):
            is_own(client.receive(), n)
        equal(len(on.broker.connections), 2, "connections: the one that went and its successor")
        equal(len(on.broker.seen()), 100, "requests at the broker: two each")


@test
def a_broker_that_goes_away_and_closes_tells_the_rest_that_it_was_lost():
    with stage() as on:
        clients = [on.client() for _ in range(5)]
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        for n, client in enumerate(clients):
            on.ask(client, n)
        waiting = held.wait_for(len(clients))
        on.broker.on(GET_MAX_OFFSET, echo)
        connection, request = waiting[0]
        go_away(connection, request)
        is_own(clients[int(request.ext["token"])].receive(), request.ext["token"])
        connection.close()
        for connection, request in waiting[1:]:
            answer = clients[int(request.ext["token"])].receive()
            is_failure(answer, "connection-lost", 10100, "maybe")
        is_own(on.call(clients[0], "after"), "after")
        equal(len(on.broker.connections), 2, "connections to the broker")


@test
def sends_by_topic_go_to_another_broker():
    with stage() as on, FakeBroker("broker-b") as other:
        on.nameserver.route_to = [on.broker, other]
        on.broker.default = go_away
        client = on.client()
        for n in range(12):
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"%d" % n)
            equal((answer.code, answer.error), (0, None), f"send {n} ({answer.remark})")
            equal(answer.ext.get("brokerName"), "broker-b", "the broker that took it")
        equal([row.body for row in other.seen()], [b"%d" % n for n in range(12)], "what it took")


@test
def a_probe_that_is_told_to_go_leaves_the_address_as_it_was():
    """The address is out of use for its silence; GO_AWAY is no sign of life that it may count on"""
    settings = {"breaker": {"failures": 2}, "backoff": {"initial": "20ms", "max_wanted": "50ms"}}
    with stage(settings) as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, silence)
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, in_turn(silence, go_away, go_away, echo))
        opaques = [on.ask(client, n, {"sidecar.timeoutMillis": 1000}) for n in range(2)]
        for answer in client.gather(opaques).values():
            is_failure(answer, "timeout", 10002, "maybe")
        on.broker.wait_for(1, GET_ROUTEINFO_BY_TOPIC)
        wait_until(
            lambda: not on.broker.open_connections(), 10, "the silent connection is closed"
        )
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(client, "patient", {"sidecar.timeoutMillis": 9000}), "patient")
        for n in range(5):
            is_own(on.call(client, n), n)
        equal(len(on.broker.seen(GET_ROUTEINFO_BY_TOPIC)), 4, "probes at the broker")
        equal(len(on.broker.open_connections()), 1, "connections that are open")


main()
