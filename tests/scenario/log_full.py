#!/usr/bin/env python3
"""Where nobody reads the log, requests are answered as ever, and what is lost of it is counted"""

import pathlib
import resource
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import GET_STATS, Client
from scenario import is_own, stage
from tap import check, contains, equal, main, note, test, wait_until

GET_STATUS = 30024
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

# Standard error is a file that may not grow beyond so many bytes, as on a disk that is full.
DISK_SIZE = 4096
SMALL_DISK = f"""
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({DISK_SIZE}, resource.RLIM_INFINITY))
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
        seen = client.call(GET_STATUS).json()["logLinesDropped"]
        check(seen > 0, f"they are in the status, too (saw {seen})")
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


@test
def a_disk_that_is_full_holds_up_no_request_and_the_log_goes_on_when_there_is_room():
    with stage(through=[sys.executable, "-c", SMALL_DISK]) as on:
        client = on.client()

        def dropped():
            return client.call(GET_STATS).json()["logLinesDropped"]

        def come_and_go():
            Client(on.daemon.socket).close()

        wait_until(lambda: come_and_go() or dropped() > 0, 20, "lines are dropped")
        for n in range(100):
            is_own(on.call(client, n), n)
        equal(len(on.daemon.log()), DISK_SIZE, "bytes of the log")
        resource.prlimit(on.daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        told = "dropped: standard error took nothing"
        wait_until(lambda: come_and_go() or told in on.daemon.log(), 10, "the log says so")
        before = dropped()
        is_own(on.call(client, "last"), "last")
        equal(dropped(), before, "lines that were dropped since there is room")


main()
