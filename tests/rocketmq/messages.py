#!/usr/bin/env python3
"""Messages by id and by key, dead letters, ordered groups, offsets of whole topics, and recalls"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import (
    ACK_MESSAGE,
    CONSUMER_SEND_MSG_BACK,
    GET_EARLIEST_MSG_STORETIME,
    GET_MAX_OFFSET,
    GET_MIN_OFFSET,
    GET_STATS,
    POP_MESSAGE,
    PULL_MESSAGE,
    QUERY_CONSUMER_OFFSET,
    QUERY_MESSAGE,
    RECALL_MESSAGE,
    SEARCH_OFFSET_BY_TIMESTAMP,
    SEND_MESSAGE,
    UPDATE_CONSUMER_OFFSET,
    VIEW_MESSAGE_BY_ID,
)
from rocketmq_story import cluster, daemon, new_topic, receive, receive_all, succeeded, uses
from tap import check, equal, less, main, test, wait_until

JSON = {"sidecar.answerFormat": "json"}


def send(client, topic, body, **ext):
    answer = client.call(SEND_MESSAGE, {"topic": topic, **ext}, body.encode())
    return succeeded(answer, "the answer to SEND_MESSAGE")


def dead_letters(client, group, n):
    """Brokers make the topic with its first letter, and nameservers hear of it a little later."""
    topic = f"%DLQ%{group}"
    wait_until(lambda: client.call(GET_MAX_OFFSET, {"topic": topic}).code == 0, 30, topic)
    return receive_all(client, topic, "messages-undertaker", n, timeout=20)


def acknowledge(client, row):
    succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}))


def bodies_of(rows):
    return sorted(row["body"] for row in rows)


# "Aa" and "BB" have the same hash in Java, which is all that brokers compare.
@test
def a_tag_brings_its_own_messages_and_none_of_the_same_hash():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        for n in range(6):
            for tag in ("Aa", "BB"):
                send(client, topic, f"{tag} {n}", **{"property.TAGS": tag})
        rows = receive_all(client, topic, "messages-tag", 6, exp="Aa")
        equal(bodies_of(rows), [f"Aa {n}" for n in range(6)], "what is received")
        equal(receive(client, topic, "messages-tag", poll_millis=1500, exp="Aa"), [], "after that")
        check(client.call(GET_STATS).json()["popFiltered"] > 0, "the others came and were filtered")
        rows = []
        for broker in cluster().brokers():
            for queue in range(4):
                ext = {"topic": topic, "consumerGroup": "messages-pull", "queueId": queue}
                ext.update({"queueOffset": 0, "subscription": "BB", "sidecar.broker": broker})
                answer = client.call(PULL_MESSAGE, {**ext, **JSON})
                rows += answer.json() if answer.code == 0 else []
        equal(bodies_of(rows), [f"BB {n}" for n in range(6)], "what is pulled")


@test
def a_message_is_found_by_either_of_its_ids():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        for n in range(4):
            sent = send(client, topic, f"found {n}")
            uniq_key = sent.ext["sidecar.uniqKey"]
            for ext in (
                {"sidecar.msgId": sent.ext["msgId"]},
                {"sidecar.msgId": sent.ext["msgId"], "topic": topic},
            ):
                answer = succeeded(client.call(VIEW_MESSAGE_BY_ID, {**ext, **JSON}))
                equal(bodies_of(answer.json()), [f"found {n}"], f"what {sorted(ext)} finds")
                equal(answer.json()[0]["offsetMsgId"], sent.ext["msgId"], "its id")
                equal(answer.json()[0]["brokerName"], sent.ext["brokerName"], "its broker, by id")

            def by_key():
                ext = {"sidecar.msgId": uniq_key, "topic": topic, **JSON}
                answer = client.call(VIEW_MESSAGE_BY_ID, ext)
                return answer.code == 0 and answer

            answer = wait_until(by_key, 20, "the index has it")
            equal(bodies_of(answer.json()), [f"found {n}"], "what the UNIQ_KEY finds")
            equal(answer.json()[0]["brokerName"], sent.ext["brokerName"], "its broker")
        native = client.call(VIEW_MESSAGE_BY_ID, {"sidecar.msgId": sent.ext["msgId"]})
        equal([row.body for row in remoting.messages(native.body)], [b"found 3"], "as stored")
        ext = {"sidecar.msgId": "0" * 31 + "1", "topic": topic}
        answer = client.call(VIEW_MESSAGE_BY_ID, ext)
        equal(answer.code, remoting.QUERY_NOT_FOUND, "a key of nobody")
        ext = {"sidecar.msgId": "0A0000070000277F0000000000000001"}
        equal(client.call(VIEW_MESSAGE_BY_ID, ext).error, "forbidden", "a broker of nobody's")


@test
def a_key_finds_its_messages_on_all_brokers():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        for n in range(16):
            # KEYS of a hash in common with another one: Java's "Aa" and "BB" again.
            key = "order-Aa" if n % 2 == 0 else "order-BB"
            send(client, topic, f"{key} {n:02}", **{"property.KEYS": f"{key} all"})

        def found(key, **more):
            answer = client.call(QUERY_MESSAGE, {"topic": topic, "key": key, **JSON, **more})
            return answer.json() if answer.code == 0 else []

        rows = wait_until(lambda: len(rows := found("all")) == 16 and rows, 20, "all of them")
        equal({row["brokerName"] for row in rows}, set(cluster().brokers()), "their brokers")
        expected = [f"order-Aa {n:02}" for n in range(0, 16, 2)]
        equal(bodies_of(found("order-Aa")), expected, "those of one key")
        equal(found("order"), [], "those of a part of it")
        answer = client.call(QUERY_MESSAGE, {"topic": topic, "key": "all", "maxNum": 2, **JSON})
        equal(
            [answer.ext[key] for key in ("sidecar.brokers", "sidecar.answered")], ["2", "2"], "who"
        )
        equal(len(answer.json()), 4, "messages, two of each")
        native = client.call(QUERY_MESSAGE, {"topic": topic, "key": "all"})
        equal(len(remoting.messages(native.body)), 16, "messages as brokers store them")
        answer = client.call(QUERY_MESSAGE, {"topic": topic, "key": "none"})
        equal(answer.code, remoting.QUERY_NOT_FOUND, "where no broker has it")
        began = time.monotonic()
        answer = client.call(QUERY_MESSAGE, {"topic": "NoSuchTopic", "key": "none"})
        equal(answer.error, "no-route", "a topic that does not exist")
        less(time.monotonic() - began, 1.0, "seconds")


@test(deadline=90)
@uses("POP, ACK, receipts")
def a_message_that_comes_too_often_is_a_dead_letter():
    topic = new_topic()
    group = f"messages-dead-{topic}"
    with daemon() as running:
        client = running.client()
        send(client, topic, "poison", **{"property.who": "me"})
        seen = []
        counted = 0
        end = time.monotonic() + 70
        while counted == 0 and time.monotonic() < end:
            ext = {"invisibleTime": 1000, "sidecar.maxReconsume": 1, "poll_millis": 2000}
            seen += [row["reconsumeTimes"] for row in receive(client, topic, group, **ext)]
            counted = client.call(GET_STATS).json()["popDeadLettered"]
        equal(seen, [0, 1], "how often it had come before when it was received")
        dead = dead_letters(client, group, 1)
        equal(bodies_of(dead), ["poison"], "what lies in the dead-letter topic")
        equal(dead[0]["properties"]["who"], "me", "a property of it")
        equal(receive(client, topic, group, poll_millis=4000), [], "what still comes")


@test(deadline=90)
@uses("POP, ACK, receipts")
def a_receipt_or_an_id_is_enough_to_send_a_message_back():
    topic = new_topic()
    group = f"messages-back-{topic}"
    with daemon() as running:
        client = running.client()
        send(client, topic, "by receipt")
        row = receive_all(client, topic, group, 1, acknowledge=False, invisibleTime=5000)[0]
        ext = {"sidecar.receipt": row["receipt"]}
        succeeded(client.call(CONSUMER_SEND_MSG_BACK, ext), "the answer by receipt")
        sent = send(client, topic, "by id")
        row = receive_all(client, topic, group, 1)[0]
        ext = {"sidecar.msgId": sent.ext["msgId"], "group": group, "delayLevel": -1}
        succeeded(client.call(CONSUMER_SEND_MSG_BACK, ext), "the answer by id")
        dead = dead_letters(client, group, 2)
        equal(bodies_of(dead), ["by id", "by receipt"], "what lies in the dead-letter topic")
        equal(receive(client, topic, group, poll_millis=8000), [], "what still comes")
        # Without a delayLevel the broker chooses: 10 s the first time.
        ext = {"sidecar.msgId": sent.ext["msgId"], "group": group}
        succeeded(client.call(CONSUMER_SEND_MSG_BACK, ext), "the answer by id alone")
        again = receive_all(client, f"%RETRY%{group}", group, 1, timeout=40)
        equal(bodies_of(again), ["by id"], "what lies in the retry topic of classic consumers")


@test(deadline=90)
@uses("POP, ACK, receipts")
def an_ordered_group_gets_each_queue_in_order_and_one_receiver_at_a_time():
    topic = new_topic()
    group = "messages-ordered"
    with daemon() as running:
        client, other = running.client(), running.client()
        for n in range(12):
            send(client, topic, f"{n % 3}-{n // 3}", **{"property.__SHARDINGKEY": f"key-{n % 3}"})
        ordered = {"order": "true", "maxMsgNums": 1, "invisibleTime": 20000}
        first = receive(client, topic, group, **ordered)
        equal(len(first), 1, "messages of the first receive")
        held = {first[0]["brokerName"], first[0]["queueId"]}
        # Everything else, while that queue is locked.
        got = []
        while rows := receive(other, topic, group, poll_millis=1500, **ordered):
            got += rows
            for row in rows:
                check({row["brokerName"], row["queueId"]} != held, "no queue that is locked")
                acknowledge(other, row)
        opaque = other.send(
            POP_MESSAGE,
            {"topic": topic, "consumerGroup": group, "pollTime": 15000, **JSON, **ordered},
        )
        check(other.is_silent(0.5), "the other one waits")
        acknowledge(client, first[0])
        began = time.monotonic()
        rows = succeeded(other.receive(opaque)).json()
        less(time.monotonic() - began, 3.0, "seconds until the queue is free for it")
        while rows:
            got += rows
            for row in rows:
                acknowledge(other, row)
            rows = receive(other, topic, group, poll_millis=1500, **ordered)
        order = {}
        for row in first + got:
            order.setdefault(row["body"][0], []).append(row["body"])
        expected = {str(key): [f"{key}-{n}" for n in range(4)] for key in range(3)}
        equal(order, expected, "what came, by key")


@test(deadline=60)
@uses("POP, ACK, receipts")
def an_ordered_message_that_is_not_acknowledged_comes_again_before_the_next():
    topic = new_topic()
    broker = sorted(cluster().brokers())[0]
    with daemon() as running:
        client = running.client()
        for n in range(3):
            send(client, topic, f"step {n}", **{"sidecar.broker": broker, "queueId": 1})
        ordered = {"order": "true", "maxMsgNums": 1, "invisibleTime": 2000}
        rows = receive(client, topic, "messages-again", **ordered)
        equal([(row["body"], row["reconsumeTimes"]) for row in rows], [("step 0", 0)], "the first")
        rows = receive(client, topic, "messages-again", poll_millis=8000, **ordered)
        equal([(row["body"], row["reconsumeTimes"]) for row in rows], [("step 0", 1)], "again")
        acknowledge(client, rows[0])
        rows = receive(client, topic, "messages-again", **ordered)
        equal([row["body"] for row in rows], ["step 1"], "the next")
        acknowledge(client, rows[0])


@test
def offsets_of_a_whole_topic_come_in_one_answer():
    topic = new_topic()
    broker = sorted(cluster().brokers())[0]
    queues = {(name, queue) for name in cluster().brokers() for queue in range(4)}
    with daemon() as running:
        client = running.client()
        at = {"sidecar.broker": broker, "queueId": 2}
        for n in range(5):
            send(client, topic, f"early {n}", **at)
        middle = int(time.time() * 1000) + 50
        wait_until(lambda: time.time() * 1000 > middle + 50, 5, "some time to pass")
        for n in range(3):
            send(client, topic, f"late {n}", **at)

        def offsets(code, key="offset", **ext):
            answer = succeeded(client.call(code, {"topic": topic, **ext}))
            rows = answer.json()
            equal({(row["brokerName"], row["queueId"]) for row in rows}, queues, "the queues")
            return {(row["brokerName"], row["queueId"]): row.get(key) for row in rows}

        expected = {queue: 8 if queue == (broker, 2) else 0 for queue in queues}
        wait_until(lambda: offsets(GET_MAX_OFFSET) == expected, 10, "the ends of the queues")
        equal(offsets(GET_MIN_OFFSET), dict.fromkeys(queues, 0), "their beginnings")
        by_time = offsets(SEARCH_OFFSET_BY_TIMESTAMP, timestamp=middle)
        equal(by_time[broker, 2], 5, "where the late ones begin")
        stored = offsets(GET_EARLIEST_MSG_STORETIME, key="timestamp")[broker, 2]
        check(0 < stored < middle, f"when the first was stored (saw {stored})")
        ext = {"topic": topic, "consumerGroup": "messages-offsets", **at, "commitOffset": 5}
        succeeded(client.call(PULL_MESSAGE, {**ext, "queueOffset": 0}), "the group's first pull")
        succeeded(client.call(UPDATE_CONSUMER_OFFSET, ext))
        committed = offsets(QUERY_CONSUMER_OFFSET, consumerGroup="messages-offsets")
        equal(committed[broker, 2], 5, "what the group has committed")


@test
@uses("RECALL")
def a_recall_handle_is_enough_to_recall_a_message():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        for name in cluster().brokers():
            ext = {"sidecar.broker": name}
            body = b"recallMessageEnable=true\n"
            succeeded(client.call(remoting.UPDATE_BROKER_CONFIG, ext, body))
        sent = [
            send(client, topic, body, **{"property.TIMER_DELAY_SEC": "5"}).ext
            for body in ("recalled", "delivered")
        ]
        answer = client.call(RECALL_MESSAGE, {"recallHandle": sent[0]["recallHandle"]})
        equal(succeeded(answer).ext["msgId"], sent[0]["sidecar.uniqKey"], "what was recalled")
        rows = receive_all(client, topic, "messages-recall", 1, timeout=30)
        equal(bodies_of(rows), ["delivered"], "what comes")
        equal(receive(client, topic, "messages-recall", poll_millis=3000), [], "what comes then")
        answer = client.call(RECALL_MESSAGE, {"recallHandle": "garbage"})
        equal(answer.error, "invalid", "a garbage handle")


@test
@uses("POP, ACK, receipts")
def what_cannot_be_is_answered_in_words_at_once():
    topic = new_topic()
    nobody = f"NoSuchTopic-{topic}"
    with daemon() as running:
        client = running.client()
        for name in cluster().brokers():
            ext = {"sidecar.broker": name}
            body = json.dumps({"groupName": "messages-shut", "consumeEnable": False}).encode()
            succeeded(client.call(200, ext, body), "the group that may not consume")
        shut = {"topic": topic, "consumerGroup": "messages-shut"}
        forbidden = {"topic": topic, "property.a": "b\x01"}
        cases = (
            ("a topic that does not exist", POP_MESSAGE, {**shut, "topic": nobody}, "no-route"),
            ("a group without permission", POP_MESSAGE, shut, None),
            ("a body over 4 MiB", SEND_MESSAGE, {"topic": topic}, "invalid"),
            ("a property with a forbidden byte", SEND_MESSAGE, forbidden, "invalid"),
            ("a garbage receipt", ACK_MESSAGE, {"sidecar.receipt": "garbage"}, "invalid"),
        )
        for what, code, ext, error in cases:
            body = b"x" * (4 * 1024 * 1024 + 1) if what == "a body over 4 MiB" else b""
            began = time.monotonic()
            answer = client.call(code, ext, body)
            less(time.monotonic() - began, 2.0, f"seconds until {what} is answered")
            equal(answer.error, error, f"whose failure {what} is ({answer.remark})")
            check(answer.code != 0 and len(answer.remark) > 20, f"{what} in words: {answer.remark}")
            if error is None:
                equal(answer.code, remoting.NO_PERMISSION, "the broker's own code")


main()
