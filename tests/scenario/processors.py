#!/usr/bin/env python3
"""Requests of brokers reach the callers that registered for them"""

import json
import pathlib
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, answers
from remoting import (
    CHECK_TRANSACTION_STATE,
    GET_CONSUMER_RUNNING_INFO,
    GET_CONSUMER_STATUS_FROM_CLIENT,
    GET_STATS,
    HEART_BEAT,
    NOTIFY_CONSUMER_IDS_CHANGED,
    ONEWAY,
    PUSH_REPLY_MESSAGE_TO_CLIENT,
    REGISTER_PROCESSOR,
    REQUEST_CODE_NOT_SUPPORTED,
    ROCKETMQ,
    SYSTEM_ERROR,
    UNREGISTER_PROCESSOR,
)
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, test, wait_until


class Asking:
    """A broker that asks: sends requests on the connection of a heartbeat, and collects answers."""

    def __init__(self, on, connection=None):
        self.broker = on.broker
        if connection is None:
            connection = on.broker.wait_for(1, HEART_BEAT)[-1].connection
        self.connection = connection
        self.opaque = 5000

    def ask(self, code, ext=None, body=b"", flag=0):
        self.opaque += 1
        request = remoting.Command(code, ext or {}, body, self.opaque, flag, "JAVA", 513)
        self.connection.send_bytes(remoting.encode(request))
        return self.opaque

    def answer_to(self, opaque, timeout=5):
        def found():
            return [row for row in self.broker.seen() if row.is_response and row.opaque == opaque]

        wait_until(found, timeout, f"an answer to the broker's request {opaque}")
        return found()[0]


def register(client, codes, groups="", **more):
    ext = {"codes": codes, **({"groups": groups} if groups else {})}
    answer = client.call(REGISTER_PROCESSOR, ext, **more)
    equal((answer.code, answer.error), (0, None), f"the registration ({answer.remark})")
    return answer


def consumer(client_id, group):
    row = {"groupName": group, "consumeType": "CONSUME_ACTIVELY", "messageModel": "CLUSTERING"}
    row["subscriptionDataSet"] = [{"topic": "Orders", "subString": "*"}]
    return json.dumps({"clientID": client_id, "consumerDataSet": [row]}).encode()


def member(client, client_id="app@A", group="G"):
    equal(client.call(HEART_BEAT, {}, consumer(client_id, group)).code, 0, "the heartbeat")


def half_message(group, uniq_key="KEY1", topic="Orders"):
    """A stored message as CHECK_TRANSACTION_STATE carries it."""
    properties = f"PGROUP\x01{group}\x02UNIQ_KEY\x01{uniq_key}\x02TRAN_MSG\x01true\x02".encode()
    body = b"half"
    tail = struct.pack(">i", len(body)) + body + bytes([len(topic)]) + topic.encode()
    tail += struct.pack(">h", len(properties)) + properties
    fixed = struct.pack(">Iiii", 0xDAA320A7, 0, 0, 0) + struct.pack(">qqi", 1, 3684, 4)
    fixed += struct.pack(">q", 0) + bytes(8) + struct.pack(">q", 0) + bytes(8)
    fixed += struct.pack(">iq", 0, 0)
    return struct.pack(">i", 4 + len(fixed) + len(tail)) + fixed + tail


CHECK_EXT = {
    "bname": "broker-a",
    "commitLogOffset": "3684",
    "topic": "RMQ_SYS_TRANS_HALF_TOPIC",
    "msgId": "KEY1",
    "tranStateTableOffset": "1",
    "transactionId": "KEY1",
}


def next_request(client, timeout=5):
    request = client.receive(timeout=timeout)
    check(not request.is_response, f"a request comes, not the answer {request.code}")
    return request


def reply(client, request, code=0, ext=None, body=b"", **more):
    client.send_bytes(remoting.encode(remoting.response(request, code, ext, body, **more)))


@test
def a_request_reaches_the_caller_and_its_answer_goes_back_under_the_brokers_opaque():
    with stage() as on:
        client = on.client()
        member(client)
        register(client, "221", "G")
        asking = Asking(on)
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"topic": "T", "group": "G"}, b"what")
        request = next_request(client)
        equal(
            (request.code, request.ext["group"], request.body, request.is_oneway),
            (GET_CONSUMER_STATUS_FROM_CLIENT, "G", b"what", False),
            "the request at the caller",
        )
        equal(request.ext["sidecar.addr"], on.broker.address, "the broker that asks")
        reply(client, request, 0, {"x": "y", "sidecar.z": "1"}, b"status", remark="fine")
        answer = asking.answer_to(opaque)
        equal(
            (answer.code, answer.ext, answer.body, answer.remark),
            (0, {"x": "y"}, b"status", "fine"),
            "the answer at the broker",
        )


@test
def it_comes_in_the_header_form_of_the_registration():
    with stage() as on:
        client = on.client()
        member(client)
        register(client, "221", "G", serialize=ROCKETMQ)
        asking = Asking(on)
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        request = next_request(client)
        equal(request.serialize, ROCKETMQ, "the header form of the request")
        reply(client, request, serialize=ROCKETMQ)
        equal(asking.answer_to(opaque).serialize, remoting.JSON, "the header form at the broker")


@test
def several_callers_of_a_group_take_turns():
    with stage() as on:
        clients = [on.client() for _ in range(3)]
        for client in clients:
            register(client, "39", "P")
        asking = Asking(on)
        for _ in range(6):
            asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message("P"), ONEWAY)
        for client in clients:
            for _ in range(2):
                request = next_request(client)
                equal(
                    (request.code, request.is_oneway, request.ext["sidecar.group"]),
                    (CHECK_TRANSACTION_STATE, True, "P"),
                    "the check",
                )
                equal(
                    request.ext["sidecar.receipt"],
                    "t1~Orders~P~broker-a~1~3684~KEY1~KEY1~1",
                    "its receipt",
                )
        check(all(client.is_silent(0.1) for client in clients), "nobody gets more than its turn")


@test
def the_sender_of_a_half_message_is_asked_about_it_but_not_about_one_that_was_refused():
    with stage() as on:
        sender, other = on.client(), on.client()
        for client in (sender, other):
            register(client, "39", "P")
        ext = {"topic": "Orders", "producerGroup": "P", "sidecar.transaction": "half"}
        on.broker.on(remoting.SEND_MESSAGE, answers(SYSTEM_ERROR, remark="disk full"))
        ext["property.UNIQ_KEY"] = "REFUSED"
        equal(sender.call(remoting.SEND_MESSAGE, ext, b"x").code, SYSTEM_ERROR, "the refusal")
        on.broker.on(remoting.SEND_MESSAGE, answers(ext={"msgId": "0" * 32, "queueOffset": "1"}))
        ext["property.UNIQ_KEY"] = "STORED"
        equal(sender.call(remoting.SEND_MESSAGE, ext, b"x").code, 0, "the half message")
        asking = Asking(on)
        for _ in range(4):
            asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message("P", "STORED"), ONEWAY)
        for _ in range(4):
            next_request(sender)
        check(other.is_silent(0.1), "the other one is not asked about what is the sender's")
        for _ in range(4):
            asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message("P", "REFUSED"), ONEWAY)
        for client in (sender, other):
            for _ in range(2):
                next_request(client)


@test
def who_registers_for_checks_speaks_for_the_group():
    with stage() as on:
        client = on.client()
        register(client, "39", "P")
        beat = on.broker.wait_for(1, HEART_BEAT)[0].json()
        equal(beat["producerDataSet"], [{"groupName": "P"}], "the groups of the heartbeat")
        equal(client.call(UNREGISTER_PROCESSOR, {"codes": "39", "groups": "P"}).code, 0, "answer")
        gone = on.broker.wait_for(1, remoting.UNREGISTER_CLIENT)[0]
        equal(gone.ext["producerGroup"], "P", "the group that is unregistered")


@test
def a_members_connection_is_the_members():
    with stage() as on:
        first, second = on.client(), on.client()
        for client, client_id in ((first, "app@A"), (second, "app@B")):
            member(client, client_id)
            register(client, "40", "G")
        connections = {
            row.json()["clientID"]: row.connection for row in on.broker.seen(HEART_BEAT)
        }
        for client, client_id in ((first, "app@A"), (second, "app@B"), (second, "app@B")):
            asking = Asking(on, connections[client_id])
            asking.ask(NOTIFY_CONSUMER_IDS_CHANGED, {"consumerGroup": "G"}, flag=ONEWAY)
            request = next_request(client)
            equal(request.ext["consumerGroup"], "G", f"the notification of {client_id}")
        check(first.is_silent(0.1) and second.is_silent(0.1), "nobody hears the other's")


@test(deadline=40)
def who_does_not_answer_within_nine_seconds_gets_the_broker_an_error():
    with stage() as on:
        client = on.client()
        member(client)
        register(client, "221", "G")
        asking = Asking(on)
        began = time.monotonic()
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        request = next_request(client)
        answer = asking.answer_to(opaque, timeout=15)
        equal(answer.code, SYSTEM_ERROR, "the code at the broker")
        took = time.monotonic() - began
        check(8.5 < took < 14, f"seconds until then ({took:.1f})")
        reply(client, request, 0, body=b"late")
        is_own(on.call(client, "still"), "still")
        equal(len([row for row in on.broker.seen() if row.is_response]), 1, "answers at the broker")


@test
def a_slow_processor_delays_nothing_else():
    with stage() as on:
        slow, quick, other = on.client(), on.client(), on.client()
        member(slow, "app@A", "Slow")
        member(quick, "app@B", "Quick")
        register(slow, "221", "Slow")
        register(quick, "221", "Quick")
        connection = on.broker.seen(HEART_BEAT)[0].connection
        asking = Asking(on, connection)
        kept = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "Slow"})
        request = next_request(slow)
        began = time.monotonic()
        for n in range(20):
            opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "Quick"})
            reply(quick, next_request(quick), body=b"quick")
            equal(asking.answer_to(opaque).body, b"quick", "the quick one's answer")
            is_own(on.call(slow, f"own-{n}"), f"own-{n}", "an answer of the slow one's own")
            is_own(on.call(other, f"other-{n}"), f"other-{n}")
        less(time.monotonic() - began, 5, "seconds for all of them")
        reply(slow, request, body=b"slow")
        equal(asking.answer_to(kept).body, b"slow", "the slow one's answer, later")


@test
def a_caller_that_goes_away_gets_the_broker_an_error_at_once():
    with stage() as on:
        client, stays = on.client(), on.client()
        member(stays)
        register(client, "221", "G")
        asking = Asking(on)
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        next_request(client)
        began = time.monotonic()
        client.close()
        equal(asking.answer_to(opaque).code, SYSTEM_ERROR, "the code at the broker")
        less(time.monotonic() - began, 5, "seconds until then")
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        equal(
            asking.answer_to(opaque).code,
            REQUEST_CODE_NOT_SUPPORTED,
            "the code when nobody is registered any more",
        )


@test
def what_nobody_registered_for_is_answered_or_counted():
    with stage() as on:
        client = on.client()
        member(client)
        asking = Asking(on)
        for code in (220, 221, 309, 4711):
            opaque = asking.ask(code, {"group": "G", "consumerGroup": "G"})
            equal(asking.answer_to(opaque).code, REQUEST_CODE_NOT_SUPPORTED, f"{code}")
        before = client.call(GET_STATS).json()
        for code in (39, 40, 220, 4711):
            asking.ask(code, {"group": "G", "consumerGroup": "G"}, flag=ONEWAY)
        opaque = asking.ask(4711)
        asking.answer_to(opaque)
        after = client.call(GET_STATS).json()
        equal(
            after["brokerRequestsDropped"] - before["brokerRequestsDropped"],
            3,
            "dropped: all but 40, which the daemon deals with",
        )


@test
def the_running_info_of_a_member_is_told_by_the_daemon():
    with stage() as on:
        client = on.client()
        member(client)
        asking = Asking(on)
        ext = {"consumerGroup": "G", "clientId": "app@A", "jstackEnable": "false"}
        answer = asking.answer_to(asking.ask(GET_CONSUMER_RUNNING_INFO, ext))
        equal(answer.code, 0, "the code")
        info = answer.json()
        equal(info["subscriptionSet"][0]["topic"], "Orders", "its subscription")
        equal(info["properties"]["PROP_CONSUME_TYPE"], "CONSUME_ACTIVELY", "its way to consume")
        opaque = asking.ask(GET_CONSUMER_RUNNING_INFO, {**ext, "consumerGroup": "Other"})
        equal(asking.answer_to(opaque).code, REQUEST_CODE_NOT_SUPPORTED, "for a group it is not in")


@test
def an_answer_to_another_callers_request_is_dropped():
    with stage() as on:
        client, thief = on.client(), on.client()
        member(client)
        register(client, "221", "G")
        register(thief, "221", "Other")
        asking = Asking(on)
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        request = next_request(client)
        reply(thief, request, body=b"stolen")
        reply(client, request, body=b"mine")
        equal(asking.answer_to(opaque).body, b"mine", "the answer at the broker")
        reply(client, request, body=b"again")
        is_own(on.call(client, "after"), "after")
        equal(client.call(GET_STATS).json()["callerResponsesDropped"], 2, "answers dropped")


@test
def a_caller_with_too_many_of_them_is_passed_over():
    with stage({"limits": {"max_broker_requests_per_session": 2}}) as on:
        client = on.client()
        member(client)
        register(client, "221", "G")
        asking = Asking(on)
        opaques = [asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"}) for _ in range(3)]
        requests = [next_request(client) for _ in range(2)]
        equal(asking.answer_to(opaques[2]).code, remoting.SYSTEM_BUSY, "the third one's answer")
        for request in requests:
            reply(client, request)
        for opaque in opaques[:2]:
            equal(asking.answer_to(opaque).code, 0, "the first two are answered")


@test
def an_upstream_that_closed_takes_no_answer():
    with stage() as on:
        client = on.client()
        member(client)
        register(client, "221", "G")
        asking = Asking(on)
        asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        request = next_request(client)
        asking.connection.close()
        on.broker.wait_for(2, HEART_BEAT)
        reply(client, request, body=b"for nobody")
        is_own(on.call(client, "after"), "after")
        equal([row for row in on.broker.seen() if row.is_response], [], "answers at the broker")


@test
def answers_to_a_broker_that_asks_and_does_not_read_are_dropped_and_counted():
    reads_again = threading.Event()

    def take_and_read_no_more(connection, request):
        connection.answer(request)
        reads_again.wait(60)

    with stage({"limits": {"upstream_buffer": "1MiB"}}) as on:
        on.broker.on(HEART_BEAT, take_and_read_no_more)
        client, other = on.client(), on.client()
        member(client)
        register(client, "221", "G")
        asking = Asking(on)
        body = b"x" * 1_000_000

        def is_counted():
            asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
            reply(client, next_request(client), body=body)
            return other.call(GET_STATS).json()["brokerAnswersDropped"] > 0

        wait_until(is_counted, 30, "answers are dropped and counted")
        is_own(on.call(other, "meanwhile"), "meanwhile")
        reads_again.set()


@test
def a_request_of_the_broker_is_never_taken_for_an_answer():
    with stage() as on:
        client = on.client()
        member(client)
        register(client, "221", "G")
        held = Held()
        on.broker.on(remoting.GET_MAX_OFFSET, held)
        own = on.ask(client, "mine")
        connection, request = held.wait_for(1)[0]
        asking = Asking(on, connection)
        asking.opaque = request.opaque - 1
        opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": "G"})
        reply(client, next_request(client), body=b"status")
        equal(asking.answer_to(opaque).body, b"status", "the answer at the broker")
        connection.echo(request)
        is_own(client.receive(own), "mine")


@test
def a_registration_that_is_refused_registers_for_nothing():
    """One of the groups is one too many: neither it nor those before it are asked about"""
    with stage({"limits": {"max_groups": 2, "max_groups_per_session": 2}}) as on:
        stays, client = on.client(), on.client()
        register(stays, "39", "S")
        on.broker.wait_for(1, HEART_BEAT)
        answer = client.call(REGISTER_PROCESSOR, {"codes": "221,39", "groups": "P,Q"})
        is_failure(answer, "overloaded", 2)
        check("limits.max_groups" in answer.remark, answer.remark)
        wait_until(
            lambda: "P" not in str(on.broker.seen(HEART_BEAT)[-1].body), 5, "P is not spoken for"
        )
        asking = Asking(on)
        for group in ("P", "Q"):
            asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message(group), ONEWAY)
            opaque = asking.ask(GET_CONSUMER_STATUS_FROM_CLIENT, {"group": group})
            equal(asking.answer_to(opaque).code, REQUEST_CODE_NOT_SUPPORTED, f"221 for {group}")
        check(client.is_silent(0.2), "the caller whose registration failed is asked nothing")
        asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message("S"), ONEWAY)
        equal(next_request(stays).ext["sidecar.group"], "S", "the one that stays is asked")
        # There is room for one, and what it was registered for before a failure stays.
        register(client, "39", "P")
        answer = client.call(REGISTER_PROCESSOR, {"codes": "39", "groups": "P,Q"})
        is_failure(answer, "overloaded", 2)
        asking.ask(CHECK_TRANSACTION_STATE, CHECK_EXT, half_message("P"), ONEWAY)
        equal(next_request(client).ext["sidecar.group"], "P", "what it was registered for")


@test
def what_is_wrong_with_a_registration_is_named():
    with stage({"limits": {"max_processors_per_session": 2}}) as on:
        client = on.client()
        wrong = [
            ({}, "codes"),
            ({"codes": "10"}, "codes"),
            ({"codes": "39"}, "groups"),
            ({"codes": "221", "groups": "a b"}, "groups"),
            ({"codes": "326", "groups": "G"}, "without groups"),
        ]
        for ext, word in wrong:
            answer = client.call(REGISTER_PROCESSOR, ext)
            is_failure(answer, "invalid", 13, what=f"the answer to {ext}")
            check(word in answer.remark, f"it names {word} ({answer.remark})")
        answer = client.call(REGISTER_PROCESSOR, {"codes": "220,221", "groups": "G,H"})
        is_failure(answer, "overloaded", 2)
        check("limits.max_processors_per_session" in answer.remark, answer.remark)


main()
