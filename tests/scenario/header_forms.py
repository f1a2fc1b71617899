#!/usr/bin/env python3
"""Each caller gets the header form that it uses, and brokers only see JSON"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import echo, echo_binary
from remoting import GET_MAX_OFFSET, JSON, POP_MESSAGE, ROCKETMQ, SIDECAR
from scenario import is_own, stage
from tap import check, equal, main, test


@test
def the_answer_has_the_form_of_the_request_whatever_the_broker_uses():
    with stage() as on:
        for behaviour in (echo, echo_binary):
            on.broker.on(GET_MAX_OFFSET, behaviour)
            client = on.client()
            for n, serialize in enumerate((JSON, ROCKETMQ, JSON, ROCKETMQ)):
                answer = on.call(client, n, {"text": "grün"}, b"\x00\xff", serialize=serialize)
                is_own(answer, n)
                equal(answer.serialize, serialize, "the header form")
                equal(
                    (answer.ext["echo.text"], answer.body), ("grün", b"\x00\xff"), "text and body"
                )


@test
def brokers_see_json_a_recent_version_the_callers_language_and_none_of_our_fields():
    with stage() as on:
        for serialize in (JSON, ROCKETMQ):
            for language in ("PYTHON", "PHP", "RUST"):
                client = on.client()
                answer = on.call(
                    client,
                    "x",
                    {"sidecar.timeoutMillis": 2000},
                    serialize=serialize,
                    language=language,
                    version=0,
                )
                is_own(answer, "x")
                request = on.broker.seen()[-1]
                equal(
                    (request.serialize, request.language),
                    (JSON, language),
                    "header form and language at the broker",
                )
                check(
                    request.version >= 479,
                    f"the version at the broker is at least 479 (saw {request.version})",
                )
                equal(request.ext, {"token": "x"}, "the ext fields at the broker")


@test
def a_code_that_does_not_fit_into_a_binary_header_is_named_in_a_field():
    with stage() as on:
        client = on.client(serialize=ROCKETMQ)
        ext = {"sidecar.code": str(POP_MESSAGE), "sidecar.addr": on.broker.address, "token": "big"}
        answer = client.call(SIDECAR, ext)
        is_own(answer, "big")
        equal(answer.serialize, ROCKETMQ, "the header form")
        request = on.broker.seen()[-1]
        equal(
            (request.code, request.ext),
            (POP_MESSAGE, {"token": "big"}),
            "code and ext fields at the broker",
        )


@test
def numbers_and_booleans_are_taken_as_their_text_and_null_as_absent():
    with stage() as on:
        client = on.client()
        fields = (
            '"token":17,"yes":true,"no":false,"gone":null,"sidecar.addr":"%s"' % on.broker.address
        )
        header = '{"code":30,"opaque":4,"extFields":{%s}}' % fields
        client.send_bytes(remoting.frame(header.encode()))
        is_own(client.receive(4), 17)
        request = on.broker.seen()[-1]
        equal(
            request.ext,
            {"token": "17", "yes": "true", "no": "false"},
            "the ext fields at the broker",
        )


main()
