#!/usr/bin/env python3
"""System calls that are interrupted, fail for a moment or take less than they were given"""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import echo
from remoting import GET_MAX_OFFSET, ConnectionEnded
from scenario import is_failure, is_own, stage
from tap import check, equal, main, note, skip, test

# What strace makes of every so many calls. What a kernel does not do to these calls is not asked.
FAULTS = {
    "interrupted reads and writes": ["recvfrom,readv,sendto,sendmsg,writev:error=EINTR:when=5+7"],
    "writes that find no buffers": ["sendto,sendmsg,writev:error=EAGAIN:when=3+5"],
    "callers that went before they were accepted": ["accept4:error=ECONNABORTED:when=1+3"],
    "no buffers for a caller": ["accept4:error=ENOBUFS:when=2+3"],
    "interrupted waits": ["epoll_wait:error=EINTR:when=2+3"],
}


def tracer(inject):
    strace = shutil.which("strace")
    if not strace:
        skip("not run: strace is not installed")
    calls = ",".join(sorted({row.partition(":")[0] for row in inject}))
    # With -D the daemon is who was started, and strace stands beside it.
    command = [strace, "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    for row in inject:
        command += ["-e", f"inject={row}"]
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    if done.returncode != 0:
        skip(f"not run: strace may trace nothing here ({done.stderr.decode().strip()[:100]})")
    return command


def traced(inject):
    """A stage whose daemon has its system calls spoilt."""
    return stage(
        {"backoff": {"initial": "20ms", "max_wanted": "100ms"}},
        through=tracer(inject),
        # The leak sanitizer cannot look at a process that is traced already.
        asan_options="detect_leaks=0",
    )


@test(deadline=180)
def everything_is_answered_as_without():
    for what, inject in FAULTS.items():
        with traced(inject) as on:
            on.broker.on(GET_MAX_OFFSET, echo)
            n_own = 0
            for n in range(30):
                client = on.client(timeout=20)
                tokens = [f"{n} {i}" for i in range(5)]
                opaques = [on.ask(client, token, body=bytes(9000)) for token in tokens]
                for opaque, token in zip(opaques, tokens):
                    is_own(client.receive(opaque), token, f"with {what}: the answer")
                    n_own += 1
                client.close()
            equal(n_own, 150, f"answers with {what}")
            check(on.daemon.process.poll() is None, f"with {what} it lives")
            note(f"{what}: as without")


@test(deadline=60)
def a_connection_that_breaks_with_each_write_ends_in_words():
    with traced(["sendto,sendmsg,writev:error=EPIPE:when=20+13"]) as on:
        n_own = n_told = n_ended = 0
        for n in range(60):
            client = on.client(timeout=20)
            try:
                answer = on.call(client, n, {"sidecar.timeoutMillis": 5000})
            except ConnectionEnded:  # it was the write of its answer
                n_ended += 1
                continue
            if answer.error:
                is_failure(answer, "connection-lost", 10100)
                n_told += 1
            else:
                is_own(answer, n)
                n_own += 1
        # What was on its way to the broker and not written goes over the next connection.
        n_broken = on.daemon.log().count("READY -> CLOSED")
        note(f"{n_own} answered, {n_told} told, {n_ended} ended, {n_broken} connections broken")
        check(n_own > 40, "most are answered")
        check(n_ended + n_broken > 0, "some were met by it")


main()
