#!/usr/bin/env python3
"""Requests that come from a broker"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held
from remoting import GET_MAX_OFFSET, ONEWAY, REQUEST_CODE_NOT_SUPPORTED
from scenario import is_own, stage
from tap import check, equal, main, test, wait_until


def responses(broker):
    return [row for row in broker.seen() if row.is_response]


@test
def an_unknown_request_is_answered_with_code_3_and_is_not_taken_for_an_answer():
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "mine")
        connection, request = held.wait_for(1)[0]
        # The broker's own counter overlaps ours: the very opaque that is in flight.
        connection.send_bytes(
            remoting.encode(remoting.Command(7777, {"x": "y"}, b"z", request.opaque, 0, "JAVA"))
        )
        wait_until(lambda: responses(on.broker), 5, "an answer to the broker's request")
        answer = responses(on.broker)[0]
        equal(
            (answer.code, answer.opaque),
            (REQUEST_CODE_NOT_SUPPORTED, request.opaque),
            "code and opaque of the answer",
        )
        check(client.is_silent(0.1), "the caller is told nothing of it")
        connection.echo(request)
        is_own(client.receive(opaque), "mine")


@test
def a_oneway_request_is_dropped_without_an_answer():
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "mine")
        connection, request = held.wait_for(1)[0]
        for code in (40, 39, 7777):
            command = remoting.Command(
                code, {"consumerGroup": "g"}, b"", request.opaque, ONEWAY, "JAVA"
            )
            connection.send_bytes(remoting.encode(command))
        connection.echo(request)
        is_own(client.receive(opaque), "mine")
        equal(responses(on.broker), [], "answers to oneway requests")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def none_of_those_that_brokers_send_is_taken_for_an_answer():
    """
    NOTIFY_CONSUMER_IDS_CHANGED, CHECK_TRANSACTION_STATE, reset and status of a consumer, its
    running info, a message to consume directly: with the opaque of a request that is in flight.
    """
    with stage() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "mine")
        connection, request = held.wait_for(1)[0]
        codes = (40, 39, 220, 221, 307, 309)
        ext = {"consumerGroup": "g", "topic": "t", "timestamp": "0", "echo.token": "strange"}
        for code in codes:
            for flag in (0, ONEWAY):
                command = remoting.Command(code, ext, b"strange", request.opaque, flag, "JAVA")
                connection.send_bytes(remoting.encode(command))
        # An answer that is marked oneway, too, and answers nothing that was asked.
        flag = remoting.RESPONSE | ONEWAY
        command = remoting.Command(0, ext, b"strange", request.opaque ^ 0x10000, flag, "JAVA")
        connection.send_bytes(remoting.encode(command))
        connection.echo(request)
        is_own(client.receive(opaque), "mine")
        check(client.is_silent(0.1), "there is nothing else for the caller")
        check(len(responses(on.broker)) <= len(codes), "oneway requests are not answered")
        equal(
            {row.opaque for row in responses(on.broker)},
            {request.opaque},
            "the opaques of the answers to the broker",
        )
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
