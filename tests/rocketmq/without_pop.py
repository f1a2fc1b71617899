#!/usr/bin/env python3
"""Receiving from a real broker of 4.9, which has no POP, by the same commands"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import rocketmq_cluster
import tap
from daemon_process import Daemon
from remoting import ACK_MESSAGE, POP_MESSAGE, REQUEST_CODE_NOT_SUPPORTED, SEND_MESSAGE, Client
from rocketmq_story import receive, receive_all, succeeded
from tap import check, equal, main, test

N_MESSAGES = 100
TOPIC = "WithoutPop"

_cluster = None


def cluster():
    global _cluster
    if _cluster is None:
        version = rocketmq_cluster.VERSION_WITHOUT_POP
        _cluster = rocketmq_cluster.Cluster(1, 1, version=version).start()
        tap.at_end(the_broker_is_taken_down)
        _cluster.create_topic(TOPIC)
    return _cluster


def the_broker_is_taken_down():
    _cluster.stop()
    equal([name for name in _cluster.names if _cluster.is_running(name)], [], "what still runs")


def is_at_its_end(group):
    """The broker has stored that the group is through with every queue."""
    broker = Client(cluster().address("broker-a"), timeout=30)
    for queue_id in range(4):
        where = {"topic": TOPIC, "consumerGroup": group, "queueId": queue_id}
        committed = succeeded(broker.call(14, where), "the group's offset").ext["offset"]
        end = succeeded(broker.call(30, where), "the queue's end").ext["offset"]
        equal(committed, end, f"the offset in queue {queue_id}")


def send(client, word, n=N_MESSAGES):
    bodies = [f"{word}-{i}" for i in range(n)]
    opaques = [client.send(SEND_MESSAGE, {"topic": TOPIC}, body.encode()) for body in bodies]
    for answer in client.gather(opaques, timeout=60).values():
        succeeded(answer, "a send")
    return bodies


@test(deadline=200)
def every_message_comes_once_and_the_broker_stores_how_far_the_group_is():
    address = cluster().address("broker-a")
    ext = {"topic": TOPIC, "consumerGroup": "G", "queueId": "-1", "maxMsgNums": "1"}
    answer = Client(address, timeout=30).call(POP_MESSAGE, ext)
    equal(answer.code, REQUEST_CODE_NOT_SUPPORTED, "what this broker says to a POP")
    with Daemon(nameservers=cluster().nameservers()) as running:
        client = running.client()
        bodies = send(client, "first")
        rows = receive_all(client, TOPIC, "G", N_MESSAGES, bodies=bodies, timeout=60)
        equal(sorted(row["body"] for row in rows), sorted(bodies), "what came, each of them once")
        check(all(row["receipt"].startswith("c1~") for row in rows), "receipts of their own kind")
    is_at_its_end("G")
    with Daemon(nameservers=cluster().nameservers()) as running:
        # Its queues are the other daemon's for a minute after that: another group is not held up.
        found = receive_all(running.client(), TOPIC, "Other", N_MESSAGES, bodies=bodies, timeout=60)
        equal(len(found), N_MESSAGES, "what another group gets")


@test(deadline=200)
def what_is_not_acknowledged_comes_again_and_holds_the_offset_back():
    with Daemon(nameservers=cluster().nameservers()) as running:
        client = running.client()
        receive_all(client, TOPIC, "Again", N_MESSAGES, timeout=60)
        send(client, "again", 3)
        rows = receive_all(
            client, TOPIC, "Again", 3, acknowledge=False, timeout=30, invisibleTime="3000"
        )
        equal(sorted(row["body"] for row in rows), ["again-0", "again-1", "again-2"], "what came")
        kept, *rest = rows
        for row in rest:
            succeeded(client.call(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}), "the ACK")
        again = receive_all(client, TOPIC, "Again", 1, timeout=30)
        equal([row["body"] for row in again], [kept["body"]], "what comes again")
        equal(receive(client, TOPIC, "Again", poll_millis=1000), [], "what comes after that")
        is_at_its_end("Again")


main()
