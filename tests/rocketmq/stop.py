#!/usr/bin/env python3
"""SIGTERM answers what is in flight and ends with 0"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import POP_MESSAGE, SEND_MESSAGE
from rocketmq_story import daemon, new_topic, succeeded, uses
from tap import check, contains, equal, less, main, test, wait_until


@test
@uses("POP, ACK, receipts")
def a_long_poll_in_flight_is_answered_and_the_daemon_ends_with_0():
    topic = new_topic()
    with daemon(settings={"drain": {"timeout": "3s"}}) as running:
        client, idle = running.client(), running.client()
        succeeded(client.call(SEND_MESSAGE, {"topic": new_topic()}, b"x"))
        poll = {"topic": topic, "consumerGroup": "stop-1", "pollTime": 20000}
        opaques = [client.send(POP_MESSAGE, poll) for _ in range(8)]
        check(client.is_silent(0.5), "the polls wait")
        began = time.monotonic()
        running.terminate()
        answers = client.wait_for_end(20)
        equal(
            sorted(answer.opaque for answer in answers),
            opaques,
            "the polls that were answered, each once",
        )
        for answer in answers:
            contains((None, "draining"), answer.error, f"sidecar.error (remark: {answer.remark})")
        equal(idle.wait_for_end(10), [], "what the idle caller was told before the end")
        running.wait()
        less(time.monotonic() - began, 8.0, "seconds to the end, with a drain of 3 s")
        running.ended_well()


@test(deadline=90)
@uses("sends, retries, failover")
def under_a_stream_of_sends_everything_that_was_accepted_is_answered():
    topic = new_topic()
    for _ in range(5):
        with daemon() as running:
            clients = [running.client() for _ in range(8)]
            for client in clients:
                succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"warm"))
            for n in range(32):
                for client in clients:
                    client.send(SEND_MESSAGE, {"topic": topic}, b"x" * 512)
            # The daemon has begun when the first answer is here; the rest is in flight or unread.
            for client in clients:
                client.receive()
            running.terminate()
            for client in clients:
                answers = client.wait_for_end(20)
                opaques = sorted(answer.opaque for answer in answers)
                equal(len(set(opaques)), len(opaques), "every answer came once")
                # What it has read it answers; what it never read is the tail that a drain may leave
                # behind.
                missing = [opaque for opaque in range(2, 34) if opaque not in opaques]
                less(
                    len(missing),
                    2,
                    f"requests of one caller without an answer (the first came before): {missing}",
                )
                for answer in answers:
                    contains(
                        (None, "draining"), answer.error, f"sidecar.error (remark: {answer.remark})"
                    )
            running.wait()
            running.ended_well()


@test
@uses("POP, ACK, receipts")
def a_daemon_that_is_stopping_takes_no_new_callers():
    topic = new_topic()
    with daemon(settings={"drain": {"timeout": "4s"}}) as running:
        client = running.client()
        client.send(POP_MESSAGE, {"topic": topic, "consumerGroup": "stop-2", "pollTime": 20000})
        check(client.is_silent(0.5), "the poll waits")
        running.terminate()
        wait_until(running.refuses, 3, "new callers are refused")
        answer = client.call(SEND_MESSAGE, {"topic": topic}, b"x")
        equal(answer.error, "draining", "a new request of a caller that was there before")
        client.wait_for_end(20)
        running.wait()
        running.ended_well()


@test
@uses("POP, ACK, receipts")
def a_second_signal_stops_at_once():
    topic = new_topic()
    with daemon() as running:
        client = running.client()
        client.send(POP_MESSAGE, {"topic": topic, "consumerGroup": "stop-3", "pollTime": 20000})
        check(client.is_silent(0.5), "the poll waits")
        running.terminate()
        wait_until(
            lambda: "DRAINING" in running.log() or "drain" in running.log(),
            5,
            "the drain in the log",
        )
        began = time.monotonic()
        running.terminate()
        running.wait()
        less(time.monotonic() - began, 3.0, "seconds from the second signal to the end")


main()
