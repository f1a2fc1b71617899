#!/usr/bin/env python3
"""remotingctl, as one would use it by hand"""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon, binary
from remotingctl_run import Run
from rocketmq_story import cluster, daemon, new_topic, uses
from tap import check, contains, equal, main, test


@test
@uses("POP, ACK, receipts")
def send_and_receive():
    topic = new_topic()
    with daemon() as running:
        sent = Run(running, "send", topic, "hello, world", "--key", "order-17").succeeded()
        check(
            any(name in sent.out for name in cluster().brokers()),
            f"it tells the broker (saw: {sent.out})",
        )
        got = Run(running, "receive", topic, "ctl-1", "--wait", "30s").succeeded()
        equal(got.out, "hello, world\n", "what receive prints")
        nothing = Run(running, "receive", topic, "ctl-1", "--wait", "1s")
        equal(
            (nothing.code, nothing.out), (4, ""), "exit code and output when there are no messages"
        )


@test
@uses("POP, ACK, receipts")
def a_message_a_line_goes_in_and_comes_out_again():
    topic = new_topic()
    lines = sorted(f"line {n:03}" for n in range(200))
    with daemon() as running:
        text = "".join(line + "\n" for line in lines).encode()
        Run(running, "send", topic, "--lines", standard_input=text).succeeded()
        got = Run(running, "receive", topic, "ctl-2", "-n", "200", "--wait", "30s").succeeded()
        equal(sorted(got.out.splitlines()), lines, "the lines received")


@test
@uses("POP, ACK, receipts")
def json_output_is_one_value_a_line():
    topic = new_topic()
    with daemon() as running:
        for word in ("one", "two"):
            sent = Run(running, "send", topic, word, "--json", "--tag", "blue").succeeded()
            check(isinstance(json.loads(sent.out), dict), "the output of send is an object")
        got = Run(
            running, "receive", topic, "ctl-3", "--json", "-n", "2", "--wait", "30s"
        ).succeeded()
        rows = [json.loads(line) for line in got.out.splitlines()]
        equal(sorted(row["body"] for row in rows), ["one", "two"], "the bodies")
        equal({row["tags"] for row in rows}, {"blue"}, "the tags")


@test
@uses("routes, cluster table")
def route_names_the_brokers():
    topic = new_topic()
    with daemon() as running:
        plain = Run(running, "route", topic).succeeded()
        for name, address in cluster().brokers().items():
            check(
                name in plain.out and address in plain.out,
                f"it names {name} at {address} (saw: {plain.out})",
            )
        route = json.loads(Run(running, "route", topic, "--json").succeeded().out)
        names = {row["brokerName"] for row in route["brokerDatas"]}
        equal(names, set(cluster().brokers()), "the brokers in the JSON output")
        missing = Run(running, "route", f"{topic}-missing")
        equal(missing.code, 1, "the exit code for a topic that the nameserver does not know")
        contains(missing.err, f"{topic}-missing", "the standard error")


@test
def invoke_sends_any_command_by_name_or_number():
    topic = new_topic()
    with daemon() as running:
        sent = Run(running, "invoke", "10", f"topic={topic}", "--body", "by hand").succeeded()
        contains(sent.out, "msgId", "the ext fields of the answer")
        words = ("invoke", "GET_BROKER_CLUSTER_INFO", "--addr", "nameserver", "--raw")
        table = json.loads(Run(running, *words).succeeded().out)
        equal(set(table["brokerAddrTable"]), set(cluster().brokers()), "the brokers of the cluster")
        binary_form = Run(
            running, "invoke", "GET_ROUTEINFO_BY_TOPIC", f"topic={topic}", "--binary", "--raw"
        ).succeeded()
        contains(binary_form.out, "brokerDatas", "the answer to a binary header")
        words = ("invoke", "GET_MAX_OFFSET", f"topic={topic}", "queueId=0", "--broker", "broker-a")
        contains(
            Run(running, *words).succeeded().out, "offset", "the answer of a broker by its name"
        )
        unknown = Run(running, "invoke", "9999")
        equal(unknown.code, 3, "the exit code for a code that needs an address")
        contains(unknown.err + unknown.out, "sidecar.addr", "what it says")


def rows_of(run):
    return [line.split() for line in run.out.splitlines()[1:]]


@test
@uses("POP, ACK, receipts")
def what_send_says_about_a_message_arrives_with_it():
    topic = new_topic()
    words = ("--tag", "paid", "--key", "k1", "--key", "k2", "--property", "region=eu")
    with daemon() as running, tempfile.NamedTemporaryFile() as file:
        file.write(bytes(range(256)))
        file.flush()
        Run(running, "send", topic, "--file", file.name, *words).succeeded()
        row = json.loads(
            Run(running, "receive", topic, "ctl-4", "--json", "--wait", "30s").succeeded().out
        )
        equal((row["tags"], row["keys"]), ("paid", "k1 k2"), "tag and keys")
        equal(row["properties"]["region"], "eu", "the property")
        equal(base64.b64decode(row["body"]), bytes(range(256)), "the body")


@test
@uses("POP, ACK, receipts", "delay levels", "timers")
def a_delayed_message_comes_later():
    topic = new_topic()
    with daemon() as running:
        for delay in ("3s", "1"):
            Run(running, "send", topic, delay, "--delay", delay).succeeded()
            got = Run(running, "receive", topic, "ctl-5", "--json", "--wait", "60s").succeeded()
            row = json.loads(got.out)
            equal(row["body"], delay, "the body")
            least = 2500 if delay == "3s" else 900
            waited = row["storeTimestamp"] - row["bornTimestamp"]
            check(waited >= least, f"it was held back for {least} ms (saw: {waited})")


@test
@uses("sends, retries, failover")
def lines_of_a_sharding_key_stay_in_order_in_one_queue():
    topic = new_topic()
    lines = [f"line {n}" for n in range(50)]
    with daemon() as running:
        sent = Run(
            running,
            "send",
            topic,
            "--lines",
            "--json",
            "--sharding-key",
            "customer-7",
            standard_input="\n".join(lines).encode(),
        ).succeeded()
        answers = [json.loads(line) for line in sent.out.splitlines()]
        places = {(row["brokerName"], row["queueId"]) for row in answers}
        equal(len(places), 1, "the number of queues")
        (broker, queue), = places
        words = ("--broker", broker, "--queue", str(queue), "--count", "100", "--json")
        peeked = Run(running, "peek", topic, *words).succeeded()
        equal([json.loads(line)["body"] for line in peeked.out.splitlines()], lines, "the order")


@test
@uses("POP, ACK, receipts")
def oneway_messages_arrive():
    topic = new_topic()
    lines = sorted(f"line {n:03}" for n in range(100))
    with daemon() as running:
        text = "\n".join(lines).encode()
        sent = Run(running, "send", topic, "--lines", "--oneway", standard_input=text).succeeded()
        equal((sent.out, sent.err), ("", "sent 100, failed 0\n"), "what it says")
        got = Run(running, "receive", topic, "ctl-6", "-n", "100", "--wait", "30s").succeeded()
        equal(sorted(got.out.splitlines()), lines, "the lines received")


@test
@uses("POP, ACK, receipts")
def filters_let_through_what_they_name():
    topic = new_topic()
    with daemon() as running:
        for n, tag in enumerate(("red", "green", "blue")):
            words = ("--tag", tag, "--property", f"n={n}")
            Run(running, "send", topic, tag, *words).succeeded()
        for group, words, expected in (
            ("ctl-7", ("--tag", "green"), ["green"]),
            ("ctl-8", ("--filter", "red || blue"), ["blue", "red"]),
            ("ctl-9", ("--sql", "n >= 1"), ["blue", "green"]),
        ):
            words = (*words, "-n", str(len(expected)), "--wait", "30s")
            got = Run(running, "receive", topic, group, *words).succeeded()
            equal(sorted(got.out.splitlines()), expected, f"what {words[1]} lets through")


@test
@uses("PULL, offsets", "POP, ACK, receipts")
def peek_takes_nothing():
    topic = new_topic()
    with daemon() as running:
        sent = json.loads(Run(running, "send", topic, "a body", "--json").succeeded().out)
        words = ("--broker", sent["brokerName"], "--queue", str(sent["queueId"]))
        for _ in range(2):
            rows = rows_of(Run(running, "peek", topic, *words).succeeded())
            equal([(row[0], row[-2:]) for row in rows], [("0", ["a", "body"])], "what peek shows")
        got = Run(running, "receive", topic, "ctl-10", "--wait", "30s").succeeded()
        equal(got.out, "a body\n", "what a consumer is given then")
        behind = Run(running, "peek", topic, *words, "--offset", "1")
        equal((behind.code, behind.out), (4, ""), "exit code and output at the end of the queue")
        equal(Run(running, "peek", topic, *words[:3], "99").code, 1, "the exit code for no such queue")


@test
@uses("PULL, offsets", "POP, ACK, receipts")
def offsets_count_what_is_there_and_what_a_group_has_left():
    topic = new_topic()
    with daemon() as running:
        before = json.loads(Run(running, "send", topic, "0", "--json").succeeded().out)
        text = "\n".join(str(n) for n in range(1, 20)).encode()
        Run(running, "send", topic, "--lines", standard_input=text).succeeded()
        plain = rows_of(Run(running, "offsets", topic).succeeded())
        equal({row[0] for row in plain}, set(cluster().brokers()), "the brokers")
        equal(sum(int(row[3]) - int(row[2]) for row in plain), 20, "the messages in all queues")
        at = Run(running, "offsets", topic, "--at", "2100-01-01Z", "--json").succeeded()
        rows = [json.loads(line) for line in at.out.splitlines()]
        equal([row["offsetAt"] for row in rows], [row["maxOffset"] for row in rows], "the far end")
        unknown = rows_of(Run(running, "offsets", topic, "ctl-11").succeeded())
        equal({(row[4], row[5]) for row in unknown}, {("-", "-")}, "of a group that never came")
        words = ("queueId=" + str(before["queueId"]), "commitOffset=1", "consumerGroup=ctl-11")
        place = ("--broker", before["brokerName"])
        Run(running, "receive", topic, "ctl-11", "--wait", "30s", "-n", "20").succeeded()
        Run(running, "invoke", "15", f"topic={topic}", *words, *place).succeeded()
        known = Run(running, "offsets", topic, "ctl-11", "--json").succeeded()
        rows = [json.loads(line) for line in known.out.splitlines()]
        mine = [
            row
            for row in rows
            if (row["brokerName"], row["queueId"]) == (before["brokerName"], before["queueId"])
        ]
        equal(
            [(row["consumerOffset"], row["lag"]) for row in mine],
            [(1, mine[0]["maxOffset"] - 1)],
            "offset and lag of the queue whose offset was set",
        )


@test
@uses("POP, ACK, receipts")
def a_drain_ends_the_following():
    topic = new_topic()
    with daemon() as running:
        command = [binary("REMOTINGCTL", "build-test/client/remotingctl"), "receive", topic, "ctl-12"]
        follower = subprocess.Popen(
            [*command, "--follow", "--socket", running.socket],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        Run(running, "send", topic, "before").succeeded()
        equal(follower.stdout.readline(), b"before\n", "what the follower prints")
        Run(running, "drain").succeeded()
        errors = follower.communicate(timeout=40)[1].decode()
        equal(follower.returncode, 5, f"the exit code (standard error: {errors})")
        contains(errors, "Start it again when the daemon is back", "what it says")


@test
@uses("POP, ACK, receipts")
def bench_measures_what_it_sends_and_receives():
    topic = new_topic()
    with daemon() as running:
        words = ("--count", "500", "--callers", "2", "--seconds", "30", "--timeout", "20s", "--json")
        sent = json.loads(Run(running, "bench", "send", topic, *words).succeeded().out)
        equal((sent["messages"], sent["failed"]), (500, 0), "messages and failures of send")
        rows = rows_of(Run(running, "offsets", topic).succeeded())
        equal(sum(int(row[3]) for row in rows), 500, "the messages in the queues")
        got = json.loads(Run(running, "bench", "receive", topic, *words).succeeded().out)
        equal((got["messages"], got["failed"]), (500, 0), "messages and failures of receive")
        check(got["latencyMicros"]["p50"] > 0, "a receive takes time")
        left = Run(running, "receive", topic, "remotingctl-bench", "--wait", "1s")
        equal(left.code, 4, "the exit code of a receive behind it, which finds nothing")


@test
def ping_tells_the_versions():
    with daemon() as running:
        contains(Run(running, "ping").succeeded().out, "us", "the time")
        Run(running, "ping", "--count", "20").succeeded()


@test
@uses("POP, ACK, receipts")
def failures_have_their_own_exit_codes():
    with Daemon(nameservers=["127.0.0.1:1"]) as running:
        equal(Run(running, "send").code, 2, "the exit code of a wrong usage")
        nowhere = Run(running, "send", "Orders", "x")
        equal(nowhere.code, 3, "the exit code of a send that the daemon cannot deliver")
        contains(nowhere.err, "sent: no", "what it says")
        absent = Run(running, "ping", "--socket", running.socket + ".absent")
        equal(absent.code, 5, "the exit code without a daemon")
        contains(absent.err, running.socket + ".absent", "what it says")


main()
