#!/usr/bin/env python3
"""A caller that sends what is no frame loses its connection; who is slow about one does, too"""

import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from bad_frames import BAD, HEADER
from fake_broker import Held
from remoting import GET_MAX_OFFSET, GET_STATS, MESSAGE_ILLEGAL
from scenario import is_own, stage
from tap import check, contains, equal, less, main, note, test, wait_until

N_SLOW = 1000
LARGEST = 16777212  # that a frame's length may say


@test
def each_of_them_ends_its_own_connection_and_the_log_says_whose():
    with stage() as on:
        other = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        on.ask(other, "in flight", {"sidecar.timeoutMillis": 60000})
        held.wait_for(1)
        on.broker.on(GET_MAX_OFFSET, None)
        for what, data in BAD.items():
            client = on.client(timeout=5)
            client.send_bytes(data)
            answers = client.wait_for_end(5)
            check(len(answers) <= 1, f"{what}: at most one answer (saw {answers})")
            for answer in answers:
                seen = (answer.error, answer.code, answer.opaque)
                equal(seen, ("invalid", MESSAGE_ILLEGAL, 5), f"{what}: the answer")
            is_own(on.call(other, what), what, "another caller's answer after it")
        lines = [line for line in on.daemon.log().splitlines() if "protocol error" in line]
        equal(len(lines), len(BAD), "lines of the log, one for each")
        for line in lines:
            contains(line, " uid=", "who it was")
            contains(line, " pid=", "who it was")
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(other.receive(), "in flight")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def what_is_announced_takes_no_memory_and_the_largest_length_is_accepted():
    with stage() as on:
        other = on.client()

        def memory():
            return other.call(GET_STATS).json()["memoryUsed"]

        base = memory()
        clients = [on.client() for _ in range(50)]
        for client in clients:
            client.send_bytes(struct.pack(">II", LARGEST, len(HEADER)) + HEADER)
        wait_until(lambda: memory() > base, 5, "they have begun a frame")
        is_own(on.call(other, "other"), "other")
        less(memory() - base, 50 * (64 << 10) + 1, "bytes for fifty frames that were announced")
        ext = {"sidecar.addr": on.broker.address, "token": "largest"}
        head = remoting.encode(remoting.Command(GET_MAX_OFFSET, ext, b"", 9))
        body = bytes(LARGEST - (len(head) - 4) - 4096)  # what the daemon adds has to fit, too
        client = on.client(timeout=30)
        client.send_bytes(remoting.encode(remoting.Command(GET_MAX_OFFSET, ext, body, 9)))
        answer = client.receive(9)
        is_own(answer, "largest")
        equal(len(answer.body), len(body), "the size of the body")


@test
def a_thousand_that_are_slow_about_a_frame_are_cut_off_and_others_notice_nothing():
    with stage({"limits": {"header_timeout": "2s"}}) as on:
        other = on.client()
        whole = remoting.encode(remoting.Command(GET_MAX_OFFSET, {"token": "slow"}, bytes(900), 1))
        is_own(on.call(other, "first"), "first")
        files = on.daemon.files()
        slow = [on.client() for _ in range(N_SLOW)]
        for client in slow:
            client.send_bytes(whole[:1])
        began, times, at = time.monotonic(), [], 1
        while time.monotonic() - began < 1.5:
            # Another byte of each now and then, but the last: that is no reason to go on waiting.
            for client in slow[::10] if at < len(whole) - 1 else ():
                try:
                    client.send_bytes(whole[at : at + 1])
                except OSError:
                    pass
            at += 1
            asked = time.monotonic()
            is_own(on.call(other, at), at)
            times.append(time.monotonic() - asked)
        wait_until(lambda: on.daemon.files() <= files, 15, "all of them are cut off")
        took = time.monotonic() - began
        note(f"cut off after {took:.1f} s; the slowest of others {max(times) * 1000:.0f} ms")
        less(max(times), 1.0, "seconds of another caller's slowest answer")
        is_own(on.call(other, "still"), "still")


main()
