#!/usr/bin/env python3
"""Messages that were popped and reach nobody are given back at once"""

import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import Held, answers
from remoting import CHANGE_MESSAGE_INVISIBLETIME, GET_STATS, POP_MESSAGE, PULL_MESSAGE
from scenario import POPPED, POPPED_FOR, is_own, stage
from tap import equal, less, main, test, wait_until

GET_STATUS = 30024
TOPIC, GROUP = POPPED_FOR
PLACES = [(0, 0), (0, 1), (0, 2), (1, 0)]


def pop(client, **more):
    return client.send(POP_MESSAGE, {"topic": TOPIC, "consumerGroup": GROUP, **more})


def answer_all(waiting):
    for connection, request in waiting:
        connection.answer(request, POPPED.code, POPPED.ext, POPPED.body)


def orphaned(on):
    return on.client().call(GET_STATS).json()["popOrphaned"]


@test
def each_message_of_a_pop_whose_caller_went_is_made_visible_again_and_counted():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        gone = on.client()
        pop(gone)
        waiting = held.wait_for(1)
        files = on.daemon.files()
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        answer_all(waiting)
        given_back = on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)
        for request, (queue_id, offset) in zip(given_back, PLACES):
            # As in the acknowledgements that the broker took for these messages.
            info = f"0 {POPPED.ext['popTime']} 8000 0 0 broker-a {queue_id} {offset}"
            equal(
                [request.ext[key] for key in ("topic", "consumerGroup", "queueId", "offset")],
                [TOPIC, GROUP, str(queue_id), str(offset)],
                "the message that is given back",
            )
            equal(request.ext["extraInfo"], info, "its receipt")
            less(int(request.ext["invisibleTime"]), 5001, "milliseconds until it is visible")
        equal(orphaned(on), 4, "messages counted")
        equal(on.client().call(GET_STATUS).json()["popOrphaned"], 4, "messages in the status")
        is_own(on.call(on.client(), "next"), "next")


@test
def what_was_popped_by_address_is_given_back_where_a_route_names_the_broker():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        on.measure_nameserver()
        equal(on.client().call(remoting.SEND_MESSAGE, {"topic": TOPIC}, b"x").code, 0, "a send")
        gone, late = on.client(), on.client()
        pop(gone, **{"sidecar.addr": on.broker.address})
        files = on.daemon.files()
        held.wait_for(1)
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        answer_all(held.waiting)
        on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)
        more = {"sidecar.addr": on.broker.address, "sidecar.timeoutMillis": 300}
        equal(late.receive(pop(late, **more)).error, "timeout", "the failure")
        answer_all(held.waiting[1:])
        given_back = on.broker.wait_for(8, CHANGE_MESSAGE_INVISIBLETIME)
        names = {request.ext["extraInfo"].split(" ")[5] for request in given_back}
        equal(names, {"broker-a"}, "the broker of all of them")
        equal(orphaned(on), 8, "messages counted")


@test
def nobody_pops_oneway():
    with stage() as on:
        client = on.client()
        ext = {"topic": TOPIC, "consumerGroup": GROUP, "sidecar.addr": on.broker.address}
        client.send(POP_MESSAGE, ext, oneway=True)
        is_own(on.call(client, "next"), "next")
        stats = client.call(GET_STATS).json()
        equal((stats["onewayFailed"], on.broker.seen(POP_MESSAGE)), (1, []), "failed, and sent")


@test
def a_caller_that_stays_keeps_its_messages():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        client = on.client()
        opaque = pop(client, **{"sidecar.answerFormat": "json"})
        answer_all(held.wait_for(1))
        equal(len(client.receive(opaque).json()), 4, "messages")
        is_own(on.call(on.client(), "next"), "next")
        equal(on.broker.seen(CHANGE_MESSAGE_INVISIBLETIME), [], "what was given back")
        equal(orphaned(on), 0, "messages counted")


@test
def a_storm_of_callers_that_go_keeps_a_bounded_number_waiting():
    with stage({"limits": {"max_long_polls_per_session": 2000}}) as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        gone = on.client()
        for _ in range(1200):
            pop(gone)
        waiting = held.wait_for(1200)
        files = on.daemon.files()
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        answer_all(waiting)
        # 1,024 are taken over; what is beyond comes again after its invisible time.
        wait_until(lambda: orphaned(on) >= 4 * 1024, 20, "1,024 POPs are given back")
        is_own(on.call(on.client(), "next"), "next")
        equal(orphaned(on), 4 * 1024, "messages counted")
        on.broker.wait_for(4 * 1024, CHANGE_MESSAGE_INVISIBLETIME, timeout=20)


@test
def a_broker_that_dies_before_it_answers_leaves_nothing_behind():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        gone = on.client()
        pop(gone)
        held.wait_for(1)
        files = on.daemon.files()
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        on.broker.close_connections()
        is_own(on.call(on.client(), "next"), "next")
        equal(orphaned(on), 0, "messages counted")


@test
def what_comes_after_the_deadline_of_the_caller_is_given_back():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        client = on.client()
        answer = client.receive(pop(client, **{"sidecar.timeoutMillis": 500}))
        equal(answer.error, "timeout", "the failure")
        answer_all(held.wait_for(1))
        on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)
        equal(orphaned(on), 4, "messages counted")
        is_own(on.call(client, "next"), "next")


def stored(offset, body):
    """One message as brokers store it, by the layout of RocketMQ's MessageDecoder."""
    rest = struct.pack(">iiiiqqiq", -626843481, 0, 0, 0, offset, offset, 0, 1700000000000)
    hosts = bytes((127, 0, 0, 1)) + struct.pack(">iq", 1, 1700000000000)
    hosts += bytes((127, 0, 0, 1)) + struct.pack(">iiqi", 2, 0, 0, len(body))
    topic = TOPIC.encode()
    rest += hosts + body + bytes((len(topic),)) + topic + struct.pack(">h", 0)
    return struct.pack(">i", len(rest) + 4) + rest


@test
def what_does_not_fit_the_answer_is_given_back_and_counted():
    ext = {
        "popTime": "1700000000000",
        "invisibleTime": "60000",
        "reviveQid": "3",
        "startOffsetInfo": "0 0 0",
        "msgOffsetInfo": "0 0 0,1,2,3",
    }
    # In base64 three take 16 MiB; the small one stands behind what does not fit.
    bodies = [b"\xff" * (4 << 20)] * 3 + [b"small"]
    body = b"".join(stored(offset, each) for offset, each in enumerate(bodies))
    with stage() as on:
        on.broker.on(POP_MESSAGE, answers(ext=ext, body=body))
        client = on.client(timeout=30)
        answer = client.receive(pop(client, **{"sidecar.answerFormat": "json"}))
        equal([row["queueOffset"] for row in answer.json()], [0, 1], "what the caller has")
        equal(answer.ext.get("sidecar.truncated"), "2", "messages left out")
        given_back = on.broker.wait_for(2, CHANGE_MESSAGE_INVISIBLETIME)
        equal([request.ext["offset"] for request in given_back], ["2", "3"], "what is given back")
        equal(orphaned(on), 2, "messages counted")


@test
def what_a_caller_that_does_not_read_has_no_room_for_is_given_back():
    ext = {
        "popTime": "1700000000000",
        "invisibleTime": "60000",
        "reviveQid": "3",
        "startOffsetInfo": "0 0 0",
    }
    n_pops = 24
    bodies = [stored(n, b"x" * (1 << 20)) for n in range(n_pops)]
    with stage({"limits": {"total_memory": "32MiB"}}) as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        client = on.client(timeout=30)
        forms = ("native", "json")
        opaques = [pop(client, **{"sidecar.answerFormat": forms[n % 2]}) for n in range(n_pops)]
        for n, (connection, request) in enumerate(held.wait_for(n_pops)):
            connection.answer(request, 0, {**ext, "msgOffsetInfo": f"0 0 {n}"}, bodies[n])
        # 8 MiB of answers are a quarter of the memory: from then on they are refused.
        on.broker.wait_for(8, CHANGE_MESSAGE_INVISIBLETIME)
        got = client.gather(opaques)
        refused = [n for n, opaque in enumerate(opaques) if got[opaque].error == "overloaded"]
        given_back = on.broker.wait_for(len(refused), CHANGE_MESSAGE_INVISIBLETIME)
        offsets = sorted(int(request.ext["offset"]) for request in given_back)
        equal(offsets, refused, "the messages of the answers that were refused")
        equal(orphaned(on), len(refused), "messages counted")


@test
def a_pull_whose_answer_does_not_fit_goes_on_at_what_was_left_out():
    body = b"".join(stored(offset, b"\xff" * (4 << 20)) for offset in (7, 8, 9))
    ext = {"nextBeginOffset": "10", "minOffset": "0", "maxOffset": "10"}
    with stage() as on:
        on.broker.on(PULL_MESSAGE, answers(ext=ext, body=body))
        ask = {"topic": TOPIC, "consumerGroup": GROUP, "queueId": 0, "queueOffset": 7}
        ask["sidecar.answerFormat"] = "json"
        answer = on.client(timeout=30).call(PULL_MESSAGE, ask)
        equal([row["queueOffset"] for row in answer.json()], [7, 8], "what the caller has")
        equal(answer.ext["nextBeginOffset"], "9", "where it goes on")


main()
