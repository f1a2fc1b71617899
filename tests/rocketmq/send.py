#!/usr/bin/env python3
"""Sends that name no more than they must"""

import base64
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import (
    GET_MAX_OFFSET,
    JSON,
    NO_PERMISSION,
    RECALL_MESSAGE,
    ROCKETMQ,
    SEND_MESSAGE,
    SEND_MESSAGE_V2,
)
from rocketmq_story import cluster, daemon, new_topic, receive_all, succeeded, uses
from tap import check, contains, equal, main, test

SEND_BATCH_MESSAGE = 320


def stored(topic):
    """How many messages the brokers themselves say they have of the topic."""
    n = 0
    for address in cluster().brokers().values():
        with remoting.Client(address) as direct:
            for queue_id in range(4):
                answer = direct.call(GET_MAX_OFFSET, {"topic": topic, "queueId": queue_id})
                n += int(succeeded(answer, "the broker's own answer").ext["offset"])
    return n


@test
@uses("sends, retries, failover")
def topic_and_body_are_enough_in_both_header_forms():
    topic = new_topic()
    with daemon() as running:
        for serialize in (JSON, ROCKETMQ):
            answer = succeeded(
                running.client(serialize=serialize).call(SEND_MESSAGE, {"topic": topic}, b"hello")
            )
            equal(answer.serialize, serialize, "the header form of the answer")
            check(answer.ext.get("msgId"), f"the answer has the broker's msgId (saw {answer.ext})")
            contains(
                cluster().brokers(), answer.ext.get("brokerName"), "the broker's name in the answer"
            )
            equal(
                answer.ext.get("sidecar.addr"),
                cluster().brokers()[answer.ext["brokerName"]],
                "sidecar.addr",
            )
            check(answer.ext.get("sidecar.uniqKey"), "the answer has sidecar.uniqKey")
            equal(answer.ext.get("sidecar.attempts"), "1", "sidecar.attempts")
    equal(stored(topic), 2, "messages stored")


@test
@uses("sends, retries, failover")
def sends_go_round_the_queues_of_all_brokers():
    topic = new_topic()
    # One that is slow for a moment keeps its turn.
    with daemon(settings={"send": {"latency_fault_tolerance": "no"}}) as running:
        client = running.client()
        answers = [succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"x")) for _ in range(16)]
    queues = sorted((answer.ext["brokerName"], answer.ext["queueId"]) for answer in answers)
    expected = sorted((name, str(queue)) for name in cluster().brokers() for queue in range(4)) * 2
    equal(queues, sorted(expected), "the queues of 16 sends to 2 brokers with 4 queues each")


@test
@uses("sends, retries, failover", "compressed bodies")
def properties_and_bytes_arrive_as_they_were_sent():
    topic = new_topic()
    body = bytes(range(256)) * 40
    with daemon() as running:
        client = running.client()
        ext = {
            "topic": topic,
            "property.KEYS": "order-17",
            "property.TAGS": "blue",
            "property.colour": "grün",
        }
        sent = succeeded(client.call(SEND_MESSAGE, ext, body))
        succeeded(client.call(SEND_MESSAGE, {"topic": topic}, "grüße".encode()))
        rows = receive_all(client, topic, "send-properties", 2)
    by_encoding = {row["encoding"]: row for row in rows}
    equal(sorted(by_encoding), ["base64", "utf-8"], "the encodings of a binary and a text body")
    equal(by_encoding["utf-8"]["body"], "grüße", "the text body")
    row = by_encoding["base64"]
    equal(base64.b64decode(row["body"]), body, "the binary body of 10 KiB, compressed on its way")
    equal(
        (row["keys"], row["tags"], row["properties"]["colour"]),
        ("order-17", "blue", "grün"),
        "keys, tags, property",
    )
    equal(
        row["uniqKey"],
        sent.ext["sidecar.uniqKey"],
        "the unique key of the message and of the answer to its send",
    )
    equal(row["topic"], topic, "the topic")


@test
@uses("sends, retries, failover")
def a_oneway_send_is_stored_and_never_answered():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        client.send(SEND_MESSAGE, {"topic": topic}, b"quiet", oneway=True)
        succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"loud"))
        rows = receive_all(client, topic, "send-oneway", 2)
        equal(sorted(row["body"] for row in rows), ["loud", "quiet"], "the bodies received")
        check(client.is_silent(0.2), "nothing more is answered")


def complete_send(topic):
    """Every field of SEND_MESSAGE_V2, as an SDK writes it."""
    return {
        "a": "sdk-group",
        "b": topic,
        "c": "TBW102",
        "d": "4",
        "e": "3",
        "f": "0",
        "g": str(int(time.time() * 1000)),
        "h": "0",
        "i": "UNIQ_KEY\x010A0000010001ABCDABCDABCD00000001\x02own\x01yes\x02",
        "j": "0",
        "k": "false",
        "m": "false",
    }


@test
@uses("sends, retries, failover")
def a_complete_command_to_an_explicit_address_passes_as_it_stands():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        succeeded(client.call(remoting.GET_ROUTEINFO_BY_TOPIC, {"topic": topic}))
        for address in cluster().brokers().values():
            answer = succeeded(
                client.call(
                    SEND_MESSAGE_V2, {**complete_send(topic), "sidecar.addr": address}, b"mine"
                )
            )
            equal(answer.ext.get("queueId"), "3", "the queue that the caller named")
        rows = receive_all(client, topic, "send-complete", 2)
    equal(
        {row["brokerName"] for row in rows}, set(cluster().brokers()), "the brokers that stored it"
    )
    for row in rows:
        equal(
            (row["uniqKey"], row["properties"]["own"]),
            ("0A0000010001ABCDABCDABCD00000001", "yes"),
            "its properties",
        )


@test
@uses("sends, retries, failover")
def an_address_that_no_route_names_is_forbidden():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        for address in ("127.0.0.1:1", "192.0.2.7:10911"):
            answer = client.call(
                SEND_MESSAGE_V2, {**complete_send(topic), "sidecar.addr": address}, b"mine"
            )
            equal(
                (answer.code, answer.error),
                (NO_PERMISSION, "forbidden"),
                f"the answer for {address}",
            )
            contains(answer.remark or "", address, "the remark")
    equal(stored(topic), 0, "messages stored")


@test
@uses("batches")
def a_json_batch_is_received_as_its_messages():
    topic = new_topic()
    rows = [
        {"body": "one", "properties": {"KEYS": "k1"}},
        {"body": "AAE=", "encoding": "base64"},
    ]
    with daemon() as running:
        client = running.client()
        ext = {"b": topic, "sidecar.bodyFormat": "json"}
        sent = succeeded(client.call(SEND_BATCH_MESSAGE, ext, json.dumps(rows).encode()))
        found = receive_all(client, topic, "send-batch", 2)
    equal(sorted(row["body"] for row in found), ["AAE=", "one"], "the bodies")
    keys = sent.ext["sidecar.uniqKey"].split(",")
    equal(sorted(row["uniqKey"] for row in found), sorted(keys), "the unique keys")


@test
@uses("compressed bodies", "delay levels")
def compressed_and_delayed_messages_arrive_as_they_were_sent():
    topic = new_topic()
    large = "large " * 20000
    with daemon() as running:
        client = running.client()
        succeeded(client.call(SEND_MESSAGE, {"topic": topic}, large.encode()))
        succeeded(client.call(SEND_MESSAGE, {"topic": topic, "property.DELAY": "1"}, b"later"))
        found = receive_all(client, topic, "send-delayed", 2)
    equal(sorted(row["body"] for row in found), [large, "later"], "the bodies")


@test
@uses("timers", "RECALL")
def a_timed_message_that_was_recalled_never_comes():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        timed = {"topic": topic, "property.TIMER_DELAY_SEC": "4"}
        recalled = succeeded(client.call(SEND_MESSAGE, timed, b"recalled"))
        ext = {
            "topic": topic,
            "recallHandle": recalled.ext["recallHandle"],
            "sidecar.broker": recalled.ext["brokerName"],
        }
        answer = succeeded(client.call(RECALL_MESSAGE, ext), "the answer to RECALL_MESSAGE")
        equal(answer.ext.get("msgId"), recalled.ext["sidecar.uniqKey"], "what was recalled")
        # The same broker would deliver these two in the order of their times.
        for _ in cluster().brokers():
            succeeded(client.call(SEND_MESSAGE, timed, b"kept"))
        rows = receive_all(client, topic, "send-recall", 2)
    equal([row["body"] for row in rows], ["kept", "kept"], "what comes")


main()
