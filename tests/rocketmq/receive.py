#!/usr/bin/env python3
"""Receiving, acknowledging, and what happens to those who do not"""

import json
import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import (
    ACK_MESSAGE,
    BATCH_ACK_MESSAGE,
    CHANGE_MESSAGE_INVISIBLETIME,
    GET_STATS,
    POP_MESSAGE,
    PULL_MESSAGE,
    ROCKETMQ,
    SEND_BATCH_MESSAGE,
    SEND_MESSAGE,
    SIDECAR,
)
from rocketmq_story import (
    cluster,
    daemon,
    new_topic,
    receive,
    receive_all,
    send_all,
    succeeded,
    uses,
)
from tap import check, equal, less, main, test, wait_until


def bodies_of(rows):
    return sorted(row["body"] for row in rows)


@test
@uses("receiving by topic and group")
def topic_and_group_are_enough_to_receive_from_all_brokers():
    topic = new_topic()
    bodies = [f"message {n:02}" for n in range(24)]
    with daemon() as running:
        client = running.client()
        send_all(client, topic, bodies)
        answer = client.call(
            POP_MESSAGE,
            {"topic": topic, "consumerGroup": "receive-1", "sidecar.answerFormat": "json"},
        )
        rows = succeeded(answer).json()
        check(rows, "the first POP finds messages")
        for row in rows:
            succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}))
        rows += receive_all(client, topic, "receive-1", len(bodies) - len(rows))
    equal(bodies_of(rows), bodies, "the bodies received")
    equal(
        {row["brokerName"] for row in rows}, set(cluster().brokers()), "the brokers they came from"
    )


@test
@uses("receiving by topic and group")
def a_binary_caller_writes_code_30000_and_names_the_real_one():
    topic = new_topic()
    with daemon() as running:
        client = running.client(serialize=ROCKETMQ)
        send_all(client, topic, ["one"])
        ext = {
            "topic": topic,
            "consumerGroup": "receive-2",
            "sidecar.answerFormat": "json",
            "sidecar.code": str(POP_MESSAGE),
        }
        answer = succeeded(client.call(SIDECAR, ext))
        equal(answer.serialize, ROCKETMQ, "the header form of the answer")
        rows = answer.json()
        equal(bodies_of(rows), ["one"], "the bodies received")
        ext = {"sidecar.receipt": rows[0]["receipt"], "sidecar.code": str(ACK_MESSAGE)}
        succeeded(client.call(SIDECAR, ext))


@test
@uses("receiving by topic and group")
def a_receive_that_waits_is_answered_as_soon_as_a_message_is_sent():
    topic = new_topic()
    with daemon() as running:
        waiting, sending = running.client(), running.client()
        send_all(sending, topic, ["warm"])
        equal(bodies_of(receive_all(waiting, topic, "receive-3", 1)), ["warm"], "the first message")
        for n in range(4):
            ext = {
                "topic": topic,
                "consumerGroup": "receive-3",
                "pollTime": 10000,
                "sidecar.answerFormat": "json",
            }
            opaque = waiting.send(POP_MESSAGE, ext)
            check(waiting.is_silent(0.3), "nothing is there to be answered")
            send_all(sending, topic, [f"late {n}"])
            began = time.monotonic()
            rows = succeeded(waiting.receive(opaque)).json()
            less(time.monotonic() - began, 2.0, "seconds from the send to the answer")
            equal(bodies_of(rows), [f"late {n}"], "the body received")
            succeeded(waiting.call(ACK_MESSAGE, {"sidecar.receipt": rows[0]["receipt"]}))


@test
@uses("receiving by topic and group")
def an_empty_topic_is_answered_when_the_poll_time_is_over():
    topic = new_topic()
    with daemon() as running:
        began = time.monotonic()
        equal(receive(running.client(), topic, "receive-4", poll_millis=1500), [], "the messages")
        took = time.monotonic() - began
        check(1.0 < took < 6.0, f"answered after the poll time of 1.5 s (took {took:.1f} s)")


@test(deadline=90)
@uses("POP, ACK, receipts")
def what_was_acknowledged_never_comes_again_and_what_was_not_does():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["acknowledged", "forgotten"])
        rows = receive_all(client, topic, "receive-5", 2, acknowledge=False, invisibleTime=4000)
        equal(bodies_of(rows), ["acknowledged", "forgotten"], "the first delivery")
        receipts = {row["body"]: row["receipt"] for row in rows}
        succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": receipts["acknowledged"]}))
        again = receive_all(
            client, topic, "receive-5", 1, timeout=60, acknowledge=False, invisibleTime=30000
        )
        equal(bodies_of(again), ["forgotten"], "what comes again")
        equal(
            (again[0]["topic"], again[0]["reconsumeTimes"]),
            (topic, 1),
            "its topic and how often it came before",
        )
        check(again[0]["receipt"] != receipts["forgotten"], "it has a new receipt")
        succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": again[0]["receipt"]}))
        equal(
            receive(client, topic, "receive-5", poll_millis=6000),
            [],
            "what comes after both were acknowledged",
        )


@test
@uses("POP, ACK, receipts")
def a_changed_invisible_time_gives_a_receipt_that_acknowledges():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["kept"])
        row = receive_all(client, topic, "receive-6", 1, acknowledge=False, invisibleTime=20000)[0]
        ext = {"sidecar.receipt": row["receipt"], "invisibleTime": 4000}
        answer = succeeded(client.call(CHANGE_MESSAGE_INVISIBLETIME, ext))
        receipt = answer.ext.get("sidecar.receipt")
        check(
            receipt and receipt != row["receipt"],
            f"the answer has a new receipt (saw {answer.ext})",
        )
        succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": receipt}))
        equal(
            receive(client, topic, "receive-6", poll_millis=8000),
            [],
            "what comes after the acknowledgement",
        )


@test
@uses("POP, ACK, receipts")
def without_a_format_stored_messages_and_rocketmqs_own_fields_work():
    topic = new_topic()
    names = {address: name for name, address in cluster().brokers().items()}
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["first", "second"])
        seen = []
        for broker_field in ("sidecar.broker", "bname"):
            ext = {
                "topic": topic,
                "consumerGroup": "receive-7",
                "maxMsgNums": 1,
                "invisibleTime": 4000,
            }
            answer = succeeded(client.call(POP_MESSAGE, ext))
            messages = remoting.messages(answer.body)
            equal(len(messages), 1, "messages in the answer")
            message = messages[0]
            seen.append(message.body)
            broker = names[message.store_host]
            infos = remoting.pop_extra_infos(answer, broker)
            ext = {
                "topic": topic,
                "consumerGroup": "receive-7",
                "queueId": message.queue_id,
                "offset": message.queue_offset,
                "extraInfo": infos[message.queue_id, message.queue_offset],
                broker_field: broker,
            }
            succeeded(
                client.call(ACK_MESSAGE, ext), f"the answer to ACK_MESSAGE with {broker_field}"
            )
        equal(sorted(seen), [b"first", b"second"], "the bodies received")
        equal(
            receive(client, topic, "receive-7", poll_millis=8000),
            [],
            "what comes after both were acknowledged",
        )


@test
def a_receipt_that_nobody_wrote_is_invalid():
    with daemon() as running:
        client = running.client()
        for receipt in ("r1~nonsense", "x", "r9~a~b~c~1~2~3~4~5~6~0"):
            answer = client.call(ACK_MESSAGE, {"sidecar.receipt": receipt})
            equal(
                (answer.code, answer.error),
                (remoting.MESSAGE_ILLEGAL, "invalid"),
                f"the answer for {receipt}",
            )


@test(deadline=90)
@uses("POP, ACK, receipts")
def what_was_popped_for_a_caller_that_went_comes_again_long_before_its_invisible_time():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, [f"orphan {n}" for n in range(16)])

        def is_orphaned():
            # Whether it goes before its answer comes is a race, so several go, with one each.
            gone = running.client()
            ext = {"topic": topic, "consumerGroup": "receive-8", "invisibleTime": 600000}
            gone.send(POP_MESSAGE, {**ext, "maxMsgNums": 1})
            gone.close()
            return client.call(GET_STATS).json()["popOrphaned"] > 0

        wait_until(is_orphaned, 20, "a message is popped for a caller that went")
        again = wait_until(
            lambda: [
                row
                for row in receive_all(client, topic, "receive-8", 1, timeout=3)
                if row["reconsumeTimes"] > 0
            ],
            60,
            "a message that was given to somebody before",
        )
    check(again[0]["body"].startswith("orphan "), f"it is one of ours (saw {again[0]})")


@test(deadline=90)
@uses("POP, ACK, receipts")
def a_batch_of_receipts_of_both_brokers_is_acknowledged_and_the_rest_comes_again():
    topic = new_topic()
    bodies = [f"batched {n:02}" for n in range(16)]
    with daemon() as running:
        client = running.client()
        send_all(client, topic, bodies)
        rows = receive_all(client, topic, "receive-9", 16, acknowledge=False, invisibleTime=5000)
        equal({row["brokerName"] for row in rows}, set(cluster().brokers()), "their brokers")
        kept, given = rows[0], [row["receipt"] for row in rows[1:]] + ["r1~garbage"]
        answer = client.call(BATCH_ACK_MESSAGE, body=json.dumps(given).encode())
        told = succeeded(answer, "the answer to BATCH_ACK_MESSAGE").json()
        equal([row["receipt"] for row in told], given, "the receipts that are told of")
        equal([row["code"] for row in told], [0] * 15 + [remoting.MESSAGE_ILLEGAL], "the codes")
        again = receive_all(client, topic, "receive-9", 1, timeout=60)
        equal(bodies_of(again), [kept["body"]], "what comes again")
        equal(receive(client, topic, "receive-9", poll_millis=6000), [], "what comes after that")


def allow_expressions(client):
    """Brokers filter by SQL92 where they are told to; both stay so for the stories that follow."""
    for name in cluster().brokers():
        ext = {"sidecar.broker": name}
        succeeded(client.call(remoting.UPDATE_BROKER_CONFIG, ext, b"enablePropertyFilter=true\n"))


@test
@uses("receiving by topic and group")
def a_receive_gets_what_its_tags_or_its_expression_ask_for_and_leaves_the_rest_alone():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        allow_expressions(client)
        for n in range(12):
            ext = {"topic": topic, "property.n": str(n), "property.TAGS": f"tag{n % 3}"}
            succeeded(client.call(SEND_MESSAGE, ext, f"filtered {n:02}".encode()))
        filters = {
            "receive-tag": ({"exp": "tag0 || tag2"}, [n for n in range(12) if n % 3 != 1]),
            "receive-sql": ({"exp": "n > 7", "expType": "SQL92"}, [8, 9, 10, 11]),
        }
        for group, (ext, numbers) in filters.items():
            rows = receive_all(client, topic, group, len(numbers), **ext)
            bodies = [f"filtered {n:02}" for n in numbers]
            equal(bodies_of(rows), bodies, f"what {group} receives")
            equal(receive(client, topic, group, poll_millis=1500, **ext), [], "what comes then")


def pull(client, topic, broker, queue_id, offset, **more):
    ext = {
        "topic": topic,
        "consumerGroup": "receive-pull",
        "queueId": queue_id,
        "queueOffset": offset,
        "sidecar.broker": broker,
        "sidecar.answerFormat": "json",
        **more,
    }
    return client.call(PULL_MESSAGE, ext, timeout=30)


@test
@uses("PULL, offsets")
def a_pull_without_a_heartbeat_finds_what_a_tag_or_an_expression_asks_for():
    topic = new_topic()
    broker = sorted(cluster().brokers())[0]
    with daemon() as running:
        client = running.client()
        for n in range(6):
            ext = {
                "topic": topic,
                "sidecar.broker": broker,
                "queueId": 1,
                "property.TAGS": "even" if n % 2 == 0 else "odd",
                "property.n": str(n),
            }
            succeeded(client.call(SEND_MESSAGE, ext, f"pulled {n}".encode()))
        answer = wait_until(
            lambda: (found := pull(client, topic, broker, 1, 0)).code == 0 and found,
            15,
            "messages",
        )
        rows = succeeded(answer).json()
        equal([row["body"] for row in rows], [f"pulled {n}" for n in range(6)], "all of them")
        equal({row["brokerName"] for row in rows}, {broker}, "the broker they came from")
        equal(answer.ext["nextBeginOffset"], "6", "where to go on")
        rows = succeeded(pull(client, topic, broker, 1, 0, subscription="odd")).json()
        equal([row["body"] for row in rows], ["pulled 1", "pulled 3", "pulled 5"], "by tag")
        allow_expressions(client)
        ext = {"subscription": "n > 3", "expressionType": "SQL92"}
        rows = succeeded(pull(client, topic, broker, 1, 0, **ext)).json()
        equal([row["body"] for row in rows], ["pulled 4", "pulled 5"], "by expression")
        equal(pull(client, topic, broker, 1, 6).code, remoting.PULL_NOT_FOUND, "at the end")


@test
@uses("PULL, offsets")
def a_pull_that_is_parked_is_answered_when_a_message_comes():
    topic = new_topic()
    broker = sorted(cluster().brokers())[0]
    with daemon() as running:
        client, sending = running.client(), running.client()
        to = {"topic": topic, "sidecar.broker": broker, "queueId": 0}
        succeeded(sending.call(SEND_MESSAGE, to, b"first"))
        wait_until(lambda: pull(client, topic, broker, 0, 0).code == 0, 15, "the first one")
        opaque = client.send(
            PULL_MESSAGE,
            {
                **to,
                "consumerGroup": "receive-pull",
                "queueOffset": 1,
                "suspendTimeoutMillis": 15000,
                "sidecar.answerFormat": "json",
            },
        )
        check(client.is_silent(0.3), "nothing is there to be answered")
        succeeded(sending.call(SEND_MESSAGE, to, b"second"))
        rows = succeeded(client.receive(opaque, timeout=25)).json()
        equal(bodies_of(rows), ["second"], "what the parked one is answered")


@test
@uses("PULL, offsets", "batch topics")
def a_batch_that_the_broker_keeps_as_one_is_pulled_as_its_messages():
    topic = f"{new_topic()}-batch"
    broker = sorted(cluster().brokers())[0]
    ext = {
        "topic": topic,
        "defaultTopic": "TBW102",
        "readQueueNums": 1,
        "writeQueueNums": 1,
        "perm": 6,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": "false",
        "attributes": "+queue.type=BatchCQ",
        "sidecar.broker": broker,
    }
    batch = b""
    for n in range(3):
        body, properties = f"inner {n}".encode(), f"n\x01{n}\x02".encode()
        rest = struct.pack(">iiii", 0, 0, 0, len(body)) + body
        rest += struct.pack(">h", len(properties)) + properties
        batch += struct.pack(">i", len(rest) + 4) + rest
    with daemon() as running:
        client = running.client()
        succeeded(client.call(remoting.UPDATE_AND_CREATE_TOPIC, ext), "the topic")
        to = {"b": topic, "sidecar.broker": broker, "e": 0, "m": "true"}
        succeeded(client.call(SEND_BATCH_MESSAGE, to, batch))

        def pulled():
            # Where it lies one by one in the queue they may appear there one by one, too.
            found = pull(client, topic, broker, 0, 0)
            return found if found.code == 0 and len(found.json()) == 3 else None

        answer = wait_until(pulled, 15, "the messages of the batch")
        rows = succeeded(answer).json()
    equal([row["body"] for row in rows], ["inner 0", "inner 1", "inner 2"], "the bodies")
    equal([row["queueOffset"] for row in rows], [0, 1, 2], "their offsets")
    equal([row["properties"]["n"] for row in rows], ["0", "1", "2"], "their properties")
    equal(answer.ext["nextBeginOffset"], "3", "where to go on")


main()
