#!/usr/bin/env python3
"""Descriptors run out: connections wait in the kernel's queue, and nothing spins"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import SYSTEM_BUSY, Client, ConnectionEnded
from scenario import is_failure, is_own, stage
from tap import check, less, main, note, test, wait_until

N_FILES = 64


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test
def accepting_pauses_without_spinning_and_goes_on_when_some_are_free():
    limited = ["sh", "-c", f'ulimit -n {N_FILES}; exec "$@"', "sh"]
    with stage(through=limited) as on:
        worker = on.client()
        is_own(on.call(worker, "first"), "first")
        clients = [Client(on.daemon.socket) for _ in range(N_FILES + 20)]
        wait_until(lambda: "paused" in on.daemon.log(), 10, "it says that it accepts no more")
        before, began = processor_seconds(on.daemon.pid), time.monotonic()
        n_asked = 0
        while time.monotonic() - began < 3:
            is_own(on.call(worker, n_asked), n_asked, "an existing caller's answer")
            n_asked += 1
            time.sleep(0.2)
        used = processor_seconds(on.daemon.pid) - before
        took = time.monotonic() - began
        lines = [line for line in on.daemon.log().splitlines() if "paused" in line]
        note(f"{used:.2f} s of processor time in {took:.1f} s, {len(lines)} lines: {lines[0]}")
        less(used / took, 0.1, "share of a processor")
        less(len(lines), 4, "lines of the log about it in three seconds")
        # Those behind wait; when the first ones go they are served, within a second.
        waiting = clients[-1]
        opaque = on.ask(waiting, "waiting", {"sidecar.timeoutMillis": 20000})
        check(waiting.is_silent(0.3), "the last one is not accepted yet")
        for client in clients[:-10]:
            client.close()
        freed = time.monotonic()
        # It may have been let in while those that had gone were still counted.
        answer = waiting.receive(opaque)
        if answer.error:
            is_failure(answer, "overloaded", SYSTEM_BUSY, "no", "the last one")

        def is_served():
            with Client(on.daemon.socket) as fresh:
                try:
                    return on.call(fresh, "fresh").ext.get("echo.token") == "fresh"
                except (OSError, ConnectionEnded):
                    return False

        wait_until(is_served, 5, "others are served again")
        less(time.monotonic() - freed, 3.0, "seconds until then")
        for client in clients[-10:]:
            client.close()


@test
def a_broker_that_cannot_be_connected_to_for_want_of_one_is_told_so():
    limited = ["sh", "-c", f'ulimit -n {N_FILES}; exec "$@"', "sh"]
    with stage({"backoff": {"initial": "20ms", "max_wanted": "100ms"}}, through=limited) as on:
        worker = on.client()
        clients = [Client(on.daemon.socket) for _ in range(N_FILES + 20)]
        wait_until(lambda: "paused" in on.daemon.log(), 10, "it says that it accepts no more")
        answer = on.call(worker, "first", {"sidecar.timeoutMillis": 500})
        check(answer.error in ("unreachable", "timeout"), f"the failure (saw {answer.error})")
        check(answer.remark, "it says why")
        note(answer.remark)
        for client in clients:
            client.close()
        is_own(on.call(worker, "then", {"sidecar.timeoutMillis": 10000}), "then")


main()
