#!/usr/bin/env python3
"""What a POP brings and its caller did not ask for is acknowledged or becomes a dead letter"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers, close, in_turn
from remoting import (
    ACK_MESSAGE,
    CONSUMER_SEND_MSG_BACK,
    GET_STATS,
    MESSAGE_ILLEGAL,
    NOTIFICATION,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    PULL_MESSAGE,
    SYSTEM_ERROR,
    messages,
    stored_message,
)
from scenario import TOPIC, is_failure, stage
from tap import check, contains, equal, main, test, wait_until

POP_TIME = 1700000000000


def popped(*stored, order_count=None):
    """The answer of a broker that found these messages in queue 0, with offsets from 0 on."""
    offsets = ",".join(str(offset) for offset in range(len(stored)))
    ext = {
        "popTime": str(POP_TIME),
        "invisibleTime": "60000",
        "reviveQid": "999" if order_count else "3",
        "startOffsetInfo": "0 0 0",
        "msgOffsetInfo": f"0 0 {offsets}",
    }
    if order_count:
        ext["orderCountInfo"] = order_count
    return answers(ext=ext, body=b"".join(stored))


def tagged(offset, tag, **more):
    return stored_message(TOPIC, tag.encode(), offset, properties={"TAGS": tag}, **more)


def pop(on, client=None, **more):
    ext = {"topic": TOPIC, "consumerGroup": "GID", "sidecar.answerFormat": "json", **more}
    return (client or on.client()).call(POP_MESSAGE, ext)


def bodies(answer):
    equal((answer.code, answer.error), (0, None), f"the answer (remark: {answer.remark})")
    return [row["body"] for row in answer.json()]


def counted(on, name):
    return on.client().call(GET_STATS).json()[name]


# "Aa" and "BB" have the same hash in Java, which is all that brokers compare.
@test
def a_message_with_another_tag_of_the_same_hash_is_acknowledged_and_not_given():
    with stage() as on:
        on.broker.on(POP_MESSAGE, popped(tagged(0, "Aa"), tagged(1, "BB"), tagged(2, "Aa")))
        equal(bodies(pop(on, exp="Aa", expType="TAG")), ["Aa", "Aa"], "the bodies")
        request = on.broker.wait_for(1, ACK_MESSAGE)[0]
        info = f"0 {POP_TIME} 60000 3 0 broker-a 0 1"
        seen = (request.ext["offset"], request.ext["extraInfo"])
        equal(seen, ("1", info), "what is acknowledged")
        equal(counted(on, "popFiltered"), 1, "popFiltered")
        ext = {"topic": TOPIC, "consumerGroup": "GID", "exp": "cc || BB"}
        found = messages(on.client().call(POP_MESSAGE, ext).body)
        equal([message.body for message in found], [b"BB"], "the same as RocketMQ stores them")
        equal(bodies(pop(on, exp="*")), ["Aa", "BB", "Aa"], "without a tag")
        equal(bodies(pop(on, exp="a = 1", expType="SQL92")), ["Aa", "BB", "Aa"], "by expression")


@test
def where_nothing_is_left_the_broker_is_asked_again():
    with stage() as on:
        nothing, found = popped(tagged(0, "BB")), popped(tagged(0, "Aa"))
        on.broker.on(POP_MESSAGE, in_turn(nothing, nothing, found))
        equal(bodies(pop(on, exp="Aa", pollTime=0)), ["Aa"], "the bodies")
        equal(len(on.broker.seen(POP_MESSAGE)), 3, "how often it was asked")
        on.broker.on(POP_MESSAGE, nothing)
        answer = pop(on, exp="Aa", pollTime=0, **{"sidecar.timeoutMillis": 400})
        equal((answer.code, answer.error), (POLLING_TIMEOUT, None), "when there is no end of it")


@test
def a_pull_gives_what_has_the_tag_and_says_where_to_go_on():
    with stage() as on:
        stored = tagged(40, "BB") + tagged(41, "Aa")
        on.broker.on(PULL_MESSAGE, answers(ext={"nextBeginOffset": "42"}, body=stored))
        ask = {"topic": TOPIC, "consumerGroup": "GID", "queueId": 0, "queueOffset": 40}
        ask["sidecar.answerFormat"] = "json"
        client = on.client()
        answer = client.call(PULL_MESSAGE, {**ask, "subscription": "Aa"})
        equal(bodies(answer), ["Aa"], "the bodies")
        answer = client.call(PULL_MESSAGE, {**ask, "subscription": "cc"})
        equal((bodies(answer), answer.ext["nextBeginOffset"]), ([], "42"), "when none has it")
        equal(bodies(client.call(PULL_MESSAGE, ask)), ["BB", "Aa"], "without a tag")
        # A subscription that the broker does not look at filters nothing here either.
        answer = client.call(PULL_MESSAGE, {**ask, "subscription": "cc", "sysFlag": 0})
        equal(bodies(answer), ["BB", "Aa"], "with flags of the caller's own")


@test
def who_came_too_often_is_acknowledged_when_it_is_a_dead_letter():
    with stage() as on:
        stored = [
            stored_message(TOPIC, b"twice", 0, reconsume_times=2),
            stored_message(TOPIC, b"thrice", 1, reconsume_times=3, physical_offset=7000),
        ]
        held = Held()
        on.broker.on(POP_MESSAGE, popped(*stored))
        on.broker.on(CONSUMER_SEND_MSG_BACK, held)
        equal(bodies(pop(on, **{"sidecar.maxReconsume": 2})), ["twice"], "the bodies")
        connection, request = held.wait_for(1)[0]
        equal(
            [request.ext[key] for key in ("group", "originTopic", "offset", "bname")],
            ["GID", TOPIC, "7000", "broker-a"],
            "what is sent back",
        )
        check(int(request.ext["delayLevel"]) < 0, "to the dead-letter topic")
        equal(on.broker.seen(ACK_MESSAGE), [], "acknowledgements before the answer")
        connection.answer(request)
        equal(on.broker.wait_for(1, ACK_MESSAGE)[0].ext["offset"], "1", "what is acknowledged")
        equal(counted(on, "popDeadLettered"), 1, "popDeadLettered")


@test
def who_cannot_become_a_dead_letter_comes_again():
    behaviours = (("refused", answers(SYSTEM_ERROR, remark="disk full")), ("gone", close))
    for name, behaviour in behaviours:
        with stage() as on:
            often = stored_message(TOPIC, b"b", 1, reconsume_times=9)
            on.broker.on(POP_MESSAGE, popped(stored_message(TOPIC, b"a", 0), often))
            on.broker.on(CONSUMER_SEND_MSG_BACK, behaviour)
            equal(bodies(pop(on, **{"sidecar.maxReconsume": 0})), ["a"], f"{name}: the bodies")
            wait_until(lambda: "dead-letter topic" in on.daemon.log(), 5, f"{name}: a log line")
            equal(on.broker.seen(ACK_MESSAGE), [], f"{name}: acknowledgements")
            equal(counted(on, "popDeadLettered"), 0, f"{name}: popDeadLettered")


@test
def a_storm_of_dead_letters_is_bounded():
    with stage() as on:
        stored = [stored_message(TOPIC, b"x", n, reconsume_times=1) for n in range(32)]
        held = Held()
        on.broker.on(POP_MESSAGE, in_turn(*[popped(*stored)] * 40, answers(POLLING_TIMEOUT)))
        on.broker.on(CONSUMER_SEND_MSG_BACK, held)
        answer = pop(on, pollTime=0, **{"sidecar.maxReconsume": 0})
        equal((answer.code, answer.error), (POLLING_TIMEOUT, None), "the answer")
        equal(len(held.wait_for(1024)), 1024, "of 1280, at a time")


@test
def an_ordered_receive_tells_how_often_and_waits_for_the_lock():
    with stage() as on:
        stored = [stored_message(TOPIC, b"a", 0), stored_message(TOPIC, b"b", 1)]
        found = popped(*stored, order_count="0 qo0%0 3;0 qo0%1 1;0 0 1")
        on.broker.on(POP_MESSAGE, in_turn(answers(POLLING_TIMEOUT), found))
        on.broker.on(NOTIFICATION, answers(ext={"hasMsg": "true", "pollingFull": "false"}))
        answer = pop(on, order="true")
        equal(bodies(answer), ["a", "b"], "the bodies")
        equal([row["reconsumeTimes"] for row in answer.json()], [3, 1], "how often they came")
        equal(on.broker.seen(NOTIFICATION)[0].ext["order"], "true", "order of the NOTIFICATION")
        equal({row.ext["order"] for row in on.broker.seen(POP_MESSAGE)}, {"true"}, "of the POPs")
        equal(bodies(pop(on, order="true", **{"sidecar.maxReconsume": 1})), ["b"], "who did not")
        on.broker.on(POP_MESSAGE, in_turn(answers(POLLING_TIMEOUT), found))
        pop(on)
        equal(on.broker.seen(NOTIFICATION)[-1].ext["order"], "false", "order where nobody asks")


@test
def an_order_or_a_number_that_is_none_is_invalid():
    with stage() as on:
        for key, value in (("order", "maybe"), *(("sidecar.maxReconsume", x) for x in ("-1", "x"))):
            ext = {key: value}
            answer = pop(on, **ext)
            is_failure(answer, "invalid", MESSAGE_ILLEGAL, what=f"a POP with {ext}")
            contains(answer.remark, value, "the remark")


main()
