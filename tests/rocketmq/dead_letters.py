#!/usr/bin/env python3
"""Dead letters: a message that its group cannot deal with is shown, requeued and consumed; the marker, filters, resuming"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remotingctl_run import Run
from rocketmq_story import cluster, daemon, new_topic, receive, receive_all, succeeded, uses
from tap import check, contains, equal, main, test, wait_until

CONSUMER_SEND_MSG_BACK = 36
UPDATE_AND_CREATE_TOPIC = 17
QUERY_MESSAGE = 12
_n_groups = 0


def new_group():
    global _n_groups
    _n_groups += 1
    return f"dead-{os.getpid()}-{_n_groups}"


def send(client, topic, body, **properties):
    ext = {"topic": topic, "property.__SHARDINGKEY": "one queue"}
    ext.update({f"property.{name}": value for name, value in properties.items()})
    return succeeded(client.call(remoting.SEND_MESSAGE, ext, body.encode()), "the send")


def make_dead_letters(running, topic, group, bodies):
    """Sends them, with the body as the key, and has the group give them all up; their rows by body."""
    client = running.client()
    for body in bodies:
        send(client, topic, body, KEYS=f"{body} all", TAGS="red" if body < "c" else "blue", colour="green")
    rows = receive_all(client, topic, group, len(bodies), acknowledge=False)
    by_body = {row["body"]: row for row in rows}
    for body in bodies:
        answer = client.call(CONSUMER_SEND_MSG_BACK, {"sidecar.receipt": by_body[body]["receipt"]})
        succeeded(answer, f"giving up {body}")
    wait_until(lambda: Run(running, "route", f"%DLQ%{group}").code == 0, timeout=30, what="the topic of dead letters")
    return by_body


def listed(running, group, *words):
    """The bodies that dlq list shows."""
    run = Run(running, "dlq", "list", group, "--json", *words)
    if run.code == 4:
        return []
    return [json.loads(line)["body"] for line in run.succeeded().out.splitlines()]


def query_finds(client, topic, uniq_key, n):
    """Until the topic's index has n messages of the key."""
    def find():
        answer = client.call(QUERY_MESSAGE, {"topic": topic, "key": uniq_key, "_UNIQUE_KEY_QUERY": "true",
                                             "sidecar.answerFormat": "json"})
        return answer.code == 0 and len(answer.json()) == n
    wait_until(find, timeout=30, what=f"{n} messages of {uniq_key}")


@test
@uses("POP, ACK, receipts")
def a_poisoned_message_goes_to_dead_letters_is_shown_requeued_and_consumed():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        client = running.client()
        send(client, topic, "poison", KEYS="order-17", TAGS="red", colour="green")
        # Nobody acknowledges it: it comes again, and then is one too many times there.
        row = receive_all(client, topic, group, 1, acknowledge=False, invisibleTime=1000)[0]
        wait_until(lambda: receive(client, topic, group, **{"sidecar.maxReconsume": 0}) == [] and listed(running, group),
                   timeout=50, what="the dead letter")
        table = Run(running, "dlq", "list", group).succeeded().out.splitlines()
        equal(len(table), 2, "a heading and one row")
        for word in (topic, "red", "order-17", "poison"):
            contains(table[1], word, "the row")
        shown = Run(running, "dlq", "show", group, "--id", row["uniqKey"]).succeeded().out
        for word in (topic, "order-17", "property.colour=green", "poison"):
            contains(shown, word, "what show prints")

        done = Run(running, "dlq", "requeue", group).succeeded()
        equal(done.out, "1 requeued\n", "what requeue says")
        again = receive_all(client, topic, group, 1)[0]
        equal((again["body"], again["keys"], again["tags"], again["uniqKey"], again["properties"]["colour"]),
              ("poison", "order-17", "red", row["uniqKey"], "green"), "the message that comes again")
        equal(again["reconsumeTimes"], 0, "how often it was tried")
        nothing = Run(running, "dlq", "list", group)
        equal((nothing.code, nothing.out), (4, ""), "what is left")
        equal(listed(running, group, "--all"), ["poison"], "what lies in front of the marker")


@test
@uses("POP, ACK, receipts")
def requeued_messages_keep_the_order_of_their_queue():
    topic, group = new_topic(), new_group()
    bodies = [f"b{n:02}" for n in range(40)]
    with daemon() as running:
        make_dead_letters(running, topic, group, bodies)
        equal(listed(running, group, "-n", "7"), bodies[:7], "the first seven")
        done = Run(running, "dlq", "requeue", group, "--json").succeeded()
        outcomes = [json.loads(line) for line in done.out.splitlines()]
        equal({(row["topic"], row["outcome"]) for row in outcomes}, {(topic, "requeued")}, "what became of them")
        again = receive_all(running.client(), topic, group, len(bodies))
        equal([row["body"] for row in sorted(again, key=lambda row: row["queueOffset"])], bodies, "their order")


@test
@uses("POP, ACK, receipts")
def what_filters_requeued_is_not_requeued_again():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        rows = make_dead_letters(running, topic, group, ["a", "b", "c", "d"])
        equal(listed(running, group, "--key", "b"), ["b"], "by key")
        equal(listed(running, group, "--key", "all"), ["a", "b", "c", "d"], "by the second key")
        equal(listed(running, group, "--tag", "blue"), ["c", "d"], "by tag")
        equal(listed(running, group, "--since", "0", "--until", "1"), [], "by time")
        dry = Run(running, "dlq", "requeue", group, "--key", "c", "--dry-run").succeeded()
        contains(dry.out, "1 would be requeued", "a dry run")
        equal(Run(running, "dlq", "requeue", group, "--key", "c").succeeded().out, "1 requeued\n", "by key")
        query_finds(running.client(), topic, rows["c"]["uniqKey"], 2)
        equal(listed(running, group), ["a", "b", "c", "d"], "the marker does not pass over what was left out")
        # The rest, interrupted: as if the run before had ended behind "a".
        equal(Run(running, "dlq", "requeue", group, "-n", "1").succeeded().out, "1 requeued\n", "the first")
        equal(listed(running, group), ["b", "c", "d"], "the marker behind the first")
        done = Run(running, "dlq", "requeue", group).succeeded()
        equal(done.out, "2 requeued, 1 were before\n", "the rest")
        again = receive_all(running.client(), topic, group, 4)
        equal(sorted(row["body"] for row in again), ["a", "b", "c", "d"], "each came again once")


@test
@uses("POP, ACK, receipts")
def a_requeue_that_fails_half_way_goes_on_where_it_ended():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        make_dead_letters(running, topic, group, ["a", "b", "c"])
        broker = json.loads(Run(running, "dlq", "list", group, "--json").succeeded().out.splitlines()[0])["brokerName"]
        equal(Run(running, "dlq", "requeue", group, "-n", "1").succeeded().out, "1 requeued\n", "the first")
        stopped = Run(running, "dlq", "requeue", group, "--to", "no such topic")
        check(stopped.code in (1, 3), f"the exit code of a failure: {stopped.code}")
        contains(stopped.out, "0 requeued; stopped with 2 still to look at", "what it says")
        equal(listed(running, group), ["b", "c"], "what is left")
        equal(Run(running, "dlq", "requeue", group).succeeded().out, "2 requeued\n", "the rest")
        check(broker in cluster().brokers(), "the broker's name")


@test
@uses("POP, ACK, receipts")
def purge_moves_the_marker():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        make_dead_letters(running, topic, group, ["a", "b", "c"])
        contains(Run(running, "dlq", "purge", group, "--dry-run").succeeded().out, "3 would be purged", "a dry run")
        equal(listed(running, group), ["a", "b", "c"], "after a dry run")
        contains(Run(running, "dlq", "purge", group, "-n", "1").succeeded().out, "1 purged", "the first")
        equal(listed(running, group), ["b", "c"], "after the first")
        equal(Run(running, "dlq", "purge", group, "--until", "1").code, 4, "until 1970")
        contains(Run(running, "dlq", "purge", group).succeeded().out, "2 purged", "the rest")
        equal(listed(running, group), [], "after the rest")
        equal(listed(running, group, "--all"), ["a", "b", "c"], "with --all")
        equal(Run(running, "dlq", "requeue", group, "--key", "b", "--all").succeeded().out, "1 requeued\n", "even then")


@test
@uses("POP, ACK, receipts")
def a_topic_that_may_only_be_written_is_told_and_made_readable():
    topic, group = new_topic(), new_group()
    with daemon() as running:
        make_dead_letters(running, topic, group, ["a"])
        row = json.loads(Run(running, "dlq", "list", group, "--json").succeeded().out)
        words = ("defaultTopic=TBW102", "readQueueNums=1", "writeQueueNums=1", "perm=2", "topicFilterType=SINGLE_TAG",
                 "topicSysFlag=0", "order=false")
        Run(running, "invoke", str(UPDATE_AND_CREATE_TOPIC), f"topic=%DLQ%{group}", *words, "--broker",
            row["brokerName"]).succeeded()
        wait_until(lambda: Run(running, "dlq", "list", group).code == 1, timeout=30, what="the route without reading")
        told = Run(running, "dlq", "list", group)
        contains(told.err, f"remotingctl dlq list {group} --make-readable", "the next command")
        equal(listed(running, group, "--make-readable"), ["a"], "with it")
        wait_until(lambda: listed(running, group) == ["a"], timeout=30, what="the route with reading")


@test
@uses("POP, ACK, receipts")
def who_may_receive_for_the_group_alone_does_it_in_its_name():
    topic, group = new_topic(), new_group()
    role = {"users": "root", "send": topic, "consume": topic, "consumer_groups": group}
    with daemon() as running:
        make_dead_letters(running, topic, group, ["a", "b"])
    with daemon(settings={"role narrow": role}) as running:
        refused = Run(running, "dlq", "list", group)
        equal(refused.code, 3, "the exit code in nobody's name")
        contains(refused.err, "TOOLS_CONSUMER", "what it says")
        equal(Run(running, "dlq", "requeue", group, "--as", group, "-n", "1").succeeded().out, "1 requeued\n", "one")
        equal(listed(running, group, "--as", group), ["b"], "what is left")
        contains(Run(running, "dlq", "purge", group, "--as", group).succeeded().out, "1 purged", "the rest")
        equal([row["body"] for row in receive_all(running.client(), topic, group, 1)], ["a"], "what came again")


@test
def a_group_without_dead_letters_has_none():
    with daemon() as running:
        run = Run(running, "dlq", "list", new_group())
        equal((run.code, run.out), (4, ""), "exit code and output")
        contains(run.err, "has no dead letters", "the standard error")


main()
