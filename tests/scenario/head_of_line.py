#!/usr/bin/env python3
"""Long polls that are parked at a broker, and their large answers, do not stand before sends"""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held
from remoting import POP_MESSAGE, PULL_MESSAGE, SEND_MESSAGE
from scenario import TOPIC, stage
from tap import check, equal, less, main, note, test

N_SENDS = 400
POLL = {"topic": TOPIC, "sidecar.timeoutMillis": 60000}
PULL = {
    **POLL,
    **{"consumerGroup": "G", "queueId": 0, "queueOffset": 0, "suspendTimeoutMillis": 30000},
    "sidecar.broker": "broker-a",
}


def times_of_sends(client):
    times = []
    for n in range(N_SENDS):
        began = time.monotonic()
        answer = client.call(SEND_MESSAGE, {"topic": TOPIC, "token": n}, b"x")
        seen = (answer.code, answer.error, answer.ext.get("echo.token"))
        equal(seen, (0, None, str(n)), "a send")
        times.append(time.monotonic() - began)
    return sorted(times)


@test(deadline=120)
def sends_beside_thirty_parked_polls_take_as_long_as_without():
    with stage() as on:
        held = Held()
        for code in (POP_MESSAGE, PULL_MESSAGE):
            on.broker.on(code, held)
        sender, poller = on.client(), on.client(timeout=30)
        times_of_sends(sender)
        before = times_of_sends(sender)
        ext = {**POLL, "consumerGroup": "G", "pollTime": 30000, "sidecar.broker": "broker-a"}
        opaques = [poller.send(POP_MESSAGE, ext) for _ in range(5)]
        opaques += [poller.send(PULL_MESSAGE, PULL) for _ in range(25)]
        held.wait_for(25)
        beside = times_of_sends(sender)
        p50, p99 = N_SENDS // 2, N_SENDS * 99 // 100
        note(
            f"p50 {before[p50] * 1e6:.0f} us without and {beside[p50] * 1e6:.0f} us beside, "
            f"p99 {before[p99] * 1e6:.0f} us and {beside[p99] * 1e6:.0f} us"
        )
        # Ten times the slack of a machine that does other things, too; a poll lasts 30 s.
        less(beside[p50], 10 * before[p50] + 0.01, "seconds of the median beside them")
        less(beside[p99], 10 * before[p99] + 0.1, "seconds of one in a hundred beside them")
        senders = {row.connection for row in on.broker.seen(SEND_MESSAGE)}
        pollers = {row.connection for row in on.broker.seen(POP_MESSAGE, PULL_MESSAGE)}
        equal((len(senders), len(pollers), senders & pollers), (1, 1, set()), "connections")
        check(poller.is_silent(0), "none of the polls has ended")
        for connection, request in held.waiting:
            connection.answer(request, 19, remark="nothing")  # PULL_NOT_FOUND


@test(deadline=120)
def a_large_answer_that_comes_slowly_is_passed_by_sends():
    with stage() as on:
        is_over = threading.Event()

        def dribble(connection, request):
            def run():
                data = bytes(1 << 20)
                connection.send_bytes((len(data) + 300).to_bytes(4, "big"))
                connection.send_bytes((200).to_bytes(4, "big"))
                while not is_over.wait(0.01):
                    connection.send_bytes(b" ")

            threading.Thread(target=run, daemon=True).start()

        on.broker.on(PULL_MESSAGE, dribble)
        sender, poller = on.client(), on.client()
        before = times_of_sends(sender)
        poller.send(PULL_MESSAGE, {**PULL, "sidecar.timeoutMillis": 3000})
        on.broker.wait_for(1, PULL_MESSAGE)
        beside = times_of_sends(sender)
        p99 = N_SENDS * 99 // 100
        note(f"p99 {before[p99] * 1e6:.0f} us without and {beside[p99] * 1e6:.0f} us beside")
        less(beside[p99], 10 * before[p99] + 0.1, "seconds of one in a hundred beside it")
        is_over.set()


main()
