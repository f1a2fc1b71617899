#!/usr/bin/env python3
"""Receiving from a broker without POP, as before 5.0: the same commands by the classic road"""

import json
import pathlib
import struct
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers
from remoting import (
    ACK_MESSAGE,
    CHANGE_MESSAGE_INVISIBLETIME,
    GET_CONSUMER_LIST_BY_GROUP,
    GET_STATS,
    LOCK_BATCH_MQ,
    NOTIFICATION,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    PULL_MESSAGE,
    PULL_NOT_FOUND,
    REQUEST_CODE_NOT_SUPPORTED,
    SYSTEM_ERROR,
)
from scenario import TOPIC, is_failure, stage
from tap import check, contains, equal, main, test

QUERY_CONSUMER_OFFSET, UPDATE_CONSUMER_OFFSET, GET_MIN_OFFSET = 14, 15, 31
QUERY_NOT_FOUND = 22
N_QUEUES = 4


def stored(queue_id, offset, body, topic=TOPIC):
    """What begins with a tag and a colon has that tag."""
    tag, colon, _ = body.partition(b":")
    properties = b"TAGS\x01" + tag + b"\x02" if colon else b""
    fixed = struct.pack(">Iiii", 0xDAA320A7, 0, queue_id, 0) + struct.pack(">qqi", offset, 0, 0)
    fixed += struct.pack(">q", 0) + bytes(8) + struct.pack(">q", 0) + bytes(8)
    fixed += struct.pack(">iq", 0, 0) + struct.pack(">i", len(body)) + body
    fixed += bytes([len(topic)]) + topic.encode() + struct.pack(">h", len(properties)) + properties
    return struct.pack(">i", 4 + len(fixed)) + fixed


class OldBroker:
    """What a broker of 4.9 does with the commands of the classic road, for one group."""

    def __init__(self, broker):
        self.queues = [[] for _ in range(N_QUEUES)]
        self.offsets = {}
        self.locks = set(range(N_QUEUES))
        self.lock = threading.Lock()
        no = answers(REQUEST_CODE_NOT_SUPPORTED, remark="request type not supported")
        for code in (POP_MESSAGE, ACK_MESSAGE, CHANGE_MESSAGE_INVISIBLETIME, NOTIFICATION):
            broker.on(code, no)
        broker.on(GET_CONSUMER_LIST_BY_GROUP, answers(SYSTEM_ERROR, remark="no consumer"))
        broker.on(LOCK_BATCH_MQ, self.on_lock)
        broker.on(QUERY_CONSUMER_OFFSET, self.on_query)
        broker.on(GET_MIN_OFFSET, answers(ext={"offset": "0"}))
        broker.on(UPDATE_CONSUMER_OFFSET, self.on_update)
        broker.on(PULL_MESSAGE, self.on_pull)

    def store(self, queue_id, *bodies):
        with self.lock:
            self.queues[queue_id] += [body.encode() for body in bodies]

    def on_lock(self, connection, request):
        rows = [row for row in request.json()["mqSet"] if row["queueId"] in self.locks]
        connection.answer(request, body=json.dumps({"lockOKMQSet": rows}).encode())

    def on_query(self, connection, request):
        offset = self.offsets.get(int(request.ext["queueId"]))
        if offset is None:
            connection.answer(request, QUERY_NOT_FOUND)
        else:
            connection.answer(request, ext={"offset": str(offset)})

    def on_update(self, connection, request):
        self.offsets[int(request.ext["queueId"])] = int(request.ext["commitOffset"])
        connection.answer(request)

    def on_pull(self, connection, request):
        queue_id, offset = int(request.ext["queueId"]), int(request.ext["queueOffset"])
        most = int(request.ext["maxMsgNums"])
        with self.lock:
            found = list(enumerate(self.queues[queue_id]))[offset : offset + most]
        end = offset + len(found)
        body = b"".join(stored(queue_id, at, content) for at, content in found)
        code = 0 if found else PULL_NOT_FOUND
        connection.answer(request, code, {"nextBeginOffset": str(end)}, body)


def pop(client, group="G", **more):
    ext = {"topic": TOPIC, "consumerGroup": group, "pollTime": "600", **more}
    ext.setdefault("sidecar.answerFormat", "json")
    return client.call(POP_MESSAGE, {key: value for key, value in ext.items() if value}, timeout=15)


def bodies(answer):
    equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")
    return [row["body"] for row in answer.json()]


def drain(client, **more):
    """All that there is, by body."""
    found = {}
    while True:
        answer = pop(client, **more)
        if answer.code == POLLING_TIMEOUT:
            return found
        equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")
        found.update({row["body"]: row for row in answer.json()})


def acknowledge(client, row):
    answer = client.call(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]})
    equal((answer.code, answer.error), (0, None), f"the acknowledgement ({answer.remark})")


@test
def messages_come_from_all_queues_once_and_an_acknowledgement_moves_the_offset():
    with stage() as on:
        old = OldBroker(on.broker)
        for queue_id in range(N_QUEUES):
            old.store(queue_id, *(f"{queue_id}-{n}" for n in range(3)))
        client = on.client()
        found = drain(client)
        equal(len(found), 12, "messages")
        row = found["2-0"]
        equal(row["receipt"], f"c1~{TOPIC}~G~broker-a~2~0", "a receipt")
        acknowledge(client, found["2-1"])
        equal(old.offsets, {}, "offsets while the first one is out")
        acknowledge(client, found["2-0"])
        equal(old.offsets, {2: 2}, "offsets: behind the last of those that are in one piece")
        acknowledge(client, found["2-2"])
        acknowledge(client, found["2-2"])
        equal(old.offsets, {2: 3}, "offsets after all of the queue")
        locked = on.broker.seen(LOCK_BATCH_MQ)
        equal(len(locked), 1, "lock commands")
        equal(len(locked[0].json()["mqSet"]), N_QUEUES, "queues that are locked")


@test
def offsets_of_a_queue_are_told_one_at_a_time_for_brokers_mix_up_their_order():
    with stage() as on:
        old = OldBroker(on.broker)
        old.store(0, *(f"m{n}" for n in range(20)))
        client = on.client()
        rows = list(drain(client).values())
        held = Held()
        on.broker.on(UPDATE_CONSUMER_OFFSET, held)
        opaques = [client.send(ACK_MESSAGE, {"sidecar.receipt": row["receipt"]}) for row in rows]
        connection, request = held.wait_for(1)[0]
        equal(request.ext["commitOffset"], "1", "the first offset that is told")
        client.gather(opaques[1:])
        equal(len(held.waiting), 1, "offsets that are under way")
        on.broker.on(UPDATE_CONSUMER_OFFSET, old.on_update)
        old.on_update(connection, request)
        equal(client.receive(opaques[0]).code, 0, "the answer to the first acknowledgement")
        equal(old.offsets, {0: 20}, "offsets")
        equal(len(on.broker.seen(UPDATE_CONSUMER_OFFSET)), 2, "offsets that were told")


@test
def what_is_not_acknowledged_comes_again_after_its_invisible_time():
    with stage() as on:
        old = OldBroker(on.broker)
        old.store(0, "first", "second")
        client = on.client()
        found = drain(client, invisibleTime="1500")
        acknowledge(client, found["second"])
        ext = {"sidecar.receipt": found["first"]["receipt"], "invisibleTime": "100"}
        equal(client.call(CHANGE_MESSAGE_INVISIBLETIME, ext).code, 0, "the answer to the change")
        again = pop(client, pollTime="10000")
        equal(bodies(again), ["first"], "what comes again")
        acknowledge(client, again.json()[0])
        equal(old.offsets, {0: 2}, "offsets")


@test
def a_message_that_is_stored_meanwhile_ends_the_wait():
    with stage() as on:
        old = OldBroker(on.broker)
        client = on.client()
        equal(pop(client).code, POLLING_TIMEOUT, "the answer where there is nothing")
        timer = threading.Timer(0.5, old.store, (3, "new"))
        timer.start()
        equal(bodies(pop(client, pollTime="15000")), ["new"], "what comes")


@test
def several_callers_share_what_there_is():
    with stage() as on:
        old = OldBroker(on.broker)
        for queue_id in range(N_QUEUES):
            old.store(queue_id, *(f"{queue_id}-{n}" for n in range(40)))
        clients = [on.client() for _ in range(4)]
        seen = []

        def take(client):
            seen.extend(drain(client, maxMsgNums="8"))

        threads = [threading.Thread(target=take, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        equal((len(seen), len(set(seen))), (160, 160), "messages, and different ones")


@test
def queues_that_another_one_has_locked_are_left_alone():
    with stage() as on:
        old = OldBroker(on.broker)
        old.locks = {1}
        old.store(0, "not ours")
        old.store(1, "ours")
        equal(list(drain(on.client())), ["ours"], "what comes")
        pulled = {request.ext["queueId"] for request in on.broker.seen(PULL_MESSAGE)}
        equal(pulled, {"1"}, "queues that are pulled from")


@test
def a_group_with_classic_members_is_refused_in_words():
    with stage() as on:
        OldBroker(on.broker)
        members = json.dumps({"consumerIdList": ["10.0.0.9@4711"]}).encode()
        on.broker.on(GET_CONSUMER_LIST_BY_GROUP, answers(body=members))
        answer = pop(on.client())
        is_failure(answer, "invalid", 13, "no")
        contains(answer.remark, "classic members there (10.0.0.9@4711)", "the remark")
        equal(on.broker.seen(PULL_MESSAGE), [], "pulls")


@test
def where_the_daemon_was_started_anew_the_rest_comes_again_and_old_receipts_are_void():
    with stage() as on:
        old = OldBroker(on.broker)
        old.store(0, "a", "b", "c")
        client = on.client()
        found = drain(client)
        acknowledge(client, found["a"])
        client.close()
        on.daemon.terminate()
        on.daemon.wait()
        on.daemon.start()
        client = on.client()
        answer = client.call(ACK_MESSAGE, {"sidecar.receipt": found["b"]["receipt"]})
        is_failure(answer, "invalid", 13, "no")
        contains(answer.remark, "it comes again", "the remark")
        equal(sorted(drain(client)), ["b", "c"], "what comes again")


@test
def in_native_form_it_is_refused_in_words():
    with stage() as on:
        OldBroker(on.broker)
        answer = pop(on.client(), **{"sidecar.answerFormat": "native"})
        is_failure(answer, "invalid", 13, "no")
        contains(answer.remark, "sidecar.answerFormat=json", "the remark")
        check(not on.broker.seen(PULL_MESSAGE), "nothing was pulled")


@test
def tags_of_the_same_hash_are_told_apart_and_what_is_passed_over_comes_never_again():
    with stage() as on:
        old = OldBroker(on.broker)
        for n in range(4):
            old.store(0, f"Aa: {n}", f"BB: {n}")
        client = on.client()
        found = drain(client, exp="Aa")
        equal(sorted(found), [f"Aa: {n}" for n in range(4)], "what is received")
        for row in found.values():
            acknowledge(client, row)
        equal(old.offsets, {0: 8}, "the offset behind all of them")
        equal(client.call(GET_STATS).json()["popFiltered"], 4, "messages that were passed over")


main()
