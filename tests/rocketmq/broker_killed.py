#!/usr/bin/env python3
"""One broker of two is killed under a stream of sends, and comes back"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _stream import N_CALLERS, Stream
from rocketmq_story import cluster, daemon, new_topic, receive_all, uses
from tap import at_end, check, contains, equal, less, main, note, test, wait_until

VICTIM = "broker-a"


@at_end
def the_broker_runs_again():
    if not cluster().is_running(VICTIM):
        cluster().start_again(VICTIM)
    check(cluster().is_running(VICTIM), f"{VICTIM} runs")


@test(deadline=240)
@uses("sends, retries, failover")
def sends_go_on_through_the_other_broker_and_the_killed_one_is_used_again_when_it_is_back():
    topic = new_topic()
    settings = {"nameserver": {"route_refresh": "2s"}}
    with daemon(settings=settings) as running:
        stream = Stream(running, topic)
        try:
            for name in cluster().brokers():
                wait_until(lambda: stream.stored_by(name, 0), 15, f"sends stored by {name}")
            killed_at = time.monotonic()
            cluster().kill(VICTIM)
            wait_until(
                lambda: stream.stored_by("broker-b", killed_at),
                10,
                "sends go on through the other broker",
            )
            n_before = len(stream.rows)
            wait_until(
                lambda: len(stream.rows) > n_before + 500, 30, "500 more answers while it is away"
            )
            cluster().start_again(VICTIM)
            back_at = time.monotonic()
            again_at = wait_until(
                lambda: stream.stored_by(VICTIM, killed_at), 20, f"sends stored by {VICTIM} again"
            )
            note(
                f"{VICTIM} was used again {again_at - back_at:+.2f} s after it was seen to be ready"
            )
            less(
                again_at - back_at,
                6.0,
                "seconds until it is used again, with a route refresh of 2 s",
            )
        finally:
            stream.end()
        equal(stream.unanswered, [], "sends that were never answered")
        failed = stream.failed()
        note(f"{len(stream.rows)} sends, {len(failed)} told that the connection was lost")
        for body, answer in failed:
            equal(
                answer.error,
                "connection-lost",
                f"sidecar.error of '{body}' (remark: {answer.remark})",
            )
            equal(answer.ext.get("sidecar.sent"), "maybe", "sidecar.sent")
            contains(answer.remark or "", cluster().address(VICTIM), "the remark names the address")
        # A process that is killed may still accept between the end of one connection and its own.
        ended_how = f"upstream={cluster().address(VICTIM)} "
        n_broken = sum(
            ended_how in line and "READY -> CLOSED" in line for line in running.log().splitlines()
        )
        less(n_broken, 4, "connections to it that broke")
        less(
            len(failed),
            N_CALLERS * n_broken + 1,
            "failures: no more than were in flight on the connections that broke",
        )
        slowest = max(ended - began for began, ended, _, _ in stream.rows)
        less(slowest, 5.0, "seconds that the slowest answer took, with a deadline of 3 s")
        sent = {body for _, _, body, answer in stream.rows if answer.code == 0 and not answer.error}
        # What was told connection-lost may have been stored too, and comes among the rest.
        rows = receive_all(running.client(), topic, "killed", len(sent), bodies=sent, timeout=90)
        received = {row["body"] for row in rows}
        equal(sorted(sent - received), [], "bodies that were accepted and not received")


main()
