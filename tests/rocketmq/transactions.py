#!/usr/bin/env python3
"""Half messages are decided by their receipt, or by who the broker asks"""

import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import (
    CHECK_TRANSACTION_STATE,
    END_TRANSACTION,
    GET_STATS,
    JSON,
    REGISTER_PROCESSOR,
    ROCKETMQ,
    SEND_MESSAGE,
)
from rocketmq_story import daemon, new_topic, receive_all, succeeded, uses
from scenario import is_failure
from tap import check, contains, equal, less, main, test, wait_until

UNKNOWN, COMMIT, ROLLBACK = "0", "8", "12"
CHECK_SECONDS = 40  # it asks about what is older than 6 s, every 5 s


def half(client, topic, body, group="Deciders"):
    ext = {"topic": topic, "producerGroup": group, "sidecar.transaction": "half"}
    answer = succeeded(client.call(SEND_MESSAGE, ext, body), "the half message")
    check(answer.ext.get("sidecar.receipt"), f"it has a receipt (saw {answer.ext})")
    return answer.ext["sidecar.receipt"]


def seen(client, topic, group, n, **more):
    """The bodies that a group of readers is given."""
    rows = receive_all(client, topic, group, n, poll_millis=500, **more)
    return [row["body"] for row in rows]


def decide(client, receipt, decision):
    ext = {"sidecar.receipt": receipt, "commitOrRollback": decision}
    return succeeded(client.call(END_TRANSACTION, ext), "the decision")


@test
@uses("transactions")
def a_half_message_is_seen_by_nobody_until_it_is_committed_and_never_when_rolled_back():
    with daemon() as running:
        for serialize in (JSON, ROCKETMQ):
            topic = new_topic()
            client = running.client(serialize=serialize)
            kept = half(client, topic, f"kept {serialize}".encode())
            dropped = half(client, topic, b"dropped")
            equal(seen(client, topic, "Early", 1, timeout=0.5), [], "what readers see")
            decide(client, dropped, ROLLBACK)
            decide(client, kept, COMMIT)
            kept_body = f"kept {serialize}"
            equal(seen(client, topic, "Readers", 1), [kept_body], "what readers see")
            # Another group, that waits for one more.
            equal(seen(client, topic, "Late", 2, timeout=1), [kept_body], "what is there after it")


@test
@uses("transactions")
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
        equal(seen(running.client(), topic, "Readers", 1), ["asked about"], "what readers see")


@test
@uses("transactions")
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


@test
@uses("transactions")
def that_it_is_not_known_yet_is_answered_at_once():
    topic = new_topic()
    with daemon() as running:
        for serialize in (JSON, ROCKETMQ):
            client = running.client(serialize=serialize)
            receipt = half(client, topic, b"x")
            began = time.monotonic()
            decide(client, receipt, UNKNOWN)
            less(time.monotonic() - began, 2.5, "seconds, where the broker would never answer")
            decide(client, receipt, COMMIT)
        equal(len(seen(client, topic, "Readers", 2)), 2, "messages that were committed")


def run_ctl(running, *arguments):
    """A `remotingctl send --transaction` on its way."""
    command = [os.environ["REMOTINGCTL"], "send", "--socket", running.socket, *arguments]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@test
@uses("transactions")
def the_exit_code_of_a_command_decides():
    topic = new_topic()
    with daemon() as running:
        for command, code, word in (
            ("exit 0", 0, "committed"),
            ("exit 3", 6, "rolled-back"),
            ("no-such-program", 6, "rolled-back"),
            ("exit 75", 7, "undecided"),
            ("kill -9 $$", 7, "undecided"),
        ):
            ctl = run_ctl(running, topic, command, "--group", "Shell", "--transaction", command)
            out, err = ctl.communicate(timeout=30)
            equal((ctl.returncode, out.splitlines()[-1]), (code, word), f"after {command} ({err})")
        client = running.client()
        equal(seen(client, topic, "Readers", 1), ["exit 0"], "what readers see")
        equal(seen(client, topic, "Late", 2, timeout=1), ["exit 0"], "what is there after it")


@test(deadline=120)
@uses("transactions")
def a_command_that_takes_long_is_asked_about_and_still_decides():
    topic = new_topic()
    with daemon() as running:
        done = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-done-")) / "done"
        atexit.register(shutil.rmtree, done.parent, ignore_errors=True)
        command = f"while ! [ -e {done} ]; do sleep 0.2; done"
        ctl = run_ctl(running, topic, "slow", "--group", "Slow", "--transaction", command, "--json")
        stats = running.client()

        def was_asked():
            return stats.call(GET_STATS).json()["brokerRequestsDelivered"] >= 1

        wait_until(was_asked, CHECK_SECONDS, "the broker asks while the command runs")
        equal(seen(stats, topic, "Early", 1, timeout=0.5), [], "what readers see meanwhile")
        done.touch()
        out, err = ctl.communicate(timeout=30)
        last = json.loads(out.splitlines()[-1])
        equal((ctl.returncode, last["transaction"]), (0, "committed"), f"how it ends ({err})")
        equal(seen(stats, topic, "Readers", 1), ["slow"], "what readers see")


@test(deadline=120)
@uses("transactions")
def a_daemon_that_is_restarted_while_the_command_runs_takes_the_decision():
    topic = new_topic()
    with daemon() as running:
        done = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-done-")) / "done"
        atexit.register(shutil.rmtree, done.parent, ignore_errors=True)
        command = f"while ! [ -e {done} ]; do sleep 0.2; done"
        ctl = run_ctl(running, topic, "kept", "--group", "Kept", "--transaction", command)
        contains(ctl.stdout.readline(), "broker-", "the half message is stored")
        running.terminate()
        running.wait()
        running.start()
        done.touch()
        out, err = ctl.communicate(timeout=30)
        equal((ctl.returncode, out.splitlines()[-1:]), (0, ["committed"]), f"how it ends ({err})")
        equal(seen(running.client(), topic, "Readers", 1), ["kept"], "what readers see")


main()
