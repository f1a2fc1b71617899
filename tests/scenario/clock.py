#!/usr/bin/env python3
"""The clock of the wall jumps: what is waited for has nothing to do with it"""

import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers, echo
from remoting import GET_MAX_OFFSET, GET_STATS, SEND_MESSAGE, SUCCESS
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, equal, less, main, skip, test

LIBRARY = "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1"
HOUR = 3600


class Clock:
    """
    A clock of the wall for one process, which can be set while it runs. The monotonic clock is
    the machine's: that is what systems do when somebody sets the time.
    """

    def __init__(self):
        candidates = map(LIBRARY.format, ("x86_64", "aarch64"))
        found = [path for path in candidates if pathlib.Path(path).exists()]
        if not found:
            skip("libfaketime is not installed")
        self.directory = tempfile.TemporaryDirectory(prefix="remotingd-clock-")
        self.file = pathlib.Path(self.directory.name) / "offset"
        self.library = found[0]
        self.set(0)

    def set(self, seconds):
        self.file.write_text(f"{seconds:+d}\n")

    def through(self):
        return [
            "env",
            f"LD_PRELOAD={self.library}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_NO_CACHE=1",
        ]


def daemon_seconds_ahead(on, client):
    """By the time that the daemon writes into a message."""
    stored = {"msgId": "0" * 32, "queueId": "0", "queueOffset": "0"}
    on.broker.on(SEND_MESSAGE, answers(SUCCESS, stored))
    equal(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").code, 0, "the send")
    born = int(on.broker.seen(SEND_MESSAGE)[-1].ext["bornTimestamp"]) / 1000
    return round((born - time.time()) / HOUR)


@test
def an_hour_forward_and_two_back_hurt_no_deadline_and_no_statistics():
    clock = Clock()
    with stage(
        {"breaker": {"failures": 2}},
        through=clock.through(),
        asan_options="verify_asan_link_order=0",
    ) as on:
        client = on.client()
        for hours in (0, 1, -1):
            held = Held()
            on.broker.on(GET_MAX_OFFSET, held)
            opaques = [on.ask(client, n, {"sidecar.timeoutMillis": 5000}) for n in range(50)]
            waiting = held.wait_for(50)
            clock.set(hours * HOUR)
            equal(daemon_seconds_ahead(on, client), hours, "hours that the daemon's clock is ahead")
            check(client.is_silent(0.3), "no deadline has passed for that")
            for connection, request in waiting:
                connection.echo(request)
            for n, opaque in enumerate(opaques):
                is_own(client.receive(opaque), n)
            began = time.monotonic()
            answer = on.call(client, "silent", {"sidecar.timeoutMillis": 400})
            is_failure(answer, "timeout", 10002, "maybe")
            less(time.monotonic() - began, 2.0, "seconds to the end of a deadline of 400 ms")
            on.broker.on(GET_MAX_OFFSET, echo)
            is_own(on.call(client, "next"), "next")
        stats = client.call(GET_STATS).json()
        negative = [key for key, value in stats.items() if isinstance(value, int) and value < 0]
        equal(negative, [], "statistics below zero")
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
