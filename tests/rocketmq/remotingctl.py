#!/usr/bin/env python3
"""remotingctl, as one would use it by hand"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon, binary
from rocketmq_story import cluster, daemon, new_topic
from tap import check, contains, equal, main, test


class Run:
    """One run of remotingctl: its exit code and what it wrote."""

    def __init__(self, running, *words, standard_input=b""):
        command = [binary("REMOTINGCTL", "build-test/client/remotingctl"), *words]
        done = subprocess.run(
            command,
            input=standard_input,
            capture_output=True,
            timeout=40,
            env={"REMOTINGD_SOCKET": running.socket, "PATH": "/usr/bin:/bin"},
        )
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def succeeded(self):
        equal(self.code, 0, f"the exit code (standard error: {self.err})")
        return self


@test
def send_and_receive():
    topic = new_topic()
    with daemon() as running:
        sent = Run(running, "send", topic, "hello, world", "--key", "order-17").succeeded()
        check(
            any(name in sent.out for name in cluster().brokers()),
            f"it tells the broker (saw: {sent.out})",
        )
        got = Run(running, "receive", topic, "ctl-1", "--wait", "15s").succeeded()
        equal(got.out, "hello, world\n", "what receive prints")
        nothing = Run(running, "receive", topic, "ctl-1", "--wait", "1s")
        equal(
            (nothing.code, nothing.out), (4, ""), "exit code and output when there are no messages"
        )


@test
def a_message_a_line_goes_in_and_comes_out_again():
    topic = new_topic()
    lines = sorted(f"line {n:03}" for n in range(200))
    with daemon() as running:
        text = "".join(line + "\n" for line in lines).encode()
        Run(running, "send", topic, "--lines", standard_input=text).succeeded()
        got = Run(running, "receive", topic, "ctl-2", "-n", "200", "--wait", "15s").succeeded()
        equal(sorted(got.out.splitlines()), lines, "the lines received")


@test
def json_output_is_one_value_a_line():
    topic = new_topic()
    with daemon() as running:
        for word in ("one", "two"):
            sent = Run(running, "send", topic, word, "--json", "--tag", "blue").succeeded()
            check(isinstance(json.loads(sent.out), dict), "the output of send is an object")
        got = Run(
            running, "receive", topic, "ctl-3", "--json", "-n", "2", "--wait", "15s"
        ).succeeded()
        rows = [json.loads(line) for line in got.out.splitlines()]
        equal(sorted(row["body"] for row in rows), ["one", "two"], "the bodies")
        equal({row["tags"] for row in rows}, {"blue"}, "the tags")


@test
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


@test
def ping_tells_the_versions():
    with daemon() as running:
        contains(Run(running, "ping").succeeded().out, "us", "the time")
        Run(running, "ping", "--count", "20").succeeded()


@test
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
