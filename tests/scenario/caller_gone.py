#!/usr/bin/env python3
"""A caller that goes takes its requests with it, and nothing of anybody else"""

import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, after, echo, in_turn
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import check, equal, less, main, test, wait_until

N_CYCLES = int(os.environ.get("N_CYCLES", "800"))
N_WARM = N_CYCLES * 5 // 8

@test
def who_comes_next_on_the_same_descriptor_is_given_nothing_of_the_last_one():
    with stage(asan_options="quarantine_size_mb=1") as on:
        on.broker.on(GET_MAX_OFFSET, after(0.003))
        rng = random.Random(4)
        staying = on.client()

        def cycle(n):
            client = on.client()
            for i in range(rng.randrange(1, 5)):
                on.ask(client, f"gone {n} {i}", opaque=i)
            if n % 3 == 0:
                client.receive()
            elif n % 3 == 1:
                # Half a request, too: the rest of it never comes.
                client.send_bytes(b"\x00\x00\x10\x00\x00\x00\x00\x50{")
            client.close()
            on.daemon.clients.remove(client)
            next_one = on.client()
            answer = on.call(next_one, f"own {n}", opaque=0)
            is_own(answer, f"own {n}")
            next_one.close()
            on.daemon.clients.remove(next_one)

        # What was freed is kept back for a while by the sanitizer, to the size given above.
        for n in range(N_WARM):
            cycle(n)
        before = on.daemon.resident_bytes()
        for n in range(N_WARM, N_CYCLES):
            cycle(n)
            if n % 20 == 0:
                is_own(on.call(staying, n), n)
        less(on.daemon.resident_bytes() - before, 1 << 20, f"bytes that {N_CYCLES - N_WARM} callers left behind")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def a_request_that_still_waits_for_a_connection_is_not_sent_when_its_caller_has_gone():
    with stage() as on:
        on.broker.refuse()
        gone, staying = on.client(), on.client()
        ext = {"sidecar.timeoutMillis": 10000}
        opaque = on.ask(staying, "staying", ext)
        files = on.daemon.files()
        on.ask(gone, "gone", ext, body=bytes(100000))
        check(gone.is_silent(0.2), "the request waits")
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        on.broker.listen()
        is_own(staying.receive(opaque), "staying")
        equal([row.ext["token"] for row in on.broker.seen()], ["staying"], "what was sent")


@test
def the_answer_of_one_who_has_gone_does_not_hold_up_the_answers_of_others():
    with stage() as on:
        gone, staying = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, in_turn(held, held, echo))
        on.ask(gone, "gone", opaque=1)
        opaque = on.ask(staying, "staying", opaque=1)
        rows = {row[1].ext["token"]: row for row in held.wait_for(2)}
        files = on.daemon.files()
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        for token in ("gone", "staying"):
            connection, request = rows[token]
            connection.echo(request)
        is_own(staying.receive(opaque), "staying")
        is_own(on.call(staying, "next"), "next")
        check(staying.is_silent(0.05), "nothing else for the one that stayed")
        equal(len(on.broker.connections), 1, "connections to the broker")


main()
