#!/usr/bin/env python3
"""Routes come through the daemon without anyone naming a nameserver"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import GET_BROKER_CLUSTER_INFO, GET_ROUTEINFO_BY_TOPIC, JSON, ROCKETMQ
from rocketmq_story import cluster, daemon, new_topic, receive_all, succeeded, uses
from tap import contains, equal, main, test


@test
@uses("routes, cluster table")
def a_route_is_asked_without_an_address_and_comes_as_valid_json_in_the_form_of_the_request():
    topic = new_topic()
    with daemon() as running:
        for serialize in (JSON, ROCKETMQ):
            answer = succeeded(
                running.client(serialize=serialize).call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
            )
            equal(answer.serialize, serialize, "the header form of the answer")
            found = {
                row["brokerName"]: row["brokerAddrs"]["0"] for row in answer.json()["brokerDatas"]
            }
            equal(found, cluster().brokers(), "the brokers of the route")


@test
@uses("routes, cluster table")
def the_cluster_table_comes_as_valid_json_although_nameservers_send_keys_without_quotes():
    with remoting.Client(cluster().nameservers()[0]) as direct:
        contains(
            direct.call(GET_BROKER_CLUSTER_INFO).body, b"{0:", "what the nameserver itself sends"
        )
    with daemon() as running:
        table = succeeded(running.client().call(GET_BROKER_CLUSTER_INFO)).json()["brokerAddrTable"]
        found = {name: row["brokerAddrs"]["0"] for name, row in table.items()}
        equal(found, cluster().brokers(), "the brokers of the cluster table")


@test
@uses("routes, cluster table")
def an_unknown_topic_is_told_in_the_words_of_the_nameserver():
    topic = f"Missing-{os.getpid()}"
    with daemon() as running:
        answer = running.client().call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
        equal(
            (answer.code, answer.error),
            (remoting.TOPIC_NOT_EXIST, None),
            "the answer of the nameserver",
        )
        contains(answer.remark or "", topic, "its remark")


@test
@uses("routes, cluster table")
def a_send_makes_the_topic_where_the_brokers_allow_that():
    topic = f"Unmade-{os.getpid()}"
    with daemon() as running:
        client = running.client()
        sent = succeeded(client.call(remoting.SEND_MESSAGE, {"topic": topic}, b"first"))
        contains(cluster().brokers(), sent.ext.get("brokerName"), "the broker in the answer")
        rows = receive_all(client, topic, "routes-1", 1)
        equal([row["body"] for row in rows], ["first"], "what is received from the new topic")


main()
