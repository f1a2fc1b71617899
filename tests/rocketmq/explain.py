#!/usr/bin/env python3
"""remotingctl explain: it names the cause of each thing that can be wrong with a topic, a group or a message"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
import schema
from daemon_process import ROOT
from remotingctl_run import Run
from rocketmq_story import cluster, daemon, new_topic, receive, receive_all, succeeded, uses
from tap import at_end, check, contains, equal, main, test, wait_until

CONSUMER_SEND_MSG_BACK = 36
UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200
GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201
SCHEMA = json.loads((ROOT / "client" / "schemas" / "explain.json").read_text())
_n_groups = 0
_seen = set()


@at_end
def everything_runs_again():
    for name in cluster().names:
        if not cluster().is_running(name):
            cluster().start_again(name)
    equal([name for name in cluster().names if not cluster().is_running(name)], [], "what does not run")


def new_group():
    global _n_groups
    _n_groups += 1
    return f"explained-{os.getpid()}-{_n_groups}"


def explain(running, *words):
    """The report, which is as its schema says; and that the exit code tells whether something was found."""
    run = Run(running, "explain", *words, "--json")
    check(run.code in (0, 1), f"the exit code {run.code} ({run.err})")
    report = json.loads(run.out)
    equal(run.code, 1 if report["findings"] else 0, "the exit code")
    _seen.update(schema.check(report, SCHEMA, ""))
    return report


def causes(report):
    return [finding["cause"] for finding in report["findings"]]


def says(running, cause, *words):
    """On the screen too: the cause and the next command."""
    screen = Run(running, "explain", *words).out
    contains(screen, f"likely cause: {cause}: ", "the screen")
    contains(screen.split("likely cause: ")[1].splitlines()[1], "  remotingctl ", "the next command")


def send(client, topic, body=b"x", **properties):
    ext = {"topic": topic, **{f"property.{name}": value for name, value in properties.items()}}
    return succeeded(client.call(remoting.SEND_MESSAGE, ext, body), "the send").ext


@test
@uses("routes, cluster table")
def a_topic_that_is_well_has_nothing_wrong():
    topic = new_topic()
    with daemon() as running:
        send(running.client(), topic)
        report = explain(running, topic)
        equal(causes(report), [], "the causes")
        equal({row["knows"] for row in report["nameservers"]}, {True}, "the nameservers")
        equal({row["name"]: row["addr"] for row in report["brokers"]}, cluster().brokers(), "the brokers")
        equal({row["isSentTo"] for row in report["brokers"]}, {True}, "where sends go")
        equal(len(report["queues"]), 8, "the queues")
        equal(sum(row["maxOffset"] for row in report["queues"]), 1, "messages in them")
        contains(Run(running, "explain", topic).succeeded().out, "nothing wrong was found", "the screen")


@test
@uses("routes, cluster table")
def no_such_topic():
    with daemon() as running:
        equal(causes(explain(running, "no-such-topic-here")), ["no-such-topic"], "the causes")
        says(running, "no-such-topic", "no-such-topic-here")


@test
@uses("routes, cluster table")
def no_write_permission():
    topic = new_topic()
    with daemon() as running:
        words = (f"topic={topic}", "defaultTopic=TBW102", "readQueueNums=4", "writeQueueNums=4", "perm=4",
                 "topicFilterType=SINGLE_TAG", "topicSysFlag=0", "order=false")
        for name in cluster().brokers():
            Run(running, "invoke", "UPDATE_AND_CREATE_TOPIC", *words, "--broker", name).succeeded()
        wait_until(lambda: causes(explain(running, topic)) == ["no-write-permission"], timeout=30, what="the cause")
        says(running, "no-write-permission", topic)
        # The next command mends it.
        command = explain(running, topic)["findings"][0]["command"].split()
        equal(command[-2:], ["--broker", "broker-b"], "the broker of the next command")
        Run(running, *command[1:]).succeeded()
        Run(running, *command[1:-1], "broker-a").succeeded()
        wait_until(lambda: causes(explain(running, topic)) == [], timeout=30, what="nothing is wrong any more")


@test(deadline=120)
@uses("routes, cluster table")
def broker_down():
    topic = new_topic()
    with daemon() as running:
        send(running.client(), topic)
        cluster().kill("broker-b")
        try:
            report = explain(running, topic)
            equal(causes(report)[:1], ["broker-down"], "the likeliest")
            contains(report["findings"][0]["text"], cluster().address("broker-b"), "what it says")
            # Whether the route still names it is the nameservers' business.
            equal([(row["name"], bool(row["isSentTo"])) for row in report["brokers"]],
                  [("broker-a", True), ("broker-b", False)], "where sends go")
            says(running, "broker-down", topic)
        finally:
            cluster().start_again("broker-b")
        wait_until(lambda: causes(explain(running, topic)) == [], timeout=60, what="nothing is wrong any more")


@test(deadline=120)
@uses("routes, cluster table")
def nameservers_that_are_silent_or_behind_are_stale():
    topic = new_topic()
    names = [name for name in cluster().names if name.startswith("nameserver-")]
    with daemon() as running:
        send(running.client(), topic)
        for name in names:
            cluster().kill(name)
        try:
            report = explain(running, topic)
            equal(causes(report)[:1], ["nameserver-stale"], "the cause with none that answers")
            equal(report["route"]["from"], "daemon", "whose route it is")
            equal({row["name"] for row in report["brokers"]}, set(cluster().brokers()), "the brokers are known")
            says(running, "nameserver-stale", topic)
        finally:
            for name in names:
                cluster().start_again(name)
        wait_until(lambda: causes(explain(running, topic)) == [], timeout=60, what="nothing is wrong any more")


@test
@uses("POP, ACK, receipts")
def a_consumer_group_is_paused():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        client = running.client()
        key = send(client, topic)["sidecar.uniqKey"]
        for enable in ("false", "true"):
            for name in cluster().brokers():
                body = json.dumps({"groupName": group, "consumeEnable": enable == "true"})
                Run(running, "invoke", "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP", "--broker", name, "--body", body).succeeded()
            report = explain(running, topic, group)
            equal(causes(report), ["group-paused"] if enable == "false" else [], f"with consumeEnable={enable}")
            if enable == "false":
                says(running, "group-paused", topic, group)
                equal(causes(explain(running, key, group, "--topic", topic))[:1], ["group-paused"], "of its message")
        receive_all(client, topic, group, 1)
        equal(explain(running, topic, group)["groups"][0]["isPaused"], False, "of a group that has offsets")


@test
@uses("POP, ACK, receipts")
def a_message_waits_is_handed_out_is_in_retry_and_in_dead_letters():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        client = running.client()
        # The group is known where it has received something.
        sent = [send(client, topic, str(n).encode(), __SHARDINGKEY="one queue") for n in range(2)]
        receive_all(client, topic, group, 2)
        sent.append(send(client, topic, b"poison", __SHARDINGKEY="one queue"))
        key, place = sent[2]["sidecar.uniqKey"], sent[2]["msgId"]
        words = (key, group, "--topic", topic)
        wait_until(lambda: causes(explain(running, *words)) == ["message-waiting"], timeout=20, what="it waits")
        row = receive_all(client, topic, group, 1, acknowledge=False)[0]
        wait_until(lambda: causes(explain(running, *words)) == [], timeout=20, what="it is handed out")
        equal(explain(running, place, group)["groups"][0]["message"], "handed-out", "by the offset id")

        ext = {"sidecar.receipt": row["receipt"], "invisibleTime": 1000}
        succeeded(client.call(remoting.CHANGE_MESSAGE_INVISIBLETIME, ext), "giving it back")
        wait_until(lambda: causes(explain(running, *words)) == ["message-in-retry"], timeout=30, what="it is in retry")
        report = explain(running, *words)
        equal([copy["kind"] for copy in report["copies"]], ["stored", "retry"], "its copies")
        check(report["copies"][1]["firstPopTimestamp"] > 0, "when it was received first")
        equal(report["groups"][0]["inRetry"], 1, "what waits in retry")
        says(running, "message-in-retry", *words)

        again = receive_all(client, topic, group, 1, acknowledge=False)[0]
        succeeded(client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": again["receipt"]}), "giving it up")
        wait_until(lambda: causes(explain(running, *words)) == ["message-in-dead-letters"], timeout=30, what="dead letters")
        finding = explain(running, *words)["findings"][0]
        says(running, "message-in-dead-letters", *words)
        # The next command shows it.
        contains(Run(running, *finding["command"].split()[1:]).succeeded().out, "poison", "the next command")
        Run(running, "dlq", "requeue", group).succeeded()
        wait_until(lambda: explain(running, *words)["groups"][0]["message"] == "waiting", timeout=30, what="requeued")
        receive_all(client, topic, group, 1)
        wait_until(lambda: causes(explain(running, *words)) == [], timeout=30, what="done")


@test
@uses("routes, cluster table")
def a_message_that_is_not_there_is_not_found():
    topic = new_topic()
    with daemon() as running:
        report = explain(running, "no-such-key", "--topic", topic)
        equal(causes(report), ["message-not-found"], "the causes")
        run = Run(running, "explain", "C000020201D5B7D68C8475A8DB2DB7D6")
        equal(run.code, 1, "the exit code without a topic")
        contains(run.err, "--topic TOPIC", "what it says")


@test
@uses("POP, ACK, receipts")
def nothing_is_changed_by_looking():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        client = running.client()
        send(client, topic, b"looked at")
        for _ in range(2):
            explain(running, topic, group)
        for name in cluster().brokers():
            answer = client.call(GET_ALL_SUBSCRIPTIONGROUP_CONFIG, {"sidecar.broker": name})
            check(group not in succeeded(answer).json()["subscriptionGroupTable"], f"{name} has made no group")
        equal([row["body"] for row in receive_all(client, topic, group, 1)], ["looked at"], "the message is there")
        equal(receive(client, topic, group, poll_millis=500), [], "and once")


@test
@uses("POP, ACK, receipts")
def what_a_role_may_not_see_is_not_known_and_the_rest_is_told():
    topic, group = new_topic(), new_group()
    role = {"users": "root", "send": topic, "consume": topic, "consumer_groups": group}
    with daemon() as running:
        send(running.client(), topic)
        receive_all(running.client(), topic, group, 1)
    with daemon(settings={"role narrow": role}) as running:
        report = explain(running, topic)
        equal(causes(report), [], "the causes")
        what = {row["what"] for row in report["notKnown"]}
        check("the groups of the topic" in what, f"what is not known: {what}")
        report = explain(running, topic, group)
        equal(report["groups"][0]["isPaused"], False, "whether it is paused, by trying")
        equal(report["groups"][0]["lag"], 0, "its lag")


@test
@uses("POP, ACK, receipts")
def every_field_of_the_schema_was_seen():
    missing = schema.paths(SCHEMA) - _seen
    equal({path for path in missing if ".additional" not in path}, set(), "fields that no report has shown")


main()
