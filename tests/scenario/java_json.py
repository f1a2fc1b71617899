#!/usr/bin/env python3
"""Nameservers write JSON that is not JSON"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import GET_BROKER_CLUSTER_INFO, GET_ROUTEINFO_BY_TOPIC, JSON, ROCKETMQ
from scenario import TOPIC, stage
from tap import check, contains, equal, main, test


@test
def keys_without_quotes_reach_the_caller_as_valid_json():
    with stage() as on:
        on.nameserver.numeric_keys = True
        for serialize in (JSON, ROCKETMQ):
            client = on.client(serialize=serialize)
            route = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
            equal((route.code, route.error), (0, None), f"the answer to 105 ({route.remark})")
            equal(
                route.json()["brokerDatas"][0]["brokerAddrs"],
                {"0": on.broker.address},
                "the addresses in the route",
            )
            table = client.call(GET_BROKER_CLUSTER_INFO)
            equal((table.code, table.error), (0, None), f"the answer to 106 ({table.remark})")
            addresses = table.json()["brokerAddrTable"]["broker-a"]["brokerAddrs"]
            equal(addresses, {"0": on.broker.address}, "the addresses in the cluster table")


@test
def the_daemon_reads_such_a_route_itself():
    with stage() as on:
        on.nameserver.numeric_keys = True
        answer = on.client().call(10, {"topic": TOPIC}, b"x")
        equal((answer.code, answer.error), (0, None), f"the answer to a send ({answer.remark})")
        equal(answer.ext.get("brokerName"), "broker-a", "the broker")


@test
def a_route_that_cannot_be_read_is_no_route_and_harms_nobody():
    bodies = (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"brokerDatas":7}',
        b'{"queueDatas":[{}]}',
        b"\xff\xfe",
        b'{"a":' * 3000,
    )
    with stage() as on:
        client = on.client()
        for n, body in enumerate(bodies):
            on.nameserver.on(
                GET_ROUTEINFO_BY_TOPIC,
                lambda connection, request, body=body: connection.answer(request, body=body),
            )
            answer = client.call(10, {"topic": f"Broken-{n}"}, b"x")
            contains(
                ("no-route", "no-broker", "no-nameserver"),
                answer.error,
                f"the answer with a route of {body[:20]}",
            )
            check(answer.remark, "the failure has a remark")
        del on.nameserver.behaviours[GET_ROUTEINFO_BY_TOPIC]
        answer = client.call(10, {"topic": TOPIC}, b"x")
        equal(
            (answer.code, answer.error),
            (0, None),
            f"the answer with a good route ({answer.remark})",
        )


main()
