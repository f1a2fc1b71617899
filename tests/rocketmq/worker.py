#!/usr/bin/env python3
"""remotingctl receive --exec: a command for each message, whose exit code decides about it"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import binary
from remoting import GET_ROUTEINFO_BY_TOPIC, SEND_MESSAGE
from rocketmq_story import daemon, new_topic, receive, receive_all, send_all, uses
from tap import check, contains, equal, main, test, wait_until

# What comes back first does so after the shortest delay that a worker takes.
SOON = ("--retry-delay", "1s")


class Worker:
    """
    A worker and what its commands wrote: each has a folder of its own with the file `seen`, a line
    for each time that a command began, "BODY RECONSUME_TIMES".
    """

    def __init__(self, running, topic, group, command, *words):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        (self.path / "seen").touch()
        begin = 'read -r body; echo "$body $MQ_RECONSUME_TIMES" >> seen; '
        self.process = subprocess.Popen(
            [
                *(binary("REMOTINGCTL", "build-test/client/remotingctl"), "receive", topic, group),
                *("--exec", begin + command, "--socket", running.socket, "--wait", "1s", *words),
            ],
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def seen(self):
        return sorted((self.path / "seen").read_text().splitlines())

    def wait_for(self, *lines, timeout=40):
        wait_until(lambda: set(lines) <= set(self.seen()), timeout, f"{lines} in {self.seen()}")

    def touch(self, name):
        (self.path / name).touch()

    def end(self, code=0, timeout=40):
        """Waits for it; what it said."""
        try:
            errors = self.process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            errors = self.process.communicate()[1]
            check(False, f"it ends within {timeout} s; it saw {self.seen()} and said {errors}")
        equal(self.process.returncode, code, f"the exit code (standard error: {errors})")
        return errors

    def stop(self, code=0):
        self.process.send_signal(signal.SIGTERM)
        return self.end(code)


def dead_letters(client, group, n):
    """The bodies of so many; the first one makes their topic."""
    topic = f"%DLQ%{group}"
    route = {"topic": topic}
    wait_until(lambda: client.call(GET_ROUTEINFO_BY_TOPIC, route).code == 0, 60, f"a route to {topic}")
    return [row["body"] for row in receive_all(client, topic, f"{group}-dead", n)]


@test(deadline=240)
@uses("POP, ACK, receipts")
def the_exit_code_decides_what_becomes_of_a_message():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["0", "3", "65", "75", "killed"])
        command = '[ "$MQ_RECONSUME_TIMES" = 0 ] || exit 0; [ $body = killed ] && kill -9 $$; exit $body'
        first = ["0 0", "3 0", "65 0", "75 0", "killed 0"]
        again = ["3 1", "75 1", "killed 1"]
        with Worker(running, topic, "worker-1", command, "-j", "5", "-n", "8", *SOON) as worker:
            told = worker.end(timeout=150)
            equal(worker.seen(), sorted(first + again), "what the commands were given")
            contains(told, "exited with 3", "what is said of a failure")
            contains(told, "killed by signal 9", "what is said of a signal")
            contains(told, "8 messages: 4 acknowledged, 3 given back, 1 dead", "the sum")
        equal(dead_letters(client, "worker-1", 1), ["65"], "the dead letters")
        equal(receive(client, topic, "worker-1", poll_millis=5000), [], "what comes after that")


@test(deadline=240)
@uses("POP, ACK, receipts")
def what_runs_longer_than_its_lease_comes_once():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["long"])
        words = ("--invisible", "5s", "-n", "1")
        command = "while [ ! -e go ]; do sleep 0.1; done"
        with Worker(running, topic, "worker-2", command, *words) as worker:
            worker.wait_for("long 0")
            equal(receive(client, topic, "worker-2", poll_millis=12000), [], "what others see")
            worker.touch("go")
            worker.end()
        equal(receive(client, topic, "worker-2", poll_millis=6000), [], "what comes after that")


@test(deadline=240)
@uses("POP, ACK, receipts")
def what_hangs_is_ended_with_all_its_children_and_comes_again():
    topic = new_topic()
    with daemon() as running:
        send_all(running.client(), topic, ["hangs"])
        command = '[ "$MQ_RECONSUME_TIMES" = 0 ] || exit 0; sleep 1000 & echo $! > child; sleep 1000; :'
        words = ("--time-limit", "500ms", "-n", "2", *SOON)
        with Worker(running, topic, "worker-3", command, *words) as worker:
            told = worker.end(timeout=150)
            equal(worker.seen(), ["hangs 0", "hangs 1"], "what the commands were given")
            contains(told, "by the time limit", "what is said of it")
            child = (worker.path / "child").read_text().strip()
            equal(pathlib.Path("/proc", child).exists(), False, "whether its child is there")


@test(deadline=240)
@uses("POP, ACK, receipts")
def a_command_that_is_missing_ends_the_worker_and_burns_nothing():
    topic = new_topic()
    bodies = [f"kept {n}" for n in range(6)]
    with daemon() as running:
        send_all(running.client(), topic, bodies)
        with Worker(running, topic, "worker-4", "no-such-program") as worker:
            told = worker.end(8)
            equal(len(worker.seen()), 1, "messages that the command was tried with")
            contains(told, "127: not found", "what is said of it")
        with Worker(running, topic, "worker-4", "exit 0", "-n", "6", "-j", "2") as worker:
            worker.end(timeout=150)
            equal([line[:6] for line in worker.seen()], bodies, "what another worker is given")


@test(deadline=240)
@uses("POP, ACK, receipts")
def a_poisoned_message_becomes_a_dead_letter_and_the_others_go_on():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["poison", "well"])
        words = ("--max-reconsume", "1", *SOON)
        command = "[ $body = well ]"
        with Worker(running, topic, "worker-5", command, *words) as worker:
            equal(dead_letters(client, "worker-5", 1), ["poison"], "the dead letters")
            equal(worker.seen(), ["poison 0", "poison 1", "well 0"], "what the command was given")
            worker.stop()


@test(deadline=240)
@uses("POP, ACK, receipts")
def a_worker_lives_through_a_restart_of_the_daemon():
    topic = new_topic()
    with daemon() as running:
        send_all(running.client(), topic, ["before"])
        command = "while [ ! -e go ]; do sleep 0.1; done"
        with Worker(running, topic, "worker-6", command, "-n", "2") as worker:
            worker.wait_for("before 0")
            running.terminate()
            equal(running.wait(), 0, "the exit code of the daemon")
            worker.touch("go")
            running.start()
            client = running.client()
            send_all(client, topic, ["after"])
            told = worker.end()
            equal(worker.seen(), ["after 0", "before 0"], "what the command was given")
            contains(told, "the daemon is back", "what it said")
            contains(told, "2 messages: 2 acknowledged", "the sum")
        equal(receive(client, topic, "worker-6", poll_millis=5000), [], "what comes after that")


@test(deadline=240)
@uses("POP, ACK, receipts")
def what_a_killed_worker_had_comes_to_another_one():
    topic = new_topic()
    with daemon() as running:
        send_all(running.client(), topic, ["orphan 0", "orphan 1"])
        words = ("-j", "2", "--invisible", "3s")
        with Worker(running, topic, "worker-9", "echo $$ > $MQ_MSG_ID.pid; exec sleep 1000", *words) as worker:
            wait_until(lambda: len(worker.seen()) == 2, 20, "both commands run")
            worker.process.kill()
            worker.process.wait()
            for path in worker.path.glob("*.pid"):
                os.kill(int(path.read_text()), signal.SIGKILL)
        with Worker(running, topic, "worker-9", "exit 0", "-n", "2", "-j", "2") as worker:
            worker.end(timeout=150)
            equal(worker.seen(), ["orphan 0 1", "orphan 1 1"], "what another worker is given")


@test(deadline=240)
@uses("POP, ACK, receipts")
def sigterm_lets_what_runs_finish_and_takes_nothing_new():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        send_all(client, topic, ["runs"])
        command = "while [ ! -e go ]; do sleep 0.1; done; touch finished"
        with Worker(running, topic, "worker-7", command, "-j", "2") as worker:
            worker.wait_for("runs 0")
            worker.process.send_signal(signal.SIGTERM)
            contains(worker.process.stderr.readline(), "nothing more is taken", "what it says")
            send_all(client, topic, ["left"])
            rows = receive_all(client, topic, "worker-7", 1)
            equal([row["body"] for row in rows], ["left"], "what others are given")
            worker.touch("go")
            contains(worker.end(), "1 acknowledged", "the sum")
            equal((worker.path / "finished").exists(), True, "whether the command finished")
            equal(worker.seen(), ["runs 0"], "what the command was given")


@test
@uses("POP, ACK, receipts")
def the_command_finds_the_message_in_its_environment():
    topic = new_topic()
    names = "TOPIC GROUP MSG_ID KEYS TAGS RECONSUME_TIMES BROKER QUEUE_ID QUEUE_OFFSET PROPERTY_order_id"
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ext = {"property.KEYS": "k1 k2", "property.TAGS": "paid", "property.order-id": "17"}
    with daemon() as running:
        ext = {"topic": topic, **ext, "sidecar.traceparent": parent}
        sent = running.client().call(SEND_MESSAGE, ext, b"body\n").ext
        said = " ".join(f"$MQ_{name}," for name in names.split())
        with Worker(running, topic, "worker-8", f'echo "{said}" $TRACEPARENT', "-n", "1") as worker:
            out, errors = worker.process.communicate(timeout=40)
            equal(worker.process.returncode, 0, f"the exit code ({errors})")
        seen = dict(zip(names.split(), out.strip().split(", ")))
        equal(out.split()[-1], parent, "the parent of the trace")
        equal(
            seen,
            {
                "TOPIC": topic,
                "GROUP": "worker-8",
                "MSG_ID": sent["sidecar.uniqKey"],
                "KEYS": "k1 k2",
                "TAGS": "paid",
                "RECONSUME_TIMES": "0",
                "BROKER": sent["brokerName"],
                "QUEUE_ID": sent["queueId"],
                "QUEUE_OFFSET": sent["queueOffset"],
                "PROPERTY_order_id": "17",
            },
            "the variables",
        )


main()
