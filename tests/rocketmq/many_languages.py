#!/usr/bin/env python3
"""
Many messages from eight programs in eight languages through one daemon, received as they were sent

The programs are tests/support/senders/. A language that is not installed here is replaced by the
one in Python, and that is noted. Sizes, contents, keys and notes come from SEED; N_MESSAGES is how
many there are in the first story: 100000 is the long form.
"""

import base64
import collections
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import rocketmq_story
from daemon_process import ROOT, Daemon, binary
from remoting import ACK_MESSAGE
from rocketmq_cluster import Cluster
from rocketmq_story import uses
from tap import check, equal, less, main, note, test

SENDERS = ROOT / "tests" / "support" / "senders"
SEED = int(os.environ.get("SEED") or 6)
N_MESSAGES = int(os.environ.get("N_MESSAGES") or 2000)
N_MESSAGES_KILLED = 1200
KILLED_SECONDS = 40
VICTIM = "broker-b"
GROUP = "readers"

# The shell runs a program for each message, so that it has fewer.
SHARES = {
    "python": 10,
    "php": 10,
    "perl": 10,
    "node": 10,
    "go": 10,
    "ruby": 10,
    "c": 10,
    "shell": 1,
}
KEYS_PER_SENDER = 12
NOTES = ["plain", 'says "so"', "back\\slash", "Grüße", "消息", "🚀 and more", "a=b&c;d|e"]


@dataclasses.dataclass
class Message:
    """What a sender is told to send."""

    number: int
    sender: str
    size: int
    key: str  # "-" is none
    pattern: bytes
    note: str

    def line(self):
        columns = (self.number, self.size, self.key, self.pattern.hex(), self.note)
        return "\t".join(str(column) for column in columns) + "\n"

    def digest(self):
        body = (self.pattern * (self.size // len(self.pattern) + 1))[: self.size]
        return hashlib.sha256(body).hexdigest()

    def properties(self):
        wanted = {"KEYS": str(self.number), "sender": self.sender, "note": self.note}
        return wanted if self.key == "-" else {**wanted, "__SHARDINGKEY": self.key}


@dataclasses.dataclass
class Outcome:
    """What a sender was told."""

    code: int
    error: str
    sent: str
    uniq_key: str

    @property
    def is_success(self):
        return self.code == 0 and self.error == "-"


def size_of_one(chance):
    """10 to 100,000 bytes: mostly small ones, some large ones."""
    kind = chance.random()
    if kind < 0.9:
        return chance.randint(10, 1000)
    return chance.randint(1000, 20000) if kind < 0.99 else chance.randint(20000, 100000)


def messages_to_send(n):
    chance = random.Random(SEED)
    senders = chance.choices(list(SHARES), list(SHARES.values()), k=n)
    messages = []
    for number, sender in enumerate(senders):
        key = f"{sender}-{chance.randrange(KEYS_PER_SENDER)}" if chance.random() < 0.75 else "-"
        # Half of them are text, the others any bytes.
        pattern = chance.randbytes(chance.randint(8, 40))
        if chance.random() < 0.5:
            pattern = base64.b64encode(pattern)
        messages.append(
            Message(number, sender, size_of_one(chance), key, pattern, chance.choice(NOTES))
        )
    return messages


def build(directory, *command):
    done = subprocess.run(
        [str(word) for word in command], cwd=directory, capture_output=True, text=True
    )
    equal(done.returncode, 0, f"the exit code of {command[0]}: {done.stderr}")
    return [f"{directory}/send"]


def build_go(directory):
    return build(directory, "go", "build", "-o", "send", SENDERS / "send.go")


def build_c(directory):
    library = pathlib.Path(remotingctl()).parent / "library" / "libremotingclient.so"
    words = ["cc", "-o", "send", SENDERS / "send.c", "-I", ROOT / "client", library]
    words.append(f"-Wl,-rpath,{library.parent}")
    # A library that was built with sanitizers wants a program that has them.
    if b"__asan_init" in library.read_bytes():
        words.append("-fsanitize=address,undefined")
    return build(directory, *words)


def remotingctl():
    return binary("REMOTINGCTL", "build-test/client/remotingctl")


# language -> (the program that must be there, the command)
LANGUAGES = {
    "python": (sys.executable, lambda _: [sys.executable, str(SENDERS / "send.py")]),
    "php": ("php", lambda _: ["php", str(SENDERS / "send.php")]),
    "perl": ("perl", lambda _: ["perl", str(SENDERS / "send.pl")]),
    "node": ("node", lambda _: ["node", str(SENDERS / "send.mjs")]),
    "go": ("go", build_go),
    "ruby": ("ruby", lambda _: ["ruby", str(SENDERS / "send.rb")]),
    "c": ("cc", build_c),
    "shell": ("bash", lambda _: ["bash", str(SENDERS / "send.sh")]),
}


def command_of(language, directory):
    program, command = LANGUAGES[language]
    if shutil.which(program) is None:
        note(f"{language} is not installed: its messages are sent by Python")
        command = LANGUAGES["python"][1]
    home = pathlib.Path(directory) / language
    home.mkdir()
    return command(home)


class Sender:
    """A program that sends its messages; fed line by line, so that it can be kept to a pace."""

    def __init__(self, language, command, running, topic, messages, seconds):
        self.language = language
        self.messages = messages
        self.outcomes = {}
        self.seconds = seconds
        self.errors = tempfile.TemporaryFile()
        path = f"{pathlib.Path(remotingctl()).parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [*command, running.socket, topic, language],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PATH": path},
        )
        self.threads = [
            threading.Thread(target=part, daemon=True) for part in (self._feed, self._read)
        ]
        for thread in self.threads:
            thread.start()

    def _feed(self):
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            for n, message in enumerate(self.messages):
                due = began + self.seconds * n / len(self.messages)
                time.sleep(max(0.0, due - time.monotonic()))
                stdin.write(message.line())
                stdin.flush()

    def _read(self):
        for line in self.process.stdout:
            number, code, error, sent, uniq_key = line.rstrip("\n").split("\t")
            self.outcomes[int(number)] = Outcome(int(code), error, sent, uniq_key)

    def is_done(self):
        return not any(thread.is_alive() for thread in self.threads)

    def end(self):
        """Asserts that it answered for every message."""
        self.errors.seek(0)
        words = self.errors.read().decode(errors="replace")
        equal(self.process.wait(30), 0, f"the exit code of the sender in {self.language}: {words}")
        numbers = sorted(message.number for message in self.messages)
        equal(sorted(self.outcomes), numbers, f"what the sender in {self.language} answered for")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


@contextlib.contextmanager
def senders(running, topic, messages, seconds=0.0):
    """All of them, running; the messages are handed out in this time at least."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        commands = {language: command_of(language, directory) for language in SHARES}
        started = []
        for language, command in commands.items():
            own = [message for message in messages if message.sender == language]
            started.append(Sender(language, command, running, topic, own, seconds))
            stack.callback(started[-1].kill)
        yield started


def outcomes_of(started):
    outcomes = {}
    for sender in started:
        sender.end()
        outcomes.update(sender.outcomes)
    return outcomes


@dataclasses.dataclass
class Arrival:
    """Where a message was stored, as it arrived."""

    place: tuple  # broker, queue
    offset: int
    uniq_key: str
    is_again: bool  # a redelivery: the receipt of an earlier one went unused


class Received:
    """What came, message by message, each compared with what was to be sent as it comes."""

    def __init__(self, messages):
        self.messages = messages
        self.arrivals = collections.defaultdict(list)
        self.n_rows = 0
        self.n_bytes = 0

    def add(self, row):
        equal(row.get("reason"), None, "why a message could not be decoded")
        text = row["body"]
        body = base64.b64decode(text) if row["encoding"] == "base64" else text.encode()
        message = self.messages[int(row["keys"])]
        what = f"message {message.number} of {message.sender}"
        equal(len(body), message.size, f"the size of {what}")
        equal(hashlib.sha256(body).hexdigest(), message.digest(), f"the SHA-256 of {what}")
        wanted = message.properties()
        seen = {name: row["properties"].get(name) for name in wanted}
        equal(seen, wanted, f"the properties of {what}")
        self.n_rows += 1
        self.n_bytes += len(body)
        self.arrivals[message.number].append(
            Arrival(
                (row["brokerName"], int(row["queueId"])),
                int(row["queueOffset"]),
                row["uniqKey"],
                int(row["reconsumeTimes"]) > 0,
            )
        )

    def take(self, client, topic, poll_millis):
        """One POP, acknowledged; how many came."""
        rows = rocketmq_story.receive(
            client,
            topic,
            GROUP,
            poll_millis=poll_millis,
            maxMsgNums=32,
            invisibleTime=300000,
        )
        for row in rows:
            self.add(row)
        opaques = [client.send(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}) for row in rows]
        for answer in client.gather(opaques).values():
            rocketmq_story.succeeded(answer, "the answer to ACK_MESSAGE")
        return len(rows)

    def take_until_silent(self, client, topic, polls=2):
        """Until so many POPs in a row bring nothing."""
        n_silent = 0
        while n_silent < polls:
            n_silent = 0 if self.take(client, topic, 2000) else n_silent + 1


def nothing_is_lost(received, outcomes):
    lost = [
        number
        for number, outcome in outcomes.items()
        if outcome.is_success and number not in received.arrivals
    ]
    equal(lost, [], "messages that were accepted and not received")


def nothing_is_doubled(received, outcomes):
    """The same message comes twice only as a redelivery; what came is what its sender was told."""
    for number, arrivals in received.arrivals.items():
        first = [arrival for arrival in arrivals if not arrival.is_again]
        equal(len(first) <= 1, True, f"message {number} came once: {arrivals}")
        told = outcomes[number].uniq_key
        if told != "-":
            equal({arrival.uniq_key for arrival in arrivals}, {told}, f"UNIQ_KEY of {number}")


def order_is_kept(received, outcomes, one_queue):
    """
    Messages of a key whose sends succeeded stand in each queue in the order in which they were
    sent, and came in this order; with one_queue they are all in the same.
    """
    last = {}
    places = collections.defaultdict(set)
    n_compared = 0
    for number in sorted(received.arrivals):
        key = received.messages[number].key
        first = [arrival for arrival in received.arrivals[number] if not arrival.is_again]
        if key == "-" or not first or not outcomes[number].is_success:
            continue
        (arrival,) = first
        places[key].add(arrival.place)
        before, offset = last.get((key, arrival.place), (None, -1))
        less(offset, arrival.offset, f"offset of {before}, sent before {number} with key {key}")
        last[key, arrival.place] = (number, arrival.offset)
        n_compared += 1
    check(n_compared > 0, "there were messages with keys")
    if one_queue:
        moved = {key: queues for key, queues in places.items() if len(queues) > 1}
        equal(moved, {}, "keys whose messages are in several queues")


def arrival_order_is_kept(received):
    """One receiver gets the messages of a key in the order in which they were sent."""
    last = {}
    for number in received.arrivals:  # as they came
        key = received.messages[number].key
        if key != "-" and not received.arrivals[number][0].is_again:
            less(last.get(key, -1), number, f"the one with key {key} that came before {number}")
            last[key] = number


@test(deadline=200 + N_MESSAGES // 20)
@uses("POP, ACK, receipts")
def what_eight_languages_send_at_once_is_received_exactly_as_it_was_sent():
    messages = messages_to_send(N_MESSAGES)
    topic = rocketmq_story.new_topic()
    # It is about what is sent and received, not about how fast this machine is just now.
    with rocketmq_story.daemon(settings={"upstream": {"request_timeout": "30s"}}) as running:
        client = running.client()
        received = Received(messages)
        with senders(running, topic, messages) as started:
            began = time.monotonic()
            while not all(sender.is_done() for sender in started):
                received.take(client, topic, 500)
            sent_in = time.monotonic() - began
            outcomes = outcomes_of(started)
        received.take_until_silent(client, topic)
        note(
            f"seed {SEED}: {len(outcomes)} messages sent in {sent_in:.1f} s, {received.n_rows} "
            f"received with {received.n_bytes} bytes in {time.monotonic() - began:.1f} s"
        )
        failed = {number: row for number, row in outcomes.items() if not row.is_success}
        equal(failed, {}, "sends that failed")
        nothing_is_lost(received, outcomes)
        nothing_is_doubled(received, outcomes)
        order_is_kept(received, outcomes, one_queue=True)
        arrival_order_is_kept(received)


def every_failure_has_a_cause(outcomes, received):
    failed = {number: row for number, row in outcomes.items() if not row.is_success}
    for number, row in failed.items():
        if row.error == "-":
            check(row.code > 0, f"message {number} has a broker's code: {row}")
            continue
        check(row.sent in ("no", "maybe"), f"message {number} was sent or not: {row}")
        if row.sent == "no":
            equal(number in received.arrivals, False, f"{number} came, and was told not sent")
    causes = collections.Counter((row.code, row.error, row.sent) for row in failed.values())
    came = sum(1 for number in failed if number in received.arrivals)
    note(f"{len(failed)} sends failed, {came} of them came all the same; causes: {dict(causes)}")


def kill_again_and_again(cluster, name, is_over):
    """Ends with all running; how often one was killed."""
    n_killed = 0
    while not is_over():
        cluster.kill(name)
        n_killed += 1
        cluster.start_again(name)
        # Some sends go through it before it is killed again.
        end = time.monotonic() + 2
        while time.monotonic() < end and not is_over():
            time.sleep(0.05)
    return n_killed


@test(deadline=280)
@uses("POP, ACK, receipts")
def while_a_broker_is_killed_again_and_again_what_is_accepted_is_received_and_the_rest_explained():
    messages = messages_to_send(N_MESSAGES_KILLED)
    cluster = Cluster(1, 2).start()
    try:
        topic = f"Killed-{os.getpid()}"
        cluster.create_topic(topic)
        settings = {"nameserver": {"route_refresh": "2s"}}
        with Daemon(nameservers=cluster.nameservers(), settings=settings) as running:
            received = Received(messages)
            with senders(running, topic, messages, KILLED_SECONDS) as started:
                n_killed = kill_again_and_again(
                    cluster, VICTIM, lambda: all(sender.is_done() for sender in started)
                )
                outcomes = outcomes_of(started)
            check(n_killed > 1, f"{VICTIM} was killed more than once")
            end = time.monotonic() + 60
            accepted = {number for number, row in outcomes.items() if row.is_success}
            client = running.client()
            while not accepted <= set(received.arrivals) and time.monotonic() < end:
                received.take(client, topic, 2000)
            received.take_until_silent(client, topic)
            note(
                f"seed {SEED}: {VICTIM} was killed {n_killed} times, {len(outcomes)} sends, "
                f"{len(accepted)} succeeded, {received.n_rows} messages received"
            )
            nothing_is_lost(received, outcomes)
            nothing_is_doubled(received, outcomes)
            order_is_kept(received, outcomes, one_queue=False)
            every_failure_has_a_cause(outcomes, received)
    finally:
        cluster.stop()


main()
