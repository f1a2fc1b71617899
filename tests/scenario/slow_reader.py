#!/usr/bin/env python3
"""A caller that asks and does not read is not read from any more, and is cut off in the end"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import answers
from remoting import GET_MIN_OFFSET, GET_STATS, Command, encode
from scenario import is_own, stage
from tap import check, contains, equal, less, main, note, test, wait_until

KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
LARGE = 512 * KIBIBYTE


def unwritable(client, data):
    """Writes until nothing more is taken for a while; the bytes that were."""
    client.socket.settimeout(1.0)
    n_sent = 0
    while n_sent < len(data):
        try:
            n_sent += client.socket.send(data[n_sent:])
        except TimeoutError:
            break
    return n_sent


def requests(on, n):
    ext = {"sidecar.addr": on.broker.address, "sidecar.timeoutMillis": "60000", "token": "slow"}
    return b"".join(encode(Command(GET_MIN_OFFSET, ext, b"", opaque)) for opaque in range(n))


@test
def its_requests_stay_in_its_socket_and_others_notice_nothing():
    limits = {"session_buffer": "1MiB", "write_timeout": "60s", "max_timeout": "60s"}
    with stage({"limits": limits}, asan_options="quarantine_size_mb=1") as on:
        on.broker.on(GET_MIN_OFFSET, answers(body=bytes(LARGE)))
        slow, other = on.client(), on.client()

        def memory():
            return other.call(GET_STATS).json()["memoryUsed"]

        is_own(on.call(other, "first"), "first")
        base, resident = memory(), on.daemon.resident_bytes()
        # The answers to the first eight stop the reading of all the others.
        data = requests(on, 10000)
        first = len(requests(on, 8))
        slow.send_bytes(data[:first])
        wait_until(lambda: memory() - base > 3 * MEBIBYTE, 10, "answers wait for it")
        n_sent = first + unwritable(slow, data[first:])
        less(n_sent, len(data), "bytes that it could write: the daemon reads no more of it")
        equal(len(on.broker.seen(GET_MIN_OFFSET)), 8, "requests of it at the broker")
        times = []
        for n in range(200):
            began = time.monotonic()
            is_own(on.call(other, n), n)
            times.append(time.monotonic() - began)
        less(sorted(times)[197], 0.5, "seconds that the others' slowest answers took")
        equal(len(on.broker.seen(GET_MIN_OFFSET)), 8, "requests of it at the broker since")
        grown = on.daemon.resident_bytes() - resident
        note(f"{grown >> 10} KiB of memory; the slowest of others {max(times) * 1000:.0f} ms")
        less(memory() - base, 8 * LARGE + MEBIBYTE, "bytes that wait for it")
        less(grown, 3 * 8 * LARGE, "bytes more of memory")
        # It is read from again when it reads.
        slow.socket.settimeout(10)
        for _ in range(8):
            slow.receive(timeout=20)
        wait_until(lambda: len(on.broker.seen(GET_MIN_OFFSET)) > 8, 10, "more of its requests")


@test
def it_is_cut_off_when_it_has_not_read_for_write_timeout():
    with stage({"limits": {"session_buffer": "1MiB", "write_timeout": "1s"}}) as on:
        on.broker.on(GET_MIN_OFFSET, answers(body=bytes(LARGE)))
        slow, other = on.client(), on.client()
        files = on.daemon.files()
        slow.send_bytes(requests(on, 20))
        wait_until(lambda: on.daemon.files() < files, 15, "it is cut off")
        contains(on.daemon.log(), "does not read its answers", "the log")
        is_own(on.call(other, "other"), "other")
        wait_until(
            lambda: other.call(GET_STATS).json()["memoryUsed"] < MEBIBYTE, 10, "all is given back"
        )


@test
def who_reads_slowly_but_does_gets_everything():
    with stage({"limits": {"session_buffer": "1MiB", "write_timeout": "2s"}}) as on:
        body = bytes(range(256)) * (LARGE // 256)
        on.broker.on(GET_MIN_OFFSET, answers(body=body))
        slow = on.client(timeout=30)
        slow.send_bytes(requests(on, 20))
        for _ in range(20):
            time.sleep(0.2)  # it takes its time: this is what the story is about
            answer = slow.receive()
            equal((answer.code, answer.error), (0, None), f"an answer ({answer.remark})")
            check(answer.body == body, "the body is whole")


main()
