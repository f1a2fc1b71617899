#!/usr/bin/env python3
"""A request message gets its reply on the same call, and a caller can serve requests"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, answers, silence
from remoting import (
    GET_STATS,
    HEART_BEAT,
    PUSH_REPLY_MESSAGE_TO_CLIENT,
    REGISTER_PROCESSOR,
    REQUEST_CODE_NOT_SUPPORTED,
    ROCKETMQ,
    SEND_MESSAGE,
    SEND_MESSAGE_V2,
    SEND_REPLY_MESSAGE,
    SEND_REPLY_MESSAGE_V2,
    SYSTEM_ERROR,
)
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until

STORED = {"msgId": "7F000001000051AF0000000000001285", "queueId": "0", "queueOffset": "3"}


def properties_of(request, field="properties"):
    rows = [row.split("\x01", 1) for row in request.ext[field].split("\x02") if row]
    return dict(rows)


def properties_text(properties):
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items())


def request_ext(**more):
    return {"topic": TOPIC, "sidecar.request": "true", **more}


def push_ext(correlation_id, **more):
    """As a broker pushes the reply of a Java consumer."""
    properties = {"MSG_TYPE": "reply", "CORRELATION_ID": correlation_id, "TTL": "3000"}
    return {
        "producerGroup": "ReplyProducer",
        "topic": "C_REPLY_TOPIC",
        "queueId": "0",
        "sysFlag": "0",
        "flag": "7",
        "reconsumeTimes": "0",
        "bornTimestamp": "1795400044388",
        "storeTimestamp": "1795400044390",
        "bornHost": "127.0.0.1:45228",
        "storeHost": "127.0.0.2:20911",
        "properties": properties_text({**properties, **more}),
    }


class Replying:
    """The broker's side of a reply: pushes on the connection that the daemon heartbeats on."""

    def __init__(self, on):
        self.on = on
        self.opaque = 9000

    def push(self, correlation_id, body=b"the reply", **more):
        connection = self.on.broker.wait_for(1, HEART_BEAT)[-1].connection
        self.opaque += 1
        request = remoting.Command(
            PUSH_REPLY_MESSAGE_TO_CLIENT,
            push_ext(correlation_id, **more),
            body,
            self.opaque,
            0,
            "JAVA",
            513,
        )
        connection.send_bytes(remoting.encode(request))
        return self.opaque

    def answer_to(self, opaque):
        def found():
            rows = self.on.broker.seen()
            return [row for row in rows if row.is_response and row.opaque == opaque]

        wait_until(found, 10, f"an answer to the push {opaque}")
        return found()[0]


def stored_request(on, n=1):
    return on.broker.wait_for(n, SEND_MESSAGE)[n - 1]


@test
def the_reply_is_the_answer_to_the_send():
    for serialize in (remoting.JSON, ROCKETMQ):
        with stage() as on:
            on.broker.on(SEND_MESSAGE, answers(ext=STORED))
            client = on.client(serialize=serialize)
            opaque = client.send(SEND_MESSAGE, request_ext(), b"what time is it?")
            properties = properties_of(stored_request(on))
            equal(len(properties["CORRELATION_ID"]), 32, "characters of the correlation id")
            check(0 < int(properties["TTL"]) <= 3000, f"TTL is the deadline ({properties})")
            beat = on.broker.seen(HEART_BEAT)[0].json()
            equal(properties["REPLY_TO_CLIENT"], beat["clientID"], "where the reply goes")
            check(client.is_silent(0.2), "the send's own answer is no answer to the caller")
            replying = Replying(on)
            pushed = replying.push(properties["CORRELATION_ID"], b"noon", KEYS="k")
            answer = client.receive(opaque)
            equal((answer.code, answer.error, answer.body), (0, None, b"noon"), "the answer")
            equal(answer.ext["sidecar.uniqKey"], properties["UNIQ_KEY"], "sidecar.uniqKey")
            equal(answer.ext["brokerName"], "broker-a", "brokerName")
            equal(properties_of(answer)["KEYS"], "k", "a property of the reply")
            equal(replying.answer_to(pushed).code, 0, "what the broker hears about its push")
            stats = client.call(GET_STATS).json()
            equal((stats["replies"], stats["repliesLate"]), (1, 0), "replies, repliesLate")


@test
def brokers_know_where_replies_go_before_the_first_request_and_the_next_ones_do_not_wait():
    with stage() as on:
        on.broker.on(SEND_MESSAGE, answers(ext=STORED))
        beats = Held()
        on.broker.on(HEART_BEAT, beats)
        client = on.client()
        client.send(SEND_MESSAGE, request_ext(), b"x")
        connection, beat = beats.wait_for(1)[0]
        equal(on.broker.seen(SEND_MESSAGE), [], "sends while no broker knows")
        equal(beat.json()["producerDataSet"], [{"groupName": "remotingd"}], "the group it says")
        connection.answer(beat)
        stored_request(on)
        client.close()
        other = on.client()
        other.send(SEND_MESSAGE, request_ext(), b"y")
        stored_request(on, 2)
        equal(len(beats.waiting), 1, "heartbeats for both")


@test
def a_reply_that_comes_before_the_answer_to_the_send_counts():
    with stage() as on:
        held = Held()
        on.broker.on(SEND_MESSAGE, held)
        client = on.client()
        opaque = client.send(SEND_MESSAGE, request_ext(), b"x")
        connection, request = held.wait_for(1)[0]
        Replying(on).push(properties_of(request)["CORRELATION_ID"], b"early")
        equal(client.receive(opaque).body, b"early", "the answer")
        connection.answer(request, ext=STORED)
        is_own(on.call(client, "after"), "after")


@test
def without_a_reply_the_call_ends_at_its_one_deadline_and_a_late_one_is_counted():
    with stage() as on:
        on.broker.on(SEND_MESSAGE, answers(ext=STORED))
        client = on.client()
        ext = request_ext(**{"sidecar.timeoutMillis": "700"})
        answer = client.call(SEND_MESSAGE, ext, b"x")
        is_failure(answer, "timeout", 10006, "maybe")
        contains(answer.remark, "no reply came", "the remark")
        check(answer.ext["sidecar.uniqKey"], "the failure tells the uniq key")
        request = stored_request(on)
        less(int(properties_of(request)["TTL"]), 701, "TTL")
        replying = Replying(on)
        pushed = replying.push(properties_of(request)["CORRELATION_ID"])
        equal(replying.answer_to(pushed).code, 0, "what the broker hears, as from Java's client")
        check(client.is_silent(0.1), "the caller hears nothing of it")
        stats = client.call(GET_STATS).json()
        equal((stats["replies"], stats["repliesLate"]), (0, 1), "replies, repliesLate")


@test
def each_reply_goes_to_its_own_request_and_a_second_one_to_nobody():
    with stage() as on:
        on.broker.on(SEND_MESSAGE, answers(ext=STORED))
        clients = [on.client() for _ in range(8)]
        opaques = [
            client.send(SEND_MESSAGE, request_ext(), f"{n}".encode())
            for n, client in enumerate(clients)
        ]
        requests = on.broker.wait_for(len(clients), SEND_MESSAGE)
        replying = Replying(on)
        pushed = 0
        for request in reversed(requests):
            for _ in range(2):
                pushed = replying.push(
                    properties_of(request)["CORRELATION_ID"], b"to " + request.body
                )
        for n, (client, opaque) in enumerate(zip(clients, opaques)):
            equal(client.receive(opaque).body, f"to {n}".encode(), f"the reply to {n}")
        replying.answer_to(pushed)
        stats = clients[0].call(GET_STATS).json()
        equal((stats["replies"], stats["repliesLate"]), (8, 8), "replies, repliesLate")


@test
def a_request_that_was_not_stored_is_answered_as_the_broker_did():
    with stage() as on:
        on.broker.on(SEND_MESSAGE, answers(SYSTEM_ERROR, remark="disk full"))
        answer = on.client().call(SEND_MESSAGE, request_ext(), b"x")
        equal((answer.code, answer.remark, answer.error), (1, "disk full", None), "the answer")


@test
def where_no_broker_hears_where_the_reply_goes_nothing_is_sent():
    with stage() as on:
        on.broker.on(HEART_BEAT, answers(SYSTEM_ERROR, remark="no clients today"))
        answer = on.client().call(SEND_MESSAGE, request_ext(), b"x")
        check(answer.error, f"it fails ({answer.remark})")
        equal(answer.ext["sidecar.sent"], "no", "sidecar.sent")
        contains(answer.remark, "no clients today", "the remark")
        on.broker.on(HEART_BEAT, silence)
        equal(on.broker.seen(SEND_MESSAGE), [], "sends")


@test
def in_json_the_reply_is_a_message_whose_body_is_decompressed():
    import zlib

    with stage() as on:
        on.broker.on(SEND_MESSAGE, answers(ext=STORED))
        client = on.client()
        ext = request_ext(**{"sidecar.answerFormat": "json"})
        opaque = client.send(SEND_MESSAGE, ext, b"x")
        push = push_ext(properties_of(stored_request(on))["CORRELATION_ID"], KEYS="k", color="red")
        push["sysFlag"] = "1"
        connection = on.broker.seen(HEART_BEAT)[-1].connection
        request = remoting.Command(326, push, zlib.compress(b"plain " * 500), 77, 0, "JAVA", 513)
        connection.send_bytes(remoting.encode(request))
        rows = client.receive(opaque).json()
        equal(len(rows), 1, "messages")
        row = rows[0]
        equal((row["body"], row["encoding"]), ("plain " * 500, "utf-8"), "the body")
        equal((row["topic"], row["keys"], row["flag"]), ("C_REPLY_TOPIC", "k", 7), "what it says")
        equal(row["properties"]["color"], "red", "a property")
        equal(row["bornHost"], "127.0.0.1:45228", "bornHost")
        check("queueOffset" not in row and "receipt" not in row, f"it lies in no queue ({row})")


@test
def a_reply_needs_only_the_receipt_of_its_request_and_a_body():
    receipt = "q1~C~corr-1~10.0.0.1@7#8~2500"
    for code, topic, text in (
        (SEND_REPLY_MESSAGE, "topic", "properties"),
        (SEND_REPLY_MESSAGE_V2, "b", "i"),
    ):
        with stage() as on:
            on.broker.on(code, answers(ext=STORED))
            answer = on.client().call(code, {"sidecar.receipt": receipt}, b"noon")
            equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")
            reply = on.broker.wait_for(1, code)[0]
            equal((reply.ext[topic], reply.body), ("C_REPLY_TOPIC", b"noon"), "the reply")
            properties = properties_of(reply, text)
            wanted = {
                "MSG_TYPE": "reply",
                "CORRELATION_ID": "corr-1",
                "REPLY_TO_CLIENT": "10.0.0.1@7#8",
                "TTL": "2500",
            }
            equal({name: properties[name] for name in wanted}, wanted, "its properties")


@test
def what_makes_no_request_and_no_reply_is_refused_in_words():
    with stage() as on:
        client = on.client()
        for code, ext, word in (
            (SEND_MESSAGE, request_ext(**{"sidecar.request": "yes"}), "true is accepted"),
            (SEND_MESSAGE, request_ext(**{"property.TTL": "5"}), "the daemon writes it"),
            (
                SEND_MESSAGE,
                request_ext(**{"sidecar.transaction": "half", "producerGroup": "P"}),
                "neither oneway nor half",
            ),
            (SEND_REPLY_MESSAGE, {"sidecar.receipt": "r1~x"}, "no receipt of a request message"),
            (SEND_REPLY_MESSAGE, {"topic": "C_REPLY_TOPIC"}, "needs sidecar.receipt"),
            (SEND_REPLY_MESSAGE, {}, "sidecar.receipt or the ext field topic"),
            (
                SEND_REPLY_MESSAGE,
                {"topic": "Other", "sidecar.receipt": "q1~C~corr-1~client~0"},
                "what was given back says 'C_REPLY_TOPIC'",
            ),
        ):
            answer = client.call(code, ext, b"x")
            is_failure(answer, "invalid", 13, "no", f"the answer to {ext}")
            contains(answer.remark, word, "the remark")
        equal(on.broker.seen(SEND_MESSAGE, SEND_MESSAGE_V2, SEND_REPLY_MESSAGE), [], "sends")


@test
def a_caller_that_wrote_where_replies_go_itself_gets_them_by_registering():
    with stage() as on:
        client = on.client()
        equal(client.call(REGISTER_PROCESSOR, {"codes": "326"}).code, 0, "the registration")
        equal(
            client.call(HEART_BEAT, {}, json.dumps(
                {"clientID": "x", "producerDataSet": [{"groupName": "G"}]}
            ).encode()).code,
            0,
            "the heartbeat",
        )
        Replying(on).push("its own", b"for the registered")
        push = client.receive()
        equal((push.code, push.body), (326, b"for the registered"), "what it gets")
        client.send_bytes(remoting.encode(remoting.response(push, REQUEST_CODE_NOT_SUPPORTED)))


main()
