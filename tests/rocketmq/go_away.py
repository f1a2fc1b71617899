#!/usr/bin/env python3
"""A broker with graceful shutdown stops under load, and no caller sees GO_AWAY"""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _stream import Stream
from remoting import Client
from rocketmq_story import cluster, daemon, new_topic, succeeded, uses
from tap import at_end, check, contains, equal, main, note, test, wait_until

VICTIM = "broker-a"
UPDATE_BROKER_CONFIG, GET_MAX_OFFSET, GO_AWAY = 25, 30, 1500


@at_end
def the_broker_runs_again():
    cluster().kill(VICTIM)
    cluster().start_again(VICTIM)
    check(cluster().is_running(VICTIM), f"{VICTIM} runs")


def says_go_away(running):
    """Whether the daemon was told so: its log is the witness."""
    return "it said GO_AWAY" in running.log()


def ask_on(client, topic, rows, ending):
    while not ending.is_set():
        ext = {"topic": topic, "queueId": 0, "sidecar.broker": VICTIM}
        rows.append(client.call(GET_MAX_OFFSET, ext, timeout=20))
        ending.wait(0.005)


@test(deadline=120)
@uses("GO_AWAY")
def a_broker_that_is_going_away_is_left_without_a_caller_noticing():
    topic = new_topic()
    with Client(cluster().address(VICTIM)) as broker:
        settings = b"enableShutdownGracefully=true\nshutdownWaitTimeSeconds=4\n"
        succeeded(broker.call(UPDATE_BROKER_CONFIG, {}, settings), "the new setting")
    with daemon() as running:
        stream = Stream(running, topic)
        asked, ending = [], threading.Event()
        asker = threading.Thread(
            target=ask_on, args=(running.client(), topic, asked, ending), daemon=True
        )
        asker.start()
        try:
            for name in cluster().brokers():
                wait_until(lambda: stream.stored_by(name, 0), 15, f"sends stored by {name}")
            cluster().terminate(VICTIM)
            wait_until(lambda: says_go_away(running), 20, "GO_AWAY came")
            gone_at = time.monotonic()
            wait_until(lambda: stream.stored_by("broker-b", gone_at), 10, "sends go on elsewhere")
            n_before = len(stream.rows)
            wait_until(lambda: len(stream.rows) > n_before + 200, 20, "and on")
        finally:
            ending.set()
            stream.end()
            asker.join(25)
        equal(stream.unanswered, [], "sends that were never answered")
        codes = {answer.code for _, _, _, answer in stream.rows} | {row.code for row in asked}
        check(GO_AWAY not in codes, f"no caller sees {GO_AWAY}; the codes were {sorted(codes)}")
        failed = stream.failed()
        note(f"{len(stream.rows)} sends, {len(failed)} failed; {len(asked)} questions")
        for body, answer in failed:
            equal(answer.error, "connection-lost", f"the failure of '{body}' ({answer.remark})")
        for row in asked:
            if row.error:
                contains(row.remark or "", cluster().address(VICTIM), "a failure names the address")


main()
