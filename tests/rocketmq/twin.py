#!/usr/bin/env python3
"""
What Java's producer and the sidecar store for the same message differs in ids, times and host alone

The messages stand twice, in java/Twin.java and in send_by_sidecar(): each has a name, which is a
property of it and, where nothing else is said, its body.
"""

import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import java_program
import remoting
from remoting import (
    END_TRANSACTION,
    GET_MAX_OFFSET,
    PULL_MESSAGE,
    SEND_BATCH_MESSAGE,
    SEND_MESSAGE_V2,
)
from rocketmq_story import cluster, daemon, has, new_topic, receive_all, succeeded, uses
from tap import at_end, check, equal, main, note, test, wait_until

COMMIT = "8"
N_QUEUES = 4
JAVA_SECONDS = 90
# As in Twin.java: a deadline that passes says nothing here.
TIMEOUT_MILLIS = 20000
# Each message has ids, times and a queue of its own: these are compared by their form.
OF_THE_MESSAGE = {
    "UNIQ_KEY",
    "__transactionId__",
    "TIMER_DELIVER_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "REAL_QID",  # the queue whose turn it was
}
# What a reader adds to what is stored.
OF_THE_READER = {"MIN_OFFSET", "MAX_OFFSET", "1ST_POP_TIME", "POP_CK", "POP_CK_OFFSET"}
SENT = ("batches", "compressed bodies", "delay levels", "transactions")
KEYS = ("order-17", "größe-7", "\N{RABBIT}")

directory = pathlib.Path(tempfile.mkdtemp(prefix="twin-"))
_java = None
_topics = None


@at_end
def the_programs_are_removed():
    subprocess.run(["rm", "-rf", directory], check=True)
    check(not directory.exists(), "the directory is gone")


def java(*arguments):
    """The lines that Java's side prints."""
    global _java
    if _java is None:
        _java = java_program.command(
            [pathlib.Path(__file__).parent / "java" / "Twin.java"],
            directory,
            "Twin",
            *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            # Otherwise what is printed is in the encoding of the locale.
            "-Dfile.encoding=UTF-8",
            # A UNIQ_KEY begins with an address: of the same family as the sidecar's.
            "-Djava.net.preferIPv4Stack=true",
        )
    done = subprocess.run(
        [*_java, *arguments], capture_output=True, encoding="utf-8", timeout=JAVA_SECONDS
    )
    equal(done.returncode, 0, f"the exit code of Twin {arguments[0]}: {done.stderr[-2000:]}")
    # Errors of the client's log stand among them.
    return [line for line in done.stdout.splitlines() if line == "sent" or line[:1] == "{"]


def nameservers():
    return ";".join(cluster().nameservers())


def digits(size):
    return bytes(ord("0") + i * 7 // 3 % 10 for i in range(size))


def noise(size):
    """Bytes that compress badly."""
    state = 1
    found = bytearray()
    for _ in range(size):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        found.append(state >> 16 & 0xFF)
    return bytes(found)


class Sender:
    """The messages, sent through one daemon."""

    def __init__(self, client, topic):
        self.client = client
        self.topic = topic

    def fields(self, name, properties):
        named = {"name": name, **properties}
        fields = {f"property.{key}": value for key, value in named.items()}
        return {"b": self.topic, "sidecar.timeoutMillis": TIMEOUT_MILLIS, **fields}

    def send(self, name, body=None, more=None, **properties):
        ext = {**self.fields(name, properties), **(more or {})}
        body = name.encode() if body is None else body
        return succeeded(
            self.client.call(SEND_MESSAGE_V2, ext, body, timeout=30), f"the answer to {name}"
        )

    def send_plain(self):
        self.send("plain")
        self.client.send(SEND_MESSAGE_V2, self.fields("oneway", {}), b"oneway", oneway=True)
        self.send("not-waiting", WAIT="false")

    def send_properties(self):
        self.send(
            "properties",
            more={"h": "17"},
            TAGS="blue",
            KEYS="order-17 order-18",
            BUYER_ID="buyer",
            INSTANCE_ID="instance",
            _SYS_MSG_PRIORITY_="3",
            colour="grün",
            animal="\N{RABBIT}",
            quoted='"a\\b"\t\n',
        )
        self.send("keys", KEYS="k1 k2")

    def send_compressed(self):
        for size in (4095, 4096, 100000):
            self.send(f"digits-{size}", digits(size))
        self.send("noise", noise(5000))

    def send_delayed(self):
        self.send("level", DELAY="1")
        if not has("timers"):
            return
        self.send("timer-seconds", TIMER_DELAY_SEC="1")
        self.send("timer-millis", TIMER_DELAY_MS="1000")
        self.send("timer-deliver", TIMER_DELIVER_MS=str(int(time.time() * 1000) + 1000))

    def send_ordered(self):
        for key in KEYS:
            self.send(f"ordered-{key}", __SHARDINGKEY=key)

    def send_batch(self, *rows):
        ext = {
            "b": self.topic,
            "sidecar.bodyFormat": "json",
            "sidecar.timeoutMillis": TIMEOUT_MILLIS,
        }
        body = json.dumps([{"body": row["name"], "properties": row} for row in rows]).encode()
        succeeded(self.client.call(SEND_BATCH_MESSAGE, ext, body), "the answer to a batch")

    def send_batches(self):
        self.send_batch({"name": "batch-0"}, {"name": "batch-1", "KEYS": "k1", "TAGS": "blue"})
        self.send_batch(*({"name": f"batch-{i}", "WAIT": "false"} for i in (2, 3)))

    def send_half(self):
        more = {"a": "TwinDeciders", "sidecar.transaction": "half"}
        receipt = self.send("committed", more=more).ext["sidecar.receipt"]
        ext = {"sidecar.receipt": receipt, "commitOrRollback": COMMIT}
        succeeded(self.client.call(END_TRANSACTION, ext), "the decision")


def send_by_sidecar(topic):
    with daemon() as running:
        sender = Sender(running.client(), topic)
        sender.send_plain()
        sender.send_properties()
        sender.send_compressed()
        sender.send_delayed()
        sender.send_ordered()
        sender.send_batches()
        sender.send_half()
    for compression in ("lz4", "zstd"):
        with daemon(settings={"send": {"compress_type": compression}}) as running:
            Sender(running.client(), topic).send(f"digits-{compression}", digits(100000))


def body_of(name):
    if name == "noise":
        return noise(5000)
    if name.startswith("digits-"):
        size = name.partition("-")[2]
        return digits(int(size) if size.isdigit() else 100000)
    return name.encode()


NAMES = sorted(
    ["plain", "oneway", "not-waiting", "properties", "keys", "noise", "level", "committed"]
    + [f"digits-{what}" for what in (4095, 4096, 100000, "lz4", "zstd")]
    + [f"timer-{what}" for what in ("seconds", "millis", "deliver") if has("timers")]
    + [f"ordered-{key}" for key in KEYS]
    + [f"batch-{i}" for i in range(4)]
)


def topics():
    """The topic with what Java has sent, and the one with what the sidecar has, complete."""
    global _topics
    if _topics is None:
        by_java, by_sidecar = new_topic("TwinJava"), new_topic("TwinSidecar")
        features = ["timer"] if has("timers") else []
        equal(java("send", nameservers(), by_java, *features), ["sent"], "Java")
        send_by_sidecar(by_sidecar)
        for topic in (by_java, by_sidecar):
            wait_until(lambda: n_stored(topic) >= len(NAMES), 30, f"{len(NAMES)} in {topic}")
        _topics = by_java, by_sidecar
    return _topics


def queues(topic):
    """(name of the broker, connection to it, queue id, end of the queue) of all queues."""
    for name, address in cluster().brokers().items():
        with remoting.Client(address) as direct:
            for queue_id in range(N_QUEUES):
                answer = direct.call(GET_MAX_OFFSET, {"topic": topic, "queueId": queue_id})
                yield name, direct, queue_id, int(succeeded(answer).ext["offset"])


def n_stored(topic):
    return sum(end for _, _, _, end in queues(topic))


def pull(direct, topic, queue_id, offset):
    ext = {
        "consumerGroup": "twin",
        "topic": topic,
        "queueId": queue_id,
        "queueOffset": offset,
        "maxMsgNums": 32,
        "sysFlag": 4,
        "commitOffset": 0,
        "suspendTimeoutMillis": 0,
        "subVersion": 0,
        "subscription": "*",
        "expressionType": "TAG",
    }
    return succeeded(direct.call(PULL_MESSAGE, ext), "the answer to PULL_MESSAGE")


def stored(topic):
    """(broker, message) of what is stored, by name."""
    found = {}
    for broker, direct, queue_id, end in queues(topic):
        offset = 0
        while offset < end:
            answer = pull(direct, topic, queue_id, offset)
            for message in remoting.messages(answer.body):
                found[message.properties["name"]] = (broker, message)
            offset = int(answer.ext["nextBeginOffset"])
    return found


def comparable(properties, topic):
    """Without what a reader adds; ids and times by their form."""
    return {
        key: re.sub("[0-9A-F]", "0", value)
        if key in OF_THE_MESSAGE
        else value.replace(topic, "TOPIC")
        for key, value in properties.items()
        if key not in OF_THE_READER
    }


def same_for_each(by_java, by_sidecar, of, what):
    """Compares of(name, row, topic) of both sides for each message; tells all that differ."""
    java_topic, sidecar_topic = topics()
    differing = {}
    for name in NAMES:
        expected = of(name, by_java[name], java_topic)
        seen = of(name, by_sidecar[name], sidecar_topic)
        if seen != expected:
            differing[name] = (expected, seen)
    for name, (expected, seen) in differing.items():
        note(f"{name}: Java {str(expected)[:800]}\n    sidecar {str(seen)[:800]}")
    equal(sorted(differing), [], what)


@test(deadline=200)
@uses(*SENT)
def each_of_them_is_stored_once_by_both():
    for topic in topics():
        equal(n_stored(topic), len(NAMES), f"the number of messages in {topic}")
        equal(sorted(stored(topic)), NAMES, f"the messages in {topic}")


@test
@uses(*SENT)
def what_the_broker_stores_differs_in_nothing_else():
    def of(name, row, topic):
        _, message = row
        properties = comparable(message.properties, topic)
        return message.sys_flag, message.flag, message.reconsume_times, properties

    same_for_each(*map(stored, topics()), of, "flags and properties that differ")


@test
@uses(*SENT)
def bodies_are_stored_alike_and_compressed_by_the_same_rule():
    def of(name, row, topic):
        # lz4 and zstd write different bytes from release to release.
        body = row[1].body
        return len(body) < 100000 if name in ("digits-lz4", "digits-zstd") else body

    same_for_each(*map(stored, topics()), of, "bodies that differ")


@test
@uses(*SENT)
def the_same_sharding_key_takes_the_same_queue():
    def of(name, row, topic):
        return (row[0], row[1].queue_id) if name.startswith("ordered-") else None

    same_for_each(*map(stored, topics()), of, "queues that differ")


def the_same_was_read(rows, body, same):
    """Each message of both topics once, with its body, and alike in what `same` gives of it."""
    by_topic = {topic: {} for topic in topics()}
    for row in rows:
        by_topic[row["topic"]][row["properties"]["name"]] = row
    for topic, found in by_topic.items():
        equal(sorted(found), NAMES, f"what is read of {topic}")
        wrong = [name for name in NAMES if body(found[name]) != body_of(name)]
        equal(wrong, [], f"messages of {topic} with another body")

    def of(name, row, topic):
        return [row.get(key) for key in same], comparable(row["properties"], topic)

    same_for_each(*(by_topic[topic] for topic in topics()), of, "what is read and differs")


@test(deadline=100)
@uses(*SENT)
def java_reads_what_the_sidecar_sent_as_it_reads_its_own():
    lines = java("receive", nameservers(), *topics())
    rows = [json.loads(line) for line in lines]
    the_same_was_read(
        rows, lambda row: base64.b64decode(row["body"]), ("flag", "sysFlag", "tags", "keys")
    )


@test
@uses(*SENT)
def the_sidecar_receives_what_java_sent_as_it_receives_its_own():
    rows = []
    with daemon() as running:
        client = running.client()
        for topic in topics():
            rows += receive_all(client, topic, f"Of-{topic}", len(NAMES), maxMsgNums=32)

    def body(row):
        return (
            base64.b64decode(row["body"]) if row["encoding"] == "base64" else row["body"].encode()
        )

    the_same_was_read(rows, body, ("flag", "sysFlag", "tags", "keys"))


main()
