#!/usr/bin/env python3
"""BATCH_ACK by receipts: each goes to its own broker, and the caller is told what became of each"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers, close
from remoting import ACK_MESSAGE, BATCH_ACK_MESSAGE, MESSAGE_ILLEGAL
from scenario import is_failure, two_brokers
from tap import check, equal, main, test

NO_MESSAGE = 208


def receipt(broker, offset, group="GID", retry=0):
    return f"r1~Orders~{group}~{broker}~2~{offset}~5~1700000000000~60000~7~{retry}"


def batch(client, receipts, **more):
    return client.call(BATCH_ACK_MESSAGE, body=json.dumps(receipts).encode(), **more)


@test
def each_receipt_is_acknowledged_at_its_broker_and_told_of_in_its_place():
    with two_brokers() as (running, a, b):
        b.on(ACK_MESSAGE, answers(NO_MESSAGE, remark="offset is illegal"))
        receipts = [
            receipt("broker-a", 6),
            "nonsense",
            receipt("broker-b", 7),
            receipt("broker-a", 8, retry=2),
            17,
            receipt("broker-c", 9),
        ]
        answer = batch(running.client(), receipts)
        equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
        rows = answer.json()
        equal([row["receipt"] for row in rows], receipts, "the receipts in the answer")
        equal(
            [row["code"] for row in rows],
            [0, MESSAGE_ILLEGAL, NO_MESSAGE, 0, MESSAGE_ILLEGAL, 10003],
            "what became of them",
        )
        equal(
            [row.get("error") for row in rows],
            [None, "invalid", None, None, "invalid", "no-broker"],
            "whose failures they are",
        )
        equal(rows[2]["remark"], "offset is illegal", "the broker's remark")
        check("broker-c" in rows[5]["remark"], "the remark names the broker that nobody knows")
        seen = a.seen(ACK_MESSAGE)
        info = "5 1700000000000 60000 7 {} broker-a 2 {}"
        equal(
            [(row.ext["topic"], row.ext["extraInfo"]) for row in seen],
            [
                ("Orders", info.format(0, 6)),
                ("%RETRY%GID+Orders", info.format(2, 8)),
            ],
            "what broker-a was sent",
        )
        equal(
            [seen[0].ext[key] for key in ("consumerGroup", "queueId", "offset", "bname")],
            ["GID", "2", "6", "broker-a"],
            "the rest of the first",
        )
        equal(len(b.seen(ACK_MESSAGE)), 1, "acknowledgements at broker-b")


@test
def a_broker_that_breaks_the_connection_is_told_for_its_receipts_alone():
    with two_brokers() as (running, a, b):
        b.on(ACK_MESSAGE, close)
        rows = batch(
            running.client(), [receipt("broker-b", 1), receipt("broker-a", 2)]
        ).json()
        equal([row.get("error") for row in rows], ["connection-lost", None], "the failures")


@test
def bodies_that_are_no_array_of_receipts_are_invalid():
    with two_brokers() as (running, a, b):
        client = running.client()
        for body in (b"", b"[]", b"{}", b"[", b'"r1"', b'["x"' * 3, b"\xff\xfe", b"[1] [2]"):
            answer = client.call(BATCH_ACK_MESSAGE, body=body)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"the answer to {body}")
        is_failure(batch(client, ["x"] * 1025), "invalid", MESSAGE_ILLEGAL, what="1,025 receipts")
        is_failure(batch(client, ["x" * 2000] * 1024), "invalid", MESSAGE_ILLEGAL, what="2 MB")
        equal(len(batch(client, ["x"] * 1024).json()), 1024, "rows for as many as there may be")
        nested = batch(client, [receipt("broker-a", 1), [[]] * 2000])
        is_failure(nested, "invalid", MESSAGE_ILLEGAL, what="few elements of many values")


@test
def a_body_of_rocketmqs_own_passes_through_to_the_broker_that_is_named():
    with two_brokers() as (running, a, b):
        body = b'{"acks":[],"brokerName":"broker-b"}'
        ext = {"sidecar.broker": "broker-b"}
        answer = running.client().call(BATCH_ACK_MESSAGE, ext, body)
        equal((answer.code, answer.body), (0, body), "the broker's own answer")
        equal([row.body for row in b.seen(BATCH_ACK_MESSAGE)], [body], "what the broker was sent")


@test
def a_caller_that_goes_while_its_receipts_are_under_way_leaves_nothing_behind():
    with two_brokers() as (running, a, b):
        held = Held()
        a.on(ACK_MESSAGE, held)
        gone = running.client()
        receipts = [receipt("broker-a", n) for n in range(300)]
        gone.send(BATCH_ACK_MESSAGE, body=json.dumps(receipts).encode())
        waiting = held.wait_for(300)
        gone.close()
        for connection, request in waiting:
            connection.answer(request)
        a.on(ACK_MESSAGE, answers())
        rows = batch(running.client(), receipts).json()
        equal([row["code"] for row in rows], [0] * 300, "what the next one is told")


@test
def more_receipts_than_may_be_in_flight_are_refused():
    limits = {"max_in_flight": 16, "max_in_flight_per_session": 16}
    with two_brokers(settings={"limits": limits}) as (running, a, b):
        receipts = [receipt("broker-a", n) for n in range(16)]
        answer = batch(running.client(), receipts)
        is_failure(answer, "overloaded", 2, "no")
        equal(len(batch(running.client(), receipts[:15]).json()), 15, "rows of one that fits")


@test
def sent_oneway_it_acknowledges_and_is_not_answered():
    with two_brokers() as (running, a, b):
        client = running.client()
        body = json.dumps([receipt("broker-a", 1), receipt("broker-b", 2)]).encode()
        client.send(BATCH_ACK_MESSAGE, body=body, oneway=True)
        a.wait_for(1, ACK_MESSAGE)
        b.wait_for(1, ACK_MESSAGE)
        check(client.is_silent(0.2), "no answer comes")


main()
