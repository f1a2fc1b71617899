#!/usr/bin/env python3
"""remotingctl send --retry-for, --undelivered and --from: what cron jobs do while the daemon comes and goes"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import binary
from rocketmq_story import daemon, new_topic, receive_all, uses
from tap import check, equal, main, test, wait_until

N_LINES = 400


def start(running, *words, **more):
    command = [binary("REMOTINGCTL", "build-test/client/remotingctl"), "send", *words]
    return subprocess.Popen(
        [*command, "--socket", running.socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ends(process, code, text=""):
    out, errors = process.communicate(text, timeout=60)
    equal(process.returncode, code, f"the exit code (standard error: {errors})")
    return out


def stop(running):
    running.terminate()
    equal(running.wait(), 0, "the exit code of the daemon")


@test(deadline=120)
@uses("POP, ACK, receipts")
def what_the_daemon_was_not_there_for_arrives_by_from_with_all_that_belongs_to_it():
    topic = new_topic()
    with daemon() as running, tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "undelivered"
        file = ("--undelivered", str(path))
        stop(running)
        what = ("--tag", "paid", "--key", "k1", "--property", "region=eu", "--retry-for", "1s")
        ends(start(running, topic, "--lines", *file, *what), 9, "one\ntwo\n")
        sender = start(running, "--from", str(path), "--retry-for", "50s")
        wait_until(lambda: "no daemon" in sender.stderr.readline(), 20, "it waits for the daemon")
        running.start()
        ends(sender, 0)
        equal(path.read_text(), "", "what is left in the file")
        rows = receive_all(running.client(), topic, "undelivered-1", 2)
        equal(sorted(row["body"] for row in rows), ["one", "two"], "the bodies")
        for row in rows:
            seen = (row["tags"], row["keys"], row["properties"]["region"])
            equal(seen, ("paid", "k1", "eu"), "what belongs to it")


@test(deadline=120)
@uses("sends, retries, failover")
def lines_of_a_sharding_key_stay_in_order_though_the_daemon_is_restarted_and_killed():
    topic = new_topic()
    with daemon(clean=False) as running:
        words = ("--lines", "--json", "--sharding-key", "k", "--retry-for", "1min", "--at-least-once")
        sender = start(running, topic, *words)
        rows = []

        def send(first, end):
            for n in range(first, end):
                sender.stdin.write(f"{n}\n")
                sender.stdin.flush()
                if n % 100 == 50:
                    running.kill() if n > 200 else stop(running)
                    running.start()
                rows.append(json.loads(sender.stdout.readline()))

        send(0, N_LINES)
        ends(sender, 0)
        equal([row["code"] for row in rows], [0] * N_LINES, "the codes")
        places = {(row["brokerName"], row["queueId"]) for row in rows}
        equal(len(places), 1, "the number of queues")
        offsets = [row["queueOffset"] for row in rows]
        equal(offsets, sorted(offsets), "the offsets, in the order of the lines")
        check(offsets[-1] - offsets[0] < N_LINES + 4, f"at most one comes twice at each end ({offsets[-1]})")
        stop(running)


main()
