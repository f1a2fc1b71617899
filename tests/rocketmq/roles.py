#!/usr/bin/env python3
"""What a caller needs for its work is what its role allows, on a real cluster"""

import contextlib
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from classic_consumer import heartbeat_body
from other_user import ANOTHER_USER, OtherUser, needs_root
from remoting import (
    CHANGE_MESSAGE_INVISIBLETIME,
    END_TRANSACTION,
    GET_CONSUMER_LIST_BY_GROUP,
    GET_MAX_OFFSET,
    HEART_BEAT,
    LOCK_BATCH_MQ,
    NO_PERMISSION,
    PULL_MESSAGE,
    QUERY_ASSIGNMENT,
    SEND_MESSAGE,
    UNLOCK_BATCH_MQ,
)
from rocketmq_story import daemon, new_topic, receive, receive_all, succeeded, uses
from scenario import is_failure
from tap import check, equal, main, test, wait_until

QUERY_CONSUMER_OFFSET = 14
UPDATE_CONSUMER_OFFSET = 15
CLIENT_ID = "10.0.0.9@4711#1"


@contextlib.contextmanager
def shop(topic, group):
    """A caller that may use this topic and group and nothing else, and one that may everything."""
    needs_root()
    everything = dict.fromkeys(("send", "producer_groups", "consume", "consumer_groups"), "*")
    settings = {
        "listener": {"socket_mode": "0666"},
        "role shop": {
            "users": str(ANOTHER_USER),
            "send": topic,
            "producer_groups": f"{group}-*",
            "consume": topic,
            "consumer_groups": group,
        },
        "role operators": {"users": "root", "admin": "yes", **everything},
    }
    with daemon(settings=settings) as running:
        running.directory.chmod(0o755)
        with OtherUser(running.socket) as client:
            yield running, client


@test
@uses("POP, ACK, receipts")
def what_was_received_is_given_back_and_acknowledged_when_it_comes_again():
    topic, group = new_topic("Roles"), f"Billing-{os.getpid()}"
    with shop(topic, group) as (_, client):
        succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"one"), "the answer to the send")
        rows = wait_until(lambda: receive(client, topic, group), 30, "the message")
        ext = {"sidecar.receipt": rows[0]["receipt"], "invisibleTime": "1000"}
        succeeded(client.call(CHANGE_MESSAGE_INVISIBLETIME, ext), "giving it back")
        again = receive_all(client, topic, group, 1)
        equal([row["body"] for row in again], ["one"], "what comes again")
        check(again[0]["reconsumeTimes"] > 0, "it comes from the retry topic of the group")
        is_failure(
            client.call(SEND_MESSAGE, {"topic": f"{topic}-2"}, b"x"), "forbidden", NO_PERMISSION
        )


@test
@uses("assignments")
def a_member_of_its_group_shares_out_locks_pulls_and_commits():
    topic, group = new_topic("Roles"), f"Members-{os.getpid()}"
    with shop(topic, group) as (_, client):
        sent = succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"two"), "the send").ext
        broker, queue_id = sent["brokerName"], sent["queueId"]
        body = heartbeat_body(CLIENT_ID, group, topic)
        succeeded(client.call(HEART_BEAT, body=body), "the heartbeat")
        there = {"sidecar.broker": broker}
        answer = client.call(GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": group, **there})
        equal(succeeded(answer).json()["consumerIdList"], [CLIENT_ID], "the members of the group")
        queue = {"topic": topic, "brokerName": broker, "queueId": int(queue_id)}
        body = {"consumerGroup": group, "clientId": CLIENT_ID, "mqSet": [queue]}
        lock = json.dumps(body).encode()
        answer = succeeded(client.call(LOCK_BATCH_MQ, there, lock), "the lock")
        equal(len(answer.json()["lockOKMQSet"]), 1, "queues that are locked")
        body = {
            "topic": topic,
            "consumerGroup": group,
            "clientId": CLIENT_ID,
            "strategyName": "AVG",
            "messageModel": "CLUSTERING",
        }
        succeeded(client.call(QUERY_ASSIGNMENT, there, json.dumps(body).encode()), "the assignment")
        own = {"topic": topic, "consumerGroup": group, "queueId": queue_id, **there}
        ext = {**own, "queueOffset": "0", "sidecar.answerFormat": "json"}
        rows = succeeded(client.call(PULL_MESSAGE, ext), "the pull").json()
        equal([row["body"] for row in rows], ["two"], "what was pulled")
        ext = {**own, "commitOffset": "1"}
        succeeded(client.call(UPDATE_CONSUMER_OFFSET, ext), "the commit")
        equal(client.call(QUERY_CONSUMER_OFFSET, own).ext.get("offset"), "1", "what is committed")
        equal(client.call(GET_MAX_OFFSET, own).ext.get("offset"), "1", "the end of the queue")
        succeeded(client.call(UNLOCK_BATCH_MQ, there, lock), "unlocking")


@test
def a_transaction_of_its_producer_group_is_committed_and_another_topic_stays_empty():
    topic, other, group = new_topic("Roles"), new_topic("Roles"), f"Deciders-{os.getpid()}"
    with shop(topic, group) as (running, client):
        ext = {"topic": topic, "producerGroup": f"{group}-1", "sidecar.transaction": "half"}
        half = succeeded(client.call(SEND_MESSAGE, ext, b"three"), "the half message")
        decision = {"sidecar.receipt": half.ext["sidecar.receipt"], "commitOrRollback": "8"}
        succeeded(client.call(END_TRANSACTION, decision), "the decision")
        rows = receive_all(client, topic, group, 1)
        equal([row["body"] for row in rows], ["three"], "what readers see")
        for more in ({}, {"sidecar.transaction": "half", "producerGroup": f"{group}-1"}):
            answer = client.call(SEND_MESSAGE, {"topic": other, **more}, b"x")
            is_failure(answer, "forbidden", NO_PERMISSION, "no")
        operator = running.client()
        equal(receive(operator, other, "Operators", poll_millis=500), [], "what is in the other")


main()
