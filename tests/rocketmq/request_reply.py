#!/usr/bin/env python3
"""Request messages are answered between local processes, and between Java and a local process"""

import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from java_client import JavaClient
from remoting import (
    ACK_MESSAGE,
    GET_STATS,
    JSON,
    ROCKETMQ,
    SEND_MESSAGE,
    SEND_REPLY_MESSAGE,
    SEND_REPLY_MESSAGE_V2,
)
from rocketmq_story import cluster, daemon, new_topic, receive, succeeded, uses
from scenario import is_failure
from tap import check, contains, equal, main, test, wait_until

TIMEOUT = {"sidecar.timeoutMillis": "20000"}


class Serving:
    """A local program of its own connection that answers requests until the story ends."""

    def __init__(self, running, topic, group, *, code=SEND_REPLY_MESSAGE, serialize=JSON, delay=0):
        self.client = running.client(serialize=serialize)
        self.topic, self.group, self.code, self.delay = topic, group, code, delay
        self.is_over = threading.Event()
        self.answers = []
        self.problems = []
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join(30)
        self.client.close()
        equal(self.problems, [], "what went wrong at the server")

    def _serve(self):
        try:
            while not self.is_over.is_set():
                for row in receive(self.client, self.topic, self.group, poll_millis=1000):
                    self.is_over.wait(self.delay)
                    body = f"re: {row['body']}".encode()
                    ext = {"sidecar.receipt": row["replyReceipt"]}
                    self.answers.append(self.client.call(self.code, ext, body))
                    succeeded(
                        self.client.call(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}), "ACK"
                    )
        except Exception as problem:
            self.problems.append(repr(problem))


def ask(client, topic, text, **more):
    return client.call(
        SEND_MESSAGE,
        {"topic": topic, "sidecar.request": "true", **TIMEOUT, **more},
        text.encode(),
        timeout=30,
    )


@test
@uses("requests and replies", "POP, ACK, receipts")
def a_local_process_asks_and_another_one_answers():
    for code, serialize in ((SEND_REPLY_MESSAGE, JSON), (SEND_REPLY_MESSAGE_V2, ROCKETMQ)):
        topic = new_topic()
        with daemon() as asking, daemon() as serving:
            with Serving(serving, topic, "Servers", code=code, serialize=serialize) as server:
                client = asking.client(serialize=serialize)
                for n in range(10):
                    answer = succeeded(ask(client, topic, f"question {n}"), f"the reply to {n}")
                    equal(answer.body, f"re: question {n}".encode(), f"the reply to {n}")
                    check(answer.ext["sidecar.uniqKey"], "its uniq key")
                for answer in server.answers:
                    succeeded(answer, "what the broker says of a reply")
            stats = client.call(GET_STATS).json()
            equal((stats["replies"], stats["repliesLate"]), (10, 0), "replies, repliesLate")


@test
@uses("requests and replies", "POP, ACK, receipts")
def many_ask_at_once_through_one_daemon_and_each_gets_its_own():
    topic = new_topic()
    with daemon() as running:
        with Serving(running, topic, "Servers"):
            client = running.client()
            ext = {"topic": topic, "sidecar.request": "true", **TIMEOUT}
            opaques = {
                client.send(SEND_MESSAGE, ext, f"n{n}".encode()): f"re: n{n}" for n in range(100)
            }
            for opaque, answer in client.gather(list(opaques), timeout=30).items():
                equal(succeeded(answer).body.decode(), opaques[opaque], "the reply")


@test
@uses("requests and replies", "POP, ACK, receipts")
def java_asks_and_a_local_process_answers():
    topic = new_topic()
    with daemon() as running, Serving(running, topic, "Servers"):
        with JavaClient("request", ";".join(cluster().nameservers()), topic, 20000) as java:
            for n in range(3):
                java.say(f"java {n}")
                java.wait_for("reply", n=n + 1)
            equal(java.said("reply"), [f"re: java {n}" for n in range(3)], "what Java was told")
            equal(java.said("failed"), [], "its failures")


@test
@uses("requests and replies", "POP, ACK, receipts")
def a_local_process_asks_and_java_answers():
    topic = new_topic()
    with JavaClient("reply", ";".join(cluster().nameservers()), topic, "JavaServers") as java:
        with daemon() as running:
            client = running.client()
            # Java's consumer may need another round until it has its share of the queues.
            soon = {"sidecar.timeoutMillis": "3000"}
            wait_until(lambda: ask(client, topic, "ready?", **soon).error is None, 60, "Java's reply")
            for n in range(3):
                answer = succeeded(ask(client, topic, f"local {n}"), f"the reply to {n}")
                equal(answer.body.decode(), f"re: local {n}", f"the reply to {n}")
            rows = ask(client, topic, "as JSON", **{"sidecar.answerFormat": "json"}).json()
            equal([row["body"] for row in rows], ["re: as JSON"], "the reply in JSON")
            equal(rows[0]["properties"]["MSG_TYPE"], "reply", "its type")
            large = "x" * 9000
            rows = ask(client, topic, large, **{"sidecar.answerFormat": "json"}).json()
            equal(rows[0]["body"], f"re: {large}", "a reply that Java compressed")
        equal(java.said("failed"), [], "its failures")


@test
@uses("requests and replies", "POP, ACK, receipts")
def who_waits_too_short_is_told_and_the_late_reply_is_counted():
    topic = new_topic()
    with daemon() as running, Serving(running, topic, "Servers", delay=2) as server:
        client = running.client()
        answer = ask(client, topic, "hurry", **{"sidecar.timeoutMillis": "1200"})
        is_failure(answer, "timeout", 10006, "maybe")
        contains(answer.remark, "no reply came", "the remark")
        later = succeeded(ask(client, topic, "patient"), "the next one")
        equal(later.body, b"re: patient", "its reply")

        def is_counted():
            return client.call(GET_STATS).json()["repliesLate"] == 1

        wait_until(is_counted, 15, "the late reply is counted")
        wait_until(lambda: len(server.answers) == 2, 5, "both replies were sent")
        equal(client.call(GET_STATS).json()["replies"], 1, "replies")
        equal([answer.code for answer in server.answers], [0, 0], "what the server was told")


main()
