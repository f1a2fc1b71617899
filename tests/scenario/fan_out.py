#!/usr/bin/env python3
"""What one broker cannot answer alone is asked of all of them, and one that fails is told of"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, after, answers, close, silence
from remoting import (
    CONSUMER_SEND_MSG_BACK,
    GET_MAX_OFFSET,
    MESSAGE_ILLEGAL,
    QUERY_MESSAGE,
    QUERY_NOT_FOUND,
    RECALL_MESSAGE,
    SYSTEM_ERROR,
    VIEW_MESSAGE_BY_ID,
    stored_message,
)
from scenario import TOPIC, is_failure, two_brokers
from tap import check, contains, equal, less, main, test

KEY = {"topic": TOPIC, "key": "order-1", "sidecar.answerFormat": "json"}
NOT_FOUND = answers(QUERY_NOT_FOUND, remark="can not find message, maybe time range not correct")


def keyed(body, keys, **more):
    return stored_message(TOPIC, body.encode(), properties={"KEYS": keys}, **more)


def found(*stored):
    return answers(ext={"indexLastUpdateTimestamp": "1"}, body=b"".join(stored))


def offset_id(broker, offset):
    return f"7F000001{broker.port:08X}{offset:016X}"


@test
def a_key_is_asked_of_every_master_and_what_only_has_its_hash_is_left_out():
    with two_brokers() as (running, a, b):
        a.on(QUERY_MESSAGE, found(keyed("a1", "order-1 x"), keyed("other", "order-2")))
        b.on(QUERY_MESSAGE, found(keyed("b1", "y order-1")))
        answer = running.client().call(QUERY_MESSAGE, KEY)
        equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
        rows = [(row["brokerName"], row["body"]) for row in answer.json()]
        equal(rows, [("broker-a", "a1"), ("broker-b", "b1")], "the messages")
        for broker in (a, b):
            ext = broker.seen(QUERY_MESSAGE)[0].ext
            equal([ext[key] for key in ("bname", "key")], [broker.name, "order-1"], "what is asked")
            check(0 < int(ext["maxNum"]) <= 64, "a number that brokers take")
            equal((ext["beginTimestamp"], ext["endTimestamp"]), ("0", str(2**63 - 1)), "the time")
        ext = {**KEY, "beginTimestamp": 5, "endTimestamp": 6, "maxNum": 7}
        running.client().call(QUERY_MESSAGE, ext)
        ext = a.seen(QUERY_MESSAGE)[1].ext
        given = [ext[key] for key in ("beginTimestamp", "endTimestamp", "maxNum")]
        equal(given, ["5", "6", "7"], "what the caller gives")
        native = running.client().call(QUERY_MESSAGE, {**KEY, "sidecar.answerFormat": "native"})
        bodies = [message.body for message in remoting.messages(native.body)]
        equal(bodies, [b"a1", b"b1"], "as brokers store them")


@test
def a_broker_that_fails_does_not_take_away_what_the_other_found():
    cases = (
        ("gone", close, "connection-lost", 10100),
        ("silent", silence, "timeout", 10002),
        ("refusing", answers(SYSTEM_ERROR, remark="index broken"), None, SYSTEM_ERROR),
    )
    for name, behaviour, error, code in cases:
        with two_brokers() as (running, a, b):
            a.on(QUERY_MESSAGE, behaviour)
            b.on(QUERY_MESSAGE, found(keyed("b1", "order-1")))
            client = running.client()
            ext = {**KEY, "sidecar.timeoutMillis": 700}
            answer = client.call(QUERY_MESSAGE, ext)
            equal((answer.code, answer.error), (0, None), f"{name}: the answer ({answer.remark})")
            equal([row["body"] for row in answer.json()], ["b1"], f"{name}: the messages")
            counts = (answer.ext["sidecar.brokers"], answer.ext["sidecar.answered"])
            equal(counts, ("2", "1"), f"{name}: who answered")
            check(answer.remark, f"{name}: the remark says why")
            # That nothing is there is certain only where all have said so.
            b.on(QUERY_MESSAGE, NOT_FOUND)
            answer = client.call(QUERY_MESSAGE, ext)
            equal((answer.error, answer.code), (error, code), f"{name}: the other has nothing")


@test
def where_no_broker_has_it_that_is_the_answer():
    with two_brokers() as (running, a, b):
        a.on(QUERY_MESSAGE, NOT_FOUND)
        b.on(QUERY_MESSAGE, found(keyed("other", "order-2")))
        answer = running.client().call(QUERY_MESSAGE, KEY)
        equal((answer.code, answer.error), (QUERY_NOT_FOUND, None), "the answer")


@test
def an_offset_id_goes_to_its_broker_and_a_unique_key_to_all():
    with two_brokers() as (running, a, b):
        client = running.client()
        b.on(VIEW_MESSAGE_BY_ID, answers(body=stored_message(TOPIC, b"here")))
        for ext in ({}, {"topic": TOPIC}):
            ext = {**ext, "sidecar.msgId": offset_id(b, 4711), "sidecar.answerFormat": "json"}
            answer = client.call(VIEW_MESSAGE_BY_ID, ext)
            equal([row["body"] for row in answer.json()], ["here"], f"with {sorted(ext)}")
            equal(answer.json()[0].get("brokerName"), b.name, f"its broker with {sorted(ext)}")
        equal([row.ext["offset"] for row in b.seen(VIEW_MESSAGE_BY_ID)], ["4711"] * 2, "its offset")
        equal(a.seen(VIEW_MESSAGE_BY_ID), [], "what the other is asked")
        uniq_key = "7F00000100017C53C64D0E1C2A4B0003"
        stored = stored_message(TOPIC, b"mine", properties={"UNIQ_KEY": uniq_key})
        a.on(QUERY_MESSAGE, found(stored, stored_message(TOPIC, b"not mine")))
        b.on(QUERY_MESSAGE, NOT_FOUND)
        ext = {"topic": TOPIC, "sidecar.msgId": uniq_key, "sidecar.answerFormat": "json"}
        answer = client.call(VIEW_MESSAGE_BY_ID, ext)
        equal([row["body"] for row in answer.json()], ["mine"], "by UNIQ_KEY")
        ext = b.seen(QUERY_MESSAGE)[0].ext
        equal((ext["key"], ext["_UNIQUE_KEY_QUERY"]), (uniq_key, "true"), "what is asked")


@test
def an_id_that_names_nobody_is_refused():
    with two_brokers() as (running, a, b):
        client = running.client()
        stranger = "0A00000700002A9F0000000000000001"
        is_failure(client.call(VIEW_MESSAGE_BY_ID, {"sidecar.msgId": stranger}), "forbidden", 16)
        for ext in ({"sidecar.msgId": "garbage"}, {"sidecar.msgId": offset_id(a, 1), "offset": 2}):
            answer = client.call(VIEW_MESSAGE_BY_ID, ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"the answer to {ext}")
        ext = {"sidecar.msgId": offset_id(a, 1)}
        is_failure(client.call(CONSUMER_SEND_MSG_BACK, ext), "invalid", MESSAGE_ILLEGAL)
        is_failure(client.call(QUERY_MESSAGE, {"topic": TOPIC}), "invalid", MESSAGE_ILLEGAL)


@test
def a_dead_letter_by_id_is_looked_at_for_its_topic():
    with two_brokers() as (running, a, b):
        client = running.client()
        a.on(VIEW_MESSAGE_BY_ID, answers(body=stored_message("Payments", b"x")))
        ext = {"sidecar.msgId": offset_id(a, 9), "group": "GID"}
        answer = client.call(CONSUMER_SEND_MSG_BACK, {**ext, "delayLevel": -1})
        equal(answer.error, None, f"the answer (remark: {answer.remark})")
        sent = a.seen(CONSUMER_SEND_MSG_BACK)[0].ext
        fields = [sent[key] for key in ("offset", "group", "originTopic", "delayLevel")]
        equal(fields, ["9", "GID", "Payments", "-1"], "what is sent back")
        equal(client.call(CONSUMER_SEND_MSG_BACK, ext).error, None, "to the retry topic")
        equal(len(a.seen(VIEW_MESSAGE_BY_ID)), 1, "looks")
        for behaviour in (answers(), answers(body=b"no message at all")):
            a.on(VIEW_MESSAGE_BY_ID, behaviour)
            answer = client.call(CONSUMER_SEND_MSG_BACK, {**ext, "delayLevel": -1})
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what="where there is no message")
        a.on(VIEW_MESSAGE_BY_ID, answers(SYSTEM_ERROR, remark="can not find message"))
        answer = client.call(CONSUMER_SEND_MSG_BACK, {**ext, "delayLevel": -1})
        equal((answer.error, answer.code), (None, SYSTEM_ERROR), "the broker's own answer")
        equal(len(a.seen(CONSUMER_SEND_MSG_BACK)), 2, "what was sent back")


@test
def a_receipt_is_acknowledged_when_its_message_was_sent_back():
    with two_brokers() as (running, a, b):
        client = running.client()
        receipt = "r2~Orders~GID~broker-b~2~6~5~1700000000000~60000~7~0~8190"
        b.on(CONSUMER_SEND_MSG_BACK, answers(SYSTEM_ERROR, remark="disk full"))
        answer = client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": receipt})
        equal((answer.code, answer.error), (SYSTEM_ERROR, None), "a broker that refuses")
        b.on(CONSUMER_SEND_MSG_BACK, answers())
        equal(client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": receipt}).code, 0, "then")
        b.wait_for(1, remoting.ACK_MESSAGE)
        equal(len(b.seen(remoting.ACK_MESSAGE)), 1, "acknowledgements")
        sent = b.seen(CONSUMER_SEND_MSG_BACK)[-1].ext
        fields = [sent[key] for key in ("offset", "group", "originTopic", "delayLevel")]
        equal(fields, ["8190", "GID", "Orders", "-1"], "what is sent back")
        older = "r1~Orders~GID~broker-b~2~6~5~1700000000000~60000~7~0"
        answer = client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": older})
        is_failure(answer, "invalid", MESSAGE_ILLEGAL, what="a receipt of version 1")
        contains(answer.remark, "sidecar.msgId", "what to do")
        answer = client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": "garbage"})
        is_failure(answer, "invalid", MESSAGE_ILLEGAL, what="a garbage receipt")


@test
def without_a_queue_all_queues_are_asked_and_each_is_told_of():
    with two_brokers() as (running, a, b):
        a.on(GET_MAX_OFFSET, answers(ext={"offset": "17"}))
        b.on(GET_MAX_OFFSET, answers(QUERY_NOT_FOUND, remark="never heard of it"))
        client = running.client()
        answer = client.call(GET_MAX_OFFSET, {"topic": TOPIC})
        equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
        rows = answer.json()
        queues = [(row["brokerName"], row["queueId"]) for row in rows]
        equal(queues, [(broker.name, n) for broker in (a, b) for n in range(4)], "the queues")
        equal({row.get("offset") for row in rows[:4]}, {17}, "the offsets of one")
        equal(rows[4], {"brokerName": "broker-b", "queueId": 0, "code": QUERY_NOT_FOUND,
                        "remark": "never heard of it"}, "a row of the other")
        asked = sorted(row.ext["queueId"] for row in a.seen(GET_MAX_OFFSET))
        equal(asked, ["0", "1", "2", "3"], "what a broker was asked")
        b.on(GET_MAX_OFFSET, close)
        rows = client.call(GET_MAX_OFFSET, {"topic": TOPIC}).json()
        errors = [row.get("error") for row in rows]
        equal(errors, [None] * 4 + ["connection-lost"] * 4, "where a broker is gone")
        a.on(GET_MAX_OFFSET, close)
        answer = client.call(GET_MAX_OFFSET, {"topic": TOPIC})
        is_failure(answer, "connection-lost", 10100, what="where both are")


@test
def a_topic_of_too_many_queues_and_too_many_requests_are_refused():
    limits = {"max_in_flight": 16, "max_in_flight_per_session": 16}
    with two_brokers(settings={"limits": limits}) as (running, a, b):
        a.n_queues = 1021
        answer = running.client().call(GET_MAX_OFFSET, {"topic": TOPIC})
        is_failure(answer, "invalid", MESSAGE_ILLEGAL, what="1,025 queues")
        a.n_queues = 12
        answer = running.client().call(GET_MAX_OFFSET, {"topic": "Others"})
        is_failure(answer, "overloaded", 2, "no", what="16 queues and the request")
        a.n_queues = 11
        answer = running.client().call(GET_MAX_OFFSET, {"topic": "More"})
        equal(len(answer.json()), 15, "rows of what fits")


@test
def a_caller_that_goes_while_brokers_are_asked_leaves_nothing_behind():
    with two_brokers() as (running, a, b):
        held = Held()
        for broker in (a, b):
            broker.on(QUERY_MESSAGE, held)
        gone = running.client()
        for _ in range(20):
            gone.send(QUERY_MESSAGE, KEY)
        waiting = held.wait_for(40)
        gone.close()
        for connection, request in waiting:
            connection.answer(request, body=keyed("late", "order-1"))
        a.on(QUERY_MESSAGE, after(0.01, found(keyed("a1", "order-1"))))
        b.on(QUERY_MESSAGE, NOT_FOUND)
        answer = running.client().call(QUERY_MESSAGE, KEY)
        equal([row["body"] for row in answer.json()], ["a1"], "what the next one is told")
        less(running.client().call(remoting.GET_STATS).json()["inFlight"], 1, "requests in flight")


@test
def a_recall_handle_goes_to_its_broker():
    with two_brokers() as (running, a, b):
        client = running.client()
        # base64url of "v1 Orders broker-b 1700000000000 KEY"
        handle = "djEgT3JkZXJzIGJyb2tlci1iIDE3MDAwMDAwMDAwMDAgS0VZ"
        equal(client.call(RECALL_MESSAGE, {"recallHandle": handle}).error, None, "the answer")
        ext = b.seen(RECALL_MESSAGE)[0].ext
        given = [ext[key] for key in ("topic", "recallHandle", "bname")]
        equal(given, [TOPIC, handle, b.name], "what the broker gets")
        check(ext["producerGroup"], "a producer group")
        for ext in ({}, {"recallHandle": "x"}, {"recallHandle": handle, "topic": "Other"}):
            answer = client.call(RECALL_MESSAGE, ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"the answer to {ext}")


main()
