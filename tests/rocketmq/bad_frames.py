#!/usr/bin/env python3
"""A caller that cannot be understood loses its own connection, and no one else anything"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from bad_frames import BAD, WHOLE
from remoting import GET_ROUTEINFO_BY_TOPIC, POP_MESSAGE, SEND_MESSAGE
from rocketmq_story import cluster, daemon, new_topic, succeeded, uses
from tap import check, equal, main, test, wait_until


@test(deadline=120)
@uses("POP, ACK, receipts")
def each_bad_frame_closes_the_connection_it_came_on_and_harms_no_other_caller():
    topic = new_topic()
    with daemon() as running:
        other = running.client()
        for _ in range(8):
            succeeded(other.call(SEND_MESSAGE, {"topic": topic}, b"x"))
        succeeded(other.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic}))
        # What another caller has in flight while all this happens, and what it is still given
        # afterwards.
        quiet = new_topic()
        poll = {
            "topic": quiet,
            "consumerGroup": "bad-frames",
            "pollTime": 60000,
            "sidecar.answerFormat": "json",
        }
        in_flight = other.send(POP_MESSAGE, poll)
        brokers = cluster().brokers().values()
        wait_until(
            lambda: all(len(running.upstreams_to(address)) == 2 for address in brokers),
            5,
            "to each broker a connection for sends and one for long polls",
        )
        before = running.upstreams()
        for what, data in BAD.items():
            client = running.client(timeout=5)
            client.send_bytes(data)
            try:
                answers = client.wait_for_end(5)
            except TimeoutError:
                check(False, f"{what}: the connection is closed")
            check(len(answers) <= 1, f"{what}: at most one answer before the end (saw {answers})")
            for answer in answers:
                equal(
                    (answer.error, answer.code),
                    ("invalid", remoting.MESSAGE_ILLEGAL),
                    f"{what}: the answer",
                )
                equal(answer.opaque, 5, f"{what}: its opaque")
            client.close()
            succeeded(
                other.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic}),
                f"{what}: another caller's answer after it",
            )
        equal(running.upstreams(), before, "the connections to nameservers and brokers")
        succeeded(other.call(SEND_MESSAGE, {"topic": quiet}, b"at last"))
        rows = succeeded(
            other.receive(in_flight), "the answer to the poll that was in flight all the time"
        ).json()
        equal([row["body"] for row in rows], ["at last"], "what it was given")
        succeeded(other.call(remoting.ACK_MESSAGE, {"sidecar.receipt": rows[0]["receipt"]}))


@test(deadline=120)
def a_caller_that_goes_in_the_middle_of_a_frame_takes_nothing_with_it():
    topic = new_topic()
    with daemon() as running:
        other = running.client()
        succeeded(other.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic}))
        succeeded(other.call(SEND_MESSAGE, {"topic": topic}, b"x"))
        before = running.upstreams()
        for n in range(1, len(WHOLE)):
            client = running.client()
            client.send_bytes(WHOLE[:n])
            client.close()
        succeeded(other.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic}))
        equal(running.upstreams(), before, "the connections to nameservers and brokers")


@test
def a_well_framed_command_that_makes_no_sense_is_answered_and_says_why():
    with daemon() as running:
        rows = {
            '{"code":105,"opaque":9,"extFields":{"topic":["a"]}}': "topic",
            '{"code":105,"opaque":9,"extFields":{"sidecar.nonsense":"1"}}': "sidecar.nonsense",
            '{"code":105,"opaque":9,"extFields":{"sidecar.timeoutMillis":"soon"}}': (
                "sidecar.timeoutMillis"
            ),
            '{"code":9999,"opaque":9}': "sidecar.addr",
            '{"opaque":9}': "code",
        }
        for header, word in rows.items():
            client = running.client()
            client.send_bytes(remoting.frame(header.encode()))
            answer = client.receive(9)
            equal(
                (answer.error, answer.code),
                ("invalid", remoting.MESSAGE_ILLEGAL),
                f"the answer to {header}",
            )
            check(word in (answer.remark or ""), f"the remark names {word} (saw: {answer.remark})")


main()
