#!/usr/bin/env python3
"""What the daemon says about its connections, and what it can be told to do with them"""

import contextlib
import json
import os
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, Held, close, echo, silence
from remoting import (
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    MESSAGE_ILLEGAL,
    NO_PERMISSION,
    ONEWAY,
    SYSTEM_BUSY,
    Client,
    Command,
    encode,
)
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, skip, test, wait_until

GET_NAMESRV_LIST = 30001
UPDATE_NAMESRV_LIST = 30002
GET_AVAILABLE_NAMESRV_LIST = 30003
IS_ADDRESS_REACHABLE = 30004
CLOSE_CLIENTS = 30005
GET_POOL_STATS = 30006
SUBSCRIBE_NET_EVENTS = 30009
GET_STATS = 30012
DRAIN = 30016

# Neither root nor the kernel's number for users that have none.
ANOTHER_USER = 12345


def asked(client, code, ext=None, addresses=None):
    """The JSON body of the answer, which has code 0."""
    body = b"" if addresses is None else json.dumps(addresses).encode()
    answer = client.call(code, ext, body)
    equal((answer.code, answer.error), (0, None), f"the answer to {code} (remark: {answer.remark})")
    return answer.json()


def address_row(client, address):
    rows = asked(client, GET_POOL_STATS)["addresses"]
    found = [row for row in rows if row["addr"] == address]
    equal(len(found), 1, f"rows for {address}")
    return found[0]


@contextlib.contextmanager
def nameservers(n, settings=None):
    """n nameservers that know the broker of the first route, and the daemon before them."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FakeBroker(f"ns-{i}")) for i in range(n)]
        broker = stack.enter_context(FakeBroker("broker-a"))
        for server in servers:
            server.route_to = [broker]
        addresses = [server.address for server in servers]
        daemon = stack.enter_context(Daemon(nameservers=addresses[:2], settings=settings))
        yield daemon, servers


def route(client, topic=TOPIC):
    return client.send(GET_ROUTEINFO_BY_TOPIC, {"topic": topic})


# nameservers


@test
def the_list_of_nameservers_names_the_current_one_and_who_is_available():
    with nameservers(2) as (daemon, servers):
        client = daemon.client()
        rows = asked(client, GET_NAMESRV_LIST)["nameservers"]
        equal([row["addr"] for row in rows], [s.address for s in servers], "the list")
        equal([row["isAvailable"] for row in rows], [True, True], "who is available before any call")
        equal(sum(row["isCurrent"] for row in rows), 1, "how many are current")
        current = next(i for i, row in enumerate(rows) if row["isCurrent"])
        servers[current].refuse()
        for topic in ("one", "two"):
            equal(client.receive(route(client, topic)).code, 0, f"the route of topic {topic}")
        body = asked(client, GET_NAMESRV_LIST)
        rows = body["nameservers"]
        equal(rows[current]["isCurrent"], False, "the one that refuses is current")
        contains(("current-failed", "current-unusable", "measured"), body["reason"], "why it is not")
        equal(rows[current]["isFailing"], True, "calls to it fail")
        other = rows[1 - current]
        check(other["successes"] >= 2, f"the other one has answered (saw {other['successes']})")
        equal(other["isFailing"], False, "calls to the other one fail")
        less(other["latencyMillis"], 3000, "milliseconds that the other one takes")
        less(other["score"], rows[current]["score"], "the score of the other one")
        equal(rows[current]["isAvailable"], False, "the one that refuses is available")
        left = asked(client, GET_AVAILABLE_NAMESRV_LIST)["nameservers"]
        equal([row["addr"] for row in left], [servers[1 - current].address], "the available ones")


@test
def a_new_list_of_nameservers_is_used_at_once():
    with nameservers(3) as (daemon, servers):
        client = daemon.client()
        equal(client.receive(route(client)).code, 0, "the route")
        body = asked(client, UPDATE_NAMESRV_LIST, addresses=[servers[2].address])
        rows = body["nameservers"]
        equal([row["addr"] for row in rows], [servers[2].address], "the list")
        equal([row["isCurrent"] for row in rows], [True], "the only one is current")
        removed = {row["addr"]: row["connections"] for row in body["removed"]}
        equal(sorted(removed), sorted(s.address for s in servers[:2]), "the removed ones")
        equal(sum(removed.values()), 1, "connections to the removed ones")
        wait_until(
            lambda: not any(daemon.upstreams_to(s.address) for s in servers[:2]),
            5,
            "the connections to the removed ones are closed",
        )
        equal(client.receive(route(client, "Another")).code, 0, "the route from the new one")
        equal(len(servers[2].seen(GET_ROUTEINFO_BY_TOPIC)), 1, "questions at the new one")
        answer = client.call(GET_MAX_OFFSET, {"sidecar.addr": servers[0].address})
        is_failure(answer, "forbidden", NO_PERMISSION, "no", "a request to a removed one")


@test
def a_nameserver_that_left_the_list_is_not_tried_any_more():
    with nameservers(3, {"backoff": {"initial": "50ms", "max_wanted": "50ms"}}) as (daemon, servers):
        client = daemon.client()
        for server in servers[:2]:
            server.refuse()
        equal(client.receive(route(client)).error, "no-nameserver", "a question that nobody answers")
        for server in servers[:2]:
            wait_until(
                lambda s=server: daemon.log().count(f"upstream={s.address}") > 4, 5, "attempts go on"
            )
        asked(client, UPDATE_NAMESRV_LIST, addresses=[servers[2].address])
        before = [daemon.log().count(f"upstream={s.address}") for s in servers[:2]]
        began = time.monotonic()
        while time.monotonic() - began < 1:
            asked(client, GET_NAMESRV_LIST)
            time.sleep(0.01)
        after = [daemon.log().count(f"upstream={s.address}") for s in servers[:2]]
        for n in range(2):
            # One that was under way may have been told as ended.
            less(after[n] - before[n], 2, f"attempts at nameserver {n} after it left the list")


@test
def what_is_in_flight_at_a_nameserver_that_leaves_the_list_goes_on():
    with nameservers(3) as (daemon, servers):
        client, other = daemon.client(), daemon.client()
        held = Held()
        for server in servers[:2]:
            server.on(GET_ROUTEINFO_BY_TOPIC, held)
        opaque = client.send(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC, "sidecar.timeoutMillis": 20000})
        connection, request = held.wait_for(1)[0]
        asked(other, UPDATE_NAMESRV_LIST, addresses=[servers[2].address])
        equal(other.receive(route(other)).code, 0, "the route from the new one")
        check(connection.is_open, "the connection with the request on it stays open")
        connection.echo(request)
        answer = client.receive(opaque)
        equal(answer.ext.get("echo.topic"), TOPIC, "the answer of the one that left")
        wait_until(lambda: not connection.is_open, 5, "its connection closes")


@test
def what_fails_at_a_nameserver_that_left_the_list_is_asked_of_the_new_ones():
    with nameservers(4) as (daemon, servers):
        client, other = daemon.client(), daemon.client()
        held = Held()
        for server in servers[:2]:
            server.on(GET_ROUTEINFO_BY_TOPIC, held)
        opaque = client.send(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC, "sidecar.timeoutMillis": 20000})
        connection, _ = held.wait_for(1)[0]
        asked(other, UPDATE_NAMESRV_LIST, addresses=[servers[2].address])
        connection.close()
        answer = client.receive(opaque)
        equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
        equal(len(servers[2].seen(GET_ROUTEINFO_BY_TOPIC)), 1, "questions at the new one")
        asked(other, UPDATE_NAMESRV_LIST, addresses=[s.address for s in servers])
        equal(len(asked(other, GET_NAMESRV_LIST)["nameservers"]), 4, "nameservers in a longer list")


@test
def a_list_that_makes_no_sense_changes_nothing():
    with nameservers(2) as (daemon, servers):
        client = daemon.client()
        before = asked(client, GET_NAMESRV_LIST)["nameservers"]
        many = [f"10.0.0.1:{port}" for port in range(1, 66)]
        cases = {
            "no body": b"",
            "no JSON": b"[",
            "an object": b"{}",
            "an empty list": b"[]",
            "a number": b"[1]",
            "no port": b'["10.0.0.1"]',
            "a bad host": b'["10.0.0.1:9876","a b:9876"]',
            "one twice": b'["10.0.0.1:9876","10.0.0.1:9876"]',
            "65 of them": json.dumps(many).encode(),
            "a zero": b'["10.0.0.1\\u0000:9876"]',
        }
        for code in (UPDATE_NAMESRV_LIST, CLOSE_CLIENTS):
            for what, body in cases.items():
                answer = client.call(code, body=body)
                is_failure(answer, "invalid", MESSAGE_ILLEGAL, "no", f"{code} with {what}")
        after = asked(client, GET_NAMESRV_LIST)["nameservers"]
        equal(
            [row["addr"] for row in after], [row["addr"] for row in before], "the list afterwards"
        )
        check(
            asked(client, UPDATE_NAMESRV_LIST, addresses=many[:64])["removed"],
            "64 nameservers are a list",
        )


# reachability


@test
def a_broker_that_answers_is_reachable():
    with stage() as on:
        client = on.client()
        for address in (on.broker.address, "nameserver", on.nameserver.address):
            body = asked(client, IS_ADDRESS_REACHABLE, {"addr": address})
            equal((body["reachable"], body["cause"]), (True, None), f"what is said about {address}")
            check(0 < body["rttMicros"] < 3_000_000, f"the round trip ({body['rttMicros']} us)")
        equal(
            asked(client, IS_ADDRESS_REACHABLE, {"addr": "nameserver"})["addr"],
            on.nameserver.address,
            "the address behind the word nameserver",
        )


@test
def an_address_that_refuses_or_is_silent_is_not_reachable_and_the_code_is_0():
    with stage() as on:
        client = on.client()
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, silence)
        began = time.monotonic()
        ext = {"addr": on.broker.address, "sidecar.timeoutMillis": 300}
        body = asked(client, IS_ADDRESS_REACHABLE, ext)
        took = time.monotonic() - began
        equal((body["reachable"], body["rttMicros"]), (False, None), "what is said about a silent one")
        contains(body["cause"], on.broker.address, "the cause")
        check(0.25 < took < 2.0, f"the request's deadline holds (took {took:.2f} s)")
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, close)
        body = asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
        equal(body["reachable"], False, "one that closes is reachable")
        on.broker.refuse()
        body = asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
        equal(body["reachable"], False, "one that refuses is reachable")
        contains(body["cause"], "refused", "the cause")
        on.broker.on(GET_ROUTEINFO_BY_TOPIC, echo)
        on.broker.listen()
        body = asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
        equal(body["reachable"], True, "one that is back is reachable, whatever failed before")


@test
def only_addresses_that_callers_may_send_to_are_tried():
    with stage({"upstream": {"allow_addresses": "192.0.2.0/24"}}) as on:
        client = on.client()
        body = asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
        equal(body["reachable"], True, "a broker of the cluster table is reachable")
        answer = client.call(IS_ADDRESS_REACHABLE, {"addr": "127.0.0.1:1"})
        is_failure(answer, "forbidden", NO_PERMISSION, "no")
        for ext in ({}, {"addr": ""}, {"addr": "here"}, {"addr": "127.0.0.1:0"}):
            answer = client.call(IS_ADDRESS_REACHABLE, ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, "no", f"the answer to {ext}")
            contains(answer.remark, "addr", "the remark")


# the pool


@test
def connections_are_closed_when_what_is_in_flight_on_them_is_answered():
    with stage() as on:
        client, other = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held")
        connection, request = held.wait_for(1)[0]
        body = asked(other, CLOSE_CLIENTS, addresses=[on.broker.address, "127.0.0.1:1"])
        equal(
            body["closed"],
            [
                {"addr": on.broker.address, "connections": 1},
                {"addr": "127.0.0.1:1", "connections": 0},
            ],
            "what was closed",
        )
        states = [row["state"] for row in address_row(other, on.broker.address)["connections"]]
        equal(states, ["draining"], "the states of its connections")
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(on.call(other, "next"), "next")
        check(connection.is_open, "the connection with the request on it stays open")
        connection.echo(request)
        is_own(client.receive(opaque), "held")
        wait_until(lambda: not connection.is_open, 5, "it closes")
        equal(len(on.broker.connections), 2, "connections to the broker, one after the other")


@test
def pool_statistics_count_by_address_and_in_total():
    with stage({"pool": {"max_connections": 8}}) as on:
        client, other = on.client(), on.client()
        for n in range(4):
            is_own(on.call(client, n), n)
        on.broker.on(GET_MAX_OFFSET, silence)
        answer = on.call(client, "late", {"sidecar.timeoutMillis": 50})
        equal(answer.error, "timeout", "the request that is not answered")
        on.broker.on(GET_MAX_OFFSET, Held())
        on.ask(client, "held", {"sidecar.timeoutMillis": 20000})
        on.broker.wait_for(6)
        pool = asked(other, GET_POOL_STATS)
        row = address_row(other, on.broker.address)
        for counted, what, limit in ((pool, "the pool", 8), (row, "the address", 1)):
            seen = {key: counted[key] for key in ("total", "active", "idle", "healthy")}
            equal(seen, {"total": 1, "active": 1, "idle": 0, "healthy": 1}, f"connections of {what}")
            equal(counted["max_connections"], limit, f"max_connections of {what}")
            equal(counted["utilization"], 1 / limit, f"utilization of {what}")
            equal(counted["total_requests"], 6, f"requests of {what}")
            equal(counted["total_errors"], 1, f"errors of {what}")
            check(abs(counted["error_rate"] - 1 / 6) < 1e-5, f"error rate of {what}")
            p50, p99, slowest = (counted["latencies"][key] for key in ("p50", "p99", "max"))
            check(0 < p50 <= p99 <= slowest < 3_000_000, f"latencies of {what} in us")
        equal((row["class"], row["state"]), ("normal", "ready"), "class and state")
        equal([c["inFlight"] for c in row["connections"]], [1], "in flight by connection")
        equal(row["backoff"]["failures"], 0, "failed attempts")


@test
def pool_statistics_say_why_an_address_is_out_of_use():
    with stage({"backoff": {"initial": "20s", "max_wanted": "20s"}}) as on:
        client = on.client()
        on.broker.refuse()
        on.ask(client, "now", {"sidecar.timeoutMillis": 100})
        equal(client.receive().error, "unreachable", "a request to one that refuses")
        row = address_row(client, on.broker.address)
        equal((row["state"], row["total"]), ("backing off", 0), "its state and its connections")
        equal(row["backoff"]["failures"] >= 1, True, "failed attempts are counted")
        check(row["backoff"]["nextAttemptMillis"] <= 20000, "when the next attempt is due")
        contains(row["backoff"]["cause"], "refused", "the cause")


# the daemon


@test
def statistics_count_what_was_asked_and_answered():
    with stage() as on:
        client = on.client()
        before = asked(client, GET_STATS)
        is_own(on.call(client, "one"), "one")
        is_failure(client.call(99999), "invalid", MESSAGE_ILLEGAL, "no")
        on.ask(client, "oneway", oneway=True)
        on.broker.wait_for(2)
        after = asked(client, GET_STATS)
        grown = {
            key: after[key] - before[key]
            for key in ("requests", "requestsOneway", "requestsInvalid", "answers", "failures")
        }
        equal(
            grown,
            {
                "requests": 4,
                "requestsOneway": 1,
                "requestsInvalid": 1,
                "answers": 3,
                "failures": 1,
            },
            "what was counted in between",
        )
        equal(after["onewayWritten"], 1, "oneway requests that were written")
        equal((after["sessions"], after["inFlight"]), (1, 0), "sessions, and requests in flight")
        check(0 <= after["memoryUsed"] < after["memoryLimit"], "memory is below its limit")
        equal(after["drain"], {"state": "RUNNING"}, "the drain")


@test
def only_administrators_may_change_something():
    if os.getuid() != 0:
        skip("a caller of another user needs root")
    with stage({"listener": {"socket_mode": "0666"}}) as on:
        on.daemon.directory.chmod(0o755)
        # The daemon sees who connected.
        os.seteuid(ANOTHER_USER)
        try:
            client = Client(on.daemon.socket)
        finally:
            os.seteuid(0)
        with client:
            body = json.dumps([on.broker.address]).encode()
            for code in (UPDATE_NAMESRV_LIST, CLOSE_CLIENTS, DRAIN):
                answer = client.call(code, body=body)
                is_failure(answer, "forbidden", NO_PERMISSION, "no", f"the answer to {code}")
                contains(answer.remark, "admin", "the remark")
            for code in (GET_NAMESRV_LIST, GET_AVAILABLE_NAMESRV_LIST, GET_POOL_STATS, GET_STATS):
                asked(client, code)
            asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
            asked(client, SUBSCRIBE_NET_EVENTS)
            equal(client.call(30000).json()["roles"], ["user"], "the caller's roles")
        is_own(on.call(on.client(), "still"), "still")


@test
def a_command_of_the_daemons_that_nobody_wants_answered_does_nothing():
    with stage() as on:
        client = on.client()
        client.send(DRAIN, oneway=True)
        is_own(on.call(client, "still"), "still")
        equal(asked(client, GET_STATS)["onewayFailed"], 1, "oneway requests that failed")


@test
def the_codes_are_served_in_the_binary_form_too():
    with stage() as on:
        client = on.client(serialize=1)
        for code in (GET_NAMESRV_LIST, GET_POOL_STATS, GET_STATS):
            asked(client, code)
        body = asked(client, IS_ADDRESS_REACHABLE, {"addr": on.broker.address})
        equal(body["reachable"], True, "the broker is reachable")


@test
def a_drain_on_request_ends_the_daemon_as_a_signal_does():
    with stage() as on:
        client, other = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held")
        connection, request = held.wait_for(1)[0]
        equal(asked(other, DRAIN), {"inFlight": 1, "timeoutMillis": 30000}, "what DRAIN answers")
        wait_until(on.daemon.refuses, 5, "new callers are refused")
        is_failure(on.call(other, "late"), "draining", SYSTEM_BUSY, "no", "a request after it")
        drain = asked(other, GET_STATS)["drain"]
        equal((drain["state"], drain["inFlightAtStart"]), ("DRAINING", 1), "the drain in GET_STATS")
        check(0 < drain["millisLeft"] <= 30000, "the time that is left")
        connection.echo(request)
        is_own(client.receive(opaque), "held")
        equal(on.daemon.wait(5), 0, "the exit code")


@test
def a_second_drain_ends_the_first_at_once():
    with stage() as on:
        client, other = on.client(), on.client()
        on.broker.on(GET_MAX_OFFSET, Held())
        on.ask(client, "never", {"sidecar.timeoutMillis": 20000})
        on.broker.wait_for(1)
        asked(other, DRAIN)
        began = time.monotonic()
        asked(other, DRAIN)
        equal([a.error for a in client.wait_for_end(5)], ["draining"], "what the caller is told")
        equal(on.daemon.wait(5), 0, "the exit code")
        less(time.monotonic() - began, 5.0, "seconds to the end")


@test
def the_log_says_how_everything_in_flight_ended():
    with stage({"drain": {"timeout": "1500ms"}}) as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        answered, late, never, gone, last = (on.client() for _ in range(5))
        on.ask(answered, "answered")
        connection, request = held.wait_for(1)[0]
        on.ask(late, "late", {"sidecar.timeoutMillis": 700})
        on.ask(never, "never", {"sidecar.timeoutMillis": 20000})
        on.ask(gone, "gone", {"sidecar.timeoutMillis": 20000})
        held.wait_for(4)
        # Both in one read: the oneway request still waits for a new connection when the drain begins.
        asked(last, CLOSE_CLIENTS, addresses=[on.broker.address])
        ext = {"sidecar.addr": on.broker.address}
        oneway = encode(Command(GET_MAX_OFFSET, ext, flag=ONEWAY))
        last.send_bytes(oneway + encode(Command(DRAIN, opaque=77)))
        equal(last.receive(77).json()["inFlight"], 5, "requests in flight when the drain began")
        gone.close()
        connection.echo(request)
        is_own(answered.receive(), "answered")
        equal(late.receive().error, "timeout", "the answer to the one with a deadline of its own")
        equal([a.error for a in never.wait_for_end(5)], ["draining"], "what the last one is told")
        equal(on.daemon.wait(5), 0, "the exit code")
        line = re.search(r"drain EXPIRED (.*)", on.daemon.log())[1]
        seen = dict(pair.split("=") for pair in line.split())
        counts = {
            "in_flight_at_start": "5",
            "completed": "2",
            "failed": "1",
            "aborted": "1",
            "callers_left": "1",
            "oneway_flushed": "1",
        }
        equal({key: seen[key] for key in counts}, counts, "the end of the drain in the log")


main()
