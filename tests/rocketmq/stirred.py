#!/usr/bin/env python3
"""Brokers and nameservers are killed and started in turn under a stream of sends"""

import collections
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _stream import Stream
from rocketmq_story import cluster, daemon, new_topic, receive_all, uses
from tap import at_end, check, equal, less, main, note, test

SECONDS = 60
ROUND = ("broker-a", "nameserver-a", "broker-b", "nameserver-b")


def _without_numbers(remark):
    return re.sub(r"\d+", "N", remark or "")[:200]


@at_end
def everything_runs_again():
    for name in ROUND:
        if not cluster().is_running(name):
            cluster().start_again(name)
    equal([name for name in ROUND if not cluster().is_running(name)], [], "what does not run")


@test(deadline=240)
@uses("sends, retries, failover")
def every_send_is_answered_and_every_failure_is_explained():
    topic = new_topic()
    with daemon(settings={"nameserver": {"route_refresh": "2s"}}) as running:
        stream = Stream(running, topic)
        end = time.monotonic() + SECONDS
        n_killed = 0
        try:
            while time.monotonic() < end:
                name = ROUND[n_killed % len(ROUND)]
                cluster().kill(name)
                n_killed += 1
                cluster().start_again(name)
        finally:
            stream.end()
        equal(stream.unanswered, [], "sends that were never answered")
        failed = stream.failed()
        note(f"{n_killed} killed and started, {len(stream.rows)} sends, {len(failed)} failed")
        causes = collections.Counter(
            f"{answer.error or answer.code}: {_without_numbers(answer.remark)}" for _, answer in failed
        )
        for cause, n_failed in causes.most_common(8):
            note(f"{n_failed} times {cause}")
        for body, answer in failed:
            check(answer.error, f"'{body}' failed with a word: code {answer.code} {answer.remark}")
            check(answer.ext.get("sidecar.sent") in ("no", "maybe"), f"'{body}': was it sent?")
            check(answer.remark, f"'{body}': the cause is told")
            check(answer.error != "no-route", "a nameserver that starts again takes no route away")
        slowest = max(ended - began for began, ended, _, _ in stream.rows)
        # What a machine that is busy with three Java programs adds is not the daemon's.
        less(slowest, 5.0, "seconds that the slowest answer took, with a deadline of 3 s")
        sent = {body for _, _, body, answer in stream.rows if answer.code == 0 and not answer.error}
        rows = receive_all(running.client(), topic, "stirred", len(sent), bodies=sent, timeout=90)
        received = {row["body"] for row in rows}
        equal(sorted(sent - received), [], "bodies that were accepted and not received")


main()
