#!/usr/bin/env python3
"""Brokers by name: what a resolver can do to a daemon"""

import contextlib
import pathlib
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker
from fake_resolver import NXDOMAIN, SERVFAIL, SILENCE, FakeResolver
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, less, main, skip, test, wait_until

ANY = {"upstream": {"allow_addresses": "any"}, "backoff": {"max_wanted": "500ms"}}


@contextlib.contextmanager
def resolved_stage():
    with FakeResolver() as resolver, stage(ANY, through=resolver.through()) as on:
        yield on, resolver


def named(on, name, millis=3000):
    return {"sidecar.addr": f"{name}:{on.broker.port}", "sidecar.timeoutMillis": millis}


@test
def a_name_that_does_not_exist_or_cannot_be_resolved_is_unreachable_and_says_so():
    with resolved_stage() as (on, resolver):
        client = on.client()
        for name, failure in (("none.test", NXDOMAIN), ("broken.test", SERVFAIL)):
            resolver.names[name] = failure
            began = time.monotonic()
            answer = on.call(client, name, named(on, name, 400))
            is_failure(answer, "unreachable", 10001, "no", f"the answer for {name}")
            contains(answer.remark, name, "the remark")
            line = f"upstream={name}:{on.broker.port} RESOLVING -> CLOSED cause="
            wait_until(lambda: line in on.daemon.log(), 5, f"the log says '{line}'")
            less(time.monotonic() - began, 2.0, "seconds to the answer with 400 ms")
            check(resolver.asked_for(name), f"the resolver was asked for {name}")
            # As soon as the name is there it is used.
            resolver.names[name] = ["127.0.0.1"]
            is_own(on.call(client, name, named(on, name, 9000)), name)


@test
def while_the_resolver_is_silent_everybody_else_is_served_as_ever():
    with resolved_stage() as (on, resolver):
        resolver.names["silent.test"] = SILENCE
        waiting, client = on.client(), on.client()
        is_own(on.call(client, "first"), "first")
        began = time.monotonic()
        opaques = [on.ask(waiting, n, named(on, "silent.test", 1500)) for n in range(20)]
        took = []
        while waiting.is_silent(0):
            asked = time.monotonic()
            is_own(on.call(client, len(took)), len(took))
            took.append(time.monotonic() - asked)
        for answer in waiting.gather(opaques).values():
            is_failure(answer, "unreachable", 10001, "no")
        total = time.monotonic() - began
        check(1.4 < total < 3.0, f"the deadline of 1.5 s was waited for (took {total:.2f} s)")
        check(len(took) > 50, f"requests that were served meanwhile (saw {len(took)})")
        less(statistics.median(took), 0.05, "seconds for a request meanwhile")
        less(max(took), 0.5, "seconds for the slowest of them")
        equal(len(resolver.asked_for("silent.test")) <= 8, True, "twenty callers share a question")


@test
def a_name_that_moved_is_found_anew_when_its_connection_ends_and_not_before():
    with resolved_stage() as (on, resolver), FakeBroker(
        "moved", port=on.broker.port, host="127.0.0.3"
    ) as moved:
        resolver.names["broker.test"] = ["127.0.0.1"]
        client = on.client()
        is_own(on.call(client, 1, named(on, "broker.test")), 1)
        resolver.names["broker.test"] = ["127.0.0.3"]
        for n in range(5):
            is_own(on.call(client, n, named(on, "broker.test")), n)
        equal(len(moved.connections), 0, "connections to the new address while the old one works")
        # A resolver that fails takes nothing from a connection that works.
        resolver.names["broker.test"] = SERVFAIL
        is_own(on.call(client, "still", named(on, "broker.test")), "still")
        resolver.names["broker.test"] = ["127.0.0.3"]
        on.broker.close_connections()
        wait_until(lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the end is seen")
        is_own(on.call(client, "moved", named(on, "broker.test")), "moved")
        equal([row.ext["token"] for row in moved.seen()], ["moved"], "requests at the new address")


@test
def the_next_address_is_tried_when_nobody_listens_at_the_first():
    with resolved_stage() as (on, resolver):
        resolver.names["broker.test"] = ["127.0.0.9", "127.0.0.8", "127.0.0.1"]
        client = on.client()
        for n in range(5):
            is_own(on.call(client, n, named(on, "broker.test")), n)
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def a_name_with_nothing_but_an_address_of_ipv6_works():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        skip(f"no loopback address of IPv6: {error}")
    with resolved_stage() as (on, resolver), FakeBroker("six", host="::1") as six:
        resolver.names["six.test"] = ["::1"]
        client = on.client()
        is_own(on.call(client, 1, {"sidecar.addr": f"six.test:{six.port}"}), 1)
        is_own(on.call(client, 2, {"sidecar.addr": six.address}), 2)
        equal(len(six.connections), 1, "connections: name and number are one")


@test
def two_names_of_one_address_share_its_connection():
    with resolved_stage() as (on, resolver):
        resolver.names["one.test"] = resolver.names["other.test"] = ["127.0.0.1"]
        client = on.client()
        opaques = {
            n: on.ask(client, n, named(on, name))
            for n, name in enumerate(["one.test", "other.test", "127.0.0.1"] * 10)
        }
        for n, opaque in opaques.items():
            is_own(client.receive(opaque), n)
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
