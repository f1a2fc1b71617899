#!/usr/bin/env python3
"""Where nobody reads the log, requests are answered as ever, and what is lost of it is counted"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import GET_STATS, Client
from scenario import is_own, stage
from tap import contains, equal, main, note, test, wait_until

# Standard error is a pipe to a process that passes the first line on, and the rest of them when a
# file says so. It ends with the daemon, which has taken its parent's place.
READER = """
import os, pathlib, sys, time
daemon, (out, into) = os.getpid(), os.pipe()
if os.fork() == 0:
    os.close(into)
    lines = os.fdopen(out)
    sys.stderr.write(lines.readline())
    sys.stderr.flush()
    while os.getppid() == daemon and not os.path.exists("read"):
        time.sleep(0.01)
    for line in lines:
        sys.stderr.write(line)
        sys.stderr.flush()
    os._exit(0)
os.dup2(into, 2)
os.close(into)
os.close(out)
os.execv(sys.argv[1], sys.argv[1:])
"""


@test
def a_pipe_that_nobody_reads_holds_up_no_request():
    with stage(through=[sys.executable, "-c", READER]) as on:
        client = on.client()
        is_own(on.call(client, "first"), "first")

        def dropped():
            return client.call(GET_STATS).json()["logLinesDropped"]

        equal(dropped(), 0, "lines that were dropped before")
        for n in range(1500):  # each is two lines at level debug: more than a pipe holds
            Client(on.daemon.socket).close()
            if n % 50 == 0:
                dropped()  # answered behind those that wait to be accepted: their queue is short
        wait_until(lambda: dropped() > 0, 10, "lines are dropped")
        for n in range(100):
            is_own(on.call(client, n), n)
        note(f"{dropped()} lines were dropped")
        (on.daemon.directory / "read").touch()

        def is_told():
            Client(on.daemon.socket).close()
            return "dropped: standard error took nothing" in on.daemon.log()

        wait_until(is_told, 10, "the log says that some are missing, and how many")
        n_told = [line for line in on.daemon.log().splitlines() if " dropped: " in line]
        contains(n_told[0], "lines=", "the line that says so")
        before = dropped()
        is_own(on.call(client, "last"), "last")
        equal(dropped(), before, "lines that were dropped since it is read")


main()
