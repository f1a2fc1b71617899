#!/usr/bin/env python3
"""Half messages are decided by their receipt, or by who the broker asks"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import (
    CHECK_TRANSACTION_STATE,
    END_TRANSACTION,
    JSON,
    REGISTER_PROCESSOR,
    ROCKETMQ,
    SEND_MESSAGE,
)
from rocketmq_story import daemon, new_topic, receive, receive_all, succeeded
from scenario import is_failure
from tap import check, contains, equal, main, test

COMMIT, ROLLBACK = "8", "12"
CHECK_SECONDS = 40  # it asks about what is older than 6 s, every 5 s


def half(client, topic, body, group="Deciders"):
    ext = {"topic": topic, "producerGroup": group, "sidecar.transaction": "half"}
    answer = succeeded(client.call(SEND_MESSAGE, ext, body), "the half message")
    check(answer.ext.get("sidecar.receipt"), f"it has a receipt (saw {answer.ext})")
    return answer.ext["sidecar.receipt"]


def decide(client, receipt, decision):
    ext = {"sidecar.receipt": receipt, "commitOrRollback": decision}
    return succeeded(client.call(END_TRANSACTION, ext), "the decision")


@test
def a_half_message_is_seen_by_nobody_until_it_is_committed_and_never_when_rolled_back():
    topic = new_topic()
    with daemon() as running:
        for serialize in (JSON, ROCKETMQ):
            client = running.client(serialize=serialize)
            kept = half(client, topic, f"kept {serialize}".encode())
            dropped = half(client, topic, b"dropped")
            equal(receive(client, topic, "Readers", poll_millis=500), [], "what readers see")
            decide(client, dropped, ROLLBACK)
            decide(client, kept, COMMIT)
            rows = receive_all(client, topic, "Readers", 1)
            equal([row["body"] for row in rows], [f"kept {serialize}"], "what readers see")
        equal(receive(client, topic, "Readers", poll_millis=500), [], "what readers see after it")


@test
def the_broker_asks_a_caller_of_the_group_that_came_after_the_sender_went():
    topic = new_topic()
    with daemon() as running:
        sender = running.client()
        succeeded(
            sender.call(REGISTER_PROCESSOR, {"codes": "39", "groups": "Forgetful"}), "registering"
        )
        half(sender, topic, b"asked about", group="Forgetful")
        sender.close()
        decider = running.client()
        succeeded(
            decider.call(REGISTER_PROCESSOR, {"codes": "39", "groups": "Forgetful"}), "registering"
        )
        question = decider.receive(timeout=CHECK_SECONDS)
        equal(question.code, CHECK_TRANSACTION_STATE, "the code of the broker's question")
        equal(question.ext.get("sidecar.group"), "Forgetful", "sidecar.group")
        decide(decider, question.ext["sidecar.receipt"], COMMIT)
        rows = receive_all(running.client(), topic, "Readers", 1)
        equal([row["body"] for row in rows], ["asked about"], "what readers see")


@test
def what_cannot_be_a_half_message_is_refused_in_words():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        undecided = half(client, topic, b"x")
        half_ext = {"topic": topic, "sidecar.transaction": "half"}
        for ext, word in (
            (half_ext, "producerGroup"),
            ({**half_ext, "producerGroup": "remotingd"}, "not the shared 'remotingd'"),
            ({**half_ext, "sidecar.transaction": "yes"}, "half is accepted"),
        ):
            answer = client.call(SEND_MESSAGE, ext, b"x")
            is_failure(answer, "invalid", 13, "no")
            contains(answer.remark, word, "the remark")
        for ext, word in (
            ({"sidecar.receipt": "nonsense", "commitOrRollback": COMMIT}, "no receipt of a half"),
            ({"sidecar.receipt": undecided, "commitOrRollback": "9"}, "8 (commit)"),
            ({"commitOrRollback": COMMIT}, "sidecar.receipt"),
        ):
            answer = client.call(END_TRANSACTION, ext)
            is_failure(answer, "invalid", 13, "no")
            contains(answer.remark, word, "the remark")
        decide(client, undecided, ROLLBACK)


main()
