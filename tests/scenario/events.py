#!/usr/bin/env python3
"""What happens to connections is told to whoever asked"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo, reset, sends
from remoting import GET_MAX_OFFSET, ONEWAY, ROCKETMQ
from scenario import is_own, stage
from tap import check, contains, equal, less, main, test

CLOSE_CLIENTS = 30005
SUBSCRIBE_NET_EVENTS = 30009

# More events than fit what the daemon keeps for a subscriber and what the kernel does.
N_ROUNDS = 600


def subscriber(on, **more):
    client = on.client(**more)
    answer = client.call(SUBSCRIBE_NET_EVENTS)
    equal((answer.code, answer.error), (0, None), f"the subscription (remark: {answer.remark})")
    equal(
        answer.json()["events"],
        ["CONNECTED", "DISCONNECTED", "EXCEPTION", "IDLE"],
        "the events that there are",
    )
    return client


def next_event(client, timeout=None):
    """(event, address, connection, cause) of the next frame, which is one."""
    request = client.receive(timeout=timeout)
    code = int(request.ext.get("sidecar.code", request.code))
    equal((code, request.flag), (SUBSCRIBE_NET_EVENTS, ONEWAY), "code and flag of an event")
    ext = request.ext
    check(ext["connection"].isdigit(), f"the connection is a number (saw {ext})")
    return ext["event"], ext["addr"], int(ext["connection"]), ext.get("cause", "")


def close_clients(on, client):
    answer = client.call(CLOSE_CLIENTS, body=json.dumps([on.broker.address]).encode())
    equal(answer.code, 0, f"the answer to CLOSE_CLIENTS (remark: {answer.remark})")


@test
def a_connection_that_is_made_and_closed_is_told_with_its_address():
    with stage() as on:
        listening, client = subscriber(on), on.client()
        is_own(on.call(client, "x"), "x")
        event, address, first, _ = next_event(listening)
        equal((event, address), ("CONNECTED", on.broker.address), "the first event")
        on.broker.close_connections()
        event, address, connection, cause = next_event(listening)
        equal((event, address), ("DISCONNECTED", on.broker.address), "the second event")
        equal(connection, first, "the connection that was closed")
        contains(cause, "closed", "the cause")
        is_own(on.call(client, "y"), "y")
        event, _, second, _ = next_event(listening)
        equal(event, "CONNECTED", "the third event")
        check(second != first, "another connection has another number")
        close_clients(on, client)
        event, _, connection, cause = next_event(listening)
        equal((event, connection), ("DISCONNECTED", second), "the fourth event")
        contains(cause, "CLOSE_CLIENTS", "the cause")


@test
def a_connection_that_cannot_be_made_or_used_is_an_exception():
    with stage() as on:
        listening, client = subscriber(on), on.client()
        on.broker.on(GET_MAX_OFFSET, sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        equal(on.call(client, "x").error, "connection-lost", "a request that is answered by garbage")
        equal(next_event(listening)[0], "CONNECTED", "the first event")
        event, address, _, cause = next_event(listening)
        equal((event, address), ("EXCEPTION", on.broker.address), "the second event")
        contains(cause, "no frame", "the cause")
        on.broker.refuse()
        on.ask(client, "y", {"sidecar.timeoutMillis": 50})
        # The daemon tries by itself while the address is wanted: one attempt may have come before.
        event, address, cause = None, None, ""
        while "refused" not in cause:
            event, address, _, cause = next_event(listening)
        equal((event, address), ("EXCEPTION", on.broker.address), "the event of the refusal")


@test
def a_connection_that_nobody_uses_is_told_as_idle():
    with stage({"pool": {"max_idle": "1s", "cleanup_interval": "100ms"}}) as on:
        listening, client = subscriber(on), on.client()
        is_own(on.call(client, "x"), "x")
        # The daemon may ask its nameserver on its own account meanwhile.
        events = []
        while len(events) < 2:
            event = next_event(listening)
            events += [event] if event[1] == on.broker.address else []
        equal([event[0] for event in events], ["CONNECTED", "IDLE"], "the events of the broker")
        contains(events[1][3], "pool.max_idle", "the cause")


@test
def the_reason_of_a_drain_is_told_when_the_last_answer_has_come():
    with stage() as on:
        listening, client, other = subscriber(on), on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held")
        connection, request = held.wait_for(1)[0]
        close_clients(on, other)
        equal(next_event(listening)[0], "CONNECTED", "the first event")
        check(listening.is_silent(0.1), "it is not closed with a request on it")
        connection.echo(request)
        is_own(client.receive(opaque), "held")
        event, _, _, cause = next_event(listening)
        equal(event, "DISCONNECTED", "the second event")
        contains(cause, "CLOSE_CLIENTS", "the cause")


@test
def events_come_in_the_header_form_of_the_subscription():
    with stage() as on:
        listening, client = subscriber(on, serialize=ROCKETMQ), on.client()
        is_own(on.call(client, "x"), "x")
        event, address, _, _ = next_event(listening)
        equal((event, address), ("CONNECTED", on.broker.address), "the event")
        # Again: the form of the last subscription, and no event twice.
        equal(listening.call(SUBSCRIBE_NET_EVENTS, serialize=0).code, 0, "the second subscription")
        on.broker.close_connections(reset=True)
        request = listening.receive()
        equal((request.serialize, request.code), (0, SUBSCRIBE_NET_EVENTS), "the form of the next")
        check(listening.is_silent(0.2), "it comes once")


@test
def a_subscriber_still_gets_answers_and_others_get_no_events():
    with stage() as on:
        listening, client = subscriber(on), on.client()
        opaque = on.ask(listening, "own")
        is_own(listening.receive(opaque), "own")
        is_own(on.call(client, "x"), "x")
        equal(next_event(listening)[0], "CONNECTED", "the event")
        check(client.is_silent(0.1), "who did not subscribe hears nothing")


@test
def a_subscriber_that_goes_leaves_nothing_behind():
    with stage() as on:
        client = on.client()
        for n in range(10):
            subscriber(on).close()
            is_own(on.call(client, n), n)
            on.broker.on(GET_MAX_OFFSET, reset)
            equal(on.call(client, n).error, "connection-lost", "the request that broke")
            on.broker.on(GET_MAX_OFFSET, echo)


@test
def who_does_not_read_loses_events_and_delays_nobody():
    # No caller is cut off for not reading, although the time for that passes.
    with stage({"limits": {"write_timeout": "200ms"}}) as on:
        on.measure_nameserver()
        slow, listening, client = subscriber(on), subscriber(on), on.client()
        began = time.monotonic()
        for n in range(N_ROUNDS):
            is_own(on.call(client, n), n)
            close_clients(on, client)
            kinds = [next_event(listening)[0] for _ in range(2)]
            equal(kinds, ["CONNECTED", "DISCONNECTED"], f"the events of round {n}")
        took = time.monotonic() - began
        less(took, 30.0, f"seconds for {N_ROUNDS} rounds beside a subscriber that does not read")
        check(client.is_silent(0.5), "the time in which an answer would have to be read passes")
        n_read, n_dropped = drain_events(slow)
        check(n_read < 2 * N_ROUNDS, f"some events were lost (read {n_read})")
        is_own(on.call(client, "after"), "after")
        request = slow.receive()
        n_dropped += int(request.ext.get("dropped", "0"))
        equal(n_read + n_dropped, 2 * N_ROUNDS, "events that were read or counted as dropped")
        close_clients(on, client)
        equal(slow.receive().ext.get("dropped"), None, "dropped, once it was told")


def drain_events(client):
    """Reads what is there: how many events, and how many more they say were lost."""
    n_read = n_dropped = 0
    while not client.is_silent(0.3):
        request = client.receive()
        n_read += 1
        n_dropped += int(request.ext.get("dropped", "0"))
    return n_read, n_dropped


@test
def unread_events_do_not_hold_up_the_end():
    with stage() as on:
        slow, client = subscriber(on), on.client()
        for n in range(N_ROUNDS):
            is_own(on.call(client, n), n)
            close_clients(on, client)
        began = time.monotonic()
        on.daemon.terminate()
        equal(on.daemon.wait(20), 0, "the exit code")
        less(time.monotonic() - began, 5.0, "seconds to the end, with a drain.timeout of 30 s")
        check(slow.wait_for_end(5), "the subscriber still reads what was written before")


main()
