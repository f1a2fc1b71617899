#!/usr/bin/env python3
"""SIGTERM while more comes in than is answered: nothing that was accepted is lost"""

import pathlib
import queue
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held
from remoting import GET_MAX_OFFSET, ConnectionEnded, ProtocolError
from scenario import is_own, stage
from tap import check, equal, less, main, note, test

N_ROUNDS = 20
N_CALLERS = 8
# Each caller sends 200 in a second, all together three times as many as are answered.
ANSWERS_PER_SECOND = 500


class Slow:
    """A behaviour: an echo after 50 ms, and no more of them in a second than there may be."""

    def __init__(self):
        self.queue = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self, connection, request):
        self.queue.put((time.monotonic() + 0.05, connection, request))

    def _run(self):
        free_at = 0.0
        while True:
            due, connection, request = self.queue.get()
            time.sleep(max(0.0, max(due, free_at) - time.monotonic()))
            free_at = max(due, free_at) + 1 / ANSWERS_PER_SECOND
            connection.echo(request)


class Caller:
    """Sends without waiting for answers, and keeps what comes back, until the end."""

    def __init__(self, on, number):
        self.on = on
        self.number = number
        self.client = on.client()
        self.answers = []
        self.error = None
        self.n_sent = 0
        self.threads = [
            threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)
        ]
        for thread in self.threads:
            thread.start()

    def _send(self):
        try:
            while True:
                self.on.ask(self.client, f"{self.number} {self.n_sent}")
                self.n_sent += 1
                time.sleep(0.005)
        except OSError:
            pass

    def _receive(self):
        try:
            while True:
                self.answers.append(self.client.receive(timeout=30))
        except ConnectionEnded:
            pass
        except (OSError, ProtocolError, TimeoutError) as error:
            self.error = error

    def join(self):
        for thread in self.threads:
            thread.join(30)


@test(deadline=110)
def every_request_that_reached_the_broker_is_answered_before_the_end():
    totals = []
    for _ in range(N_ROUNDS):
        with stage({"drain": {"timeout": "10s"}}) as on:
            on.broker.on(GET_MAX_OFFSET, Slow())
            callers = [Caller(on, number) for number in range(N_CALLERS)]
            on.broker.wait_for(200)
            began = time.monotonic()
            on.daemon.terminate()
            equal(on.daemon.wait(20), 0, "the exit code")
            less(time.monotonic() - began, 8.0, "seconds to the end (drain.timeout is 10 s)")
            answered = set()
            for caller in callers:
                caller.join()
                equal(caller.error, None, "what broke the answers of a caller off")
                opaques = [answer.opaque for answer in caller.answers]
                equal(len(set(opaques)), len(opaques), "one answer for one request")
                for answer in caller.answers:
                    if answer.error is None:
                        is_own(answer, f"{caller.number} {answer.opaque - 1}")
                        answered.add(answer.ext["echo.token"])
                    else:
                        equal((answer.error, answer.code), ("draining", 2), f"{answer.remark}")
                        equal(answer.ext.get("sidecar.sent"), "no", "sidecar.sent of a refusal")
            sent = [request.ext["token"] for request in on.broker.seen()]
            equal(len(set(sent)), len(sent), "each request was sent once")
            equal(set(sent) - answered, set(), "requests at the broker without their answer")
            totals.append(len(answered))
    note(f"answered in each round: {totals}")


@test
def a_second_signal_ends_it_at_once():
    with stage({"drain": {"timeout": "30s"}}) as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, Held())
        on.ask(client, "never", {"sidecar.timeoutMillis": 20000})
        on.broker.wait_for(1)
        on.daemon.terminate()
        check(client.is_silent(0.2), "it waits for what is in flight")
        began = time.monotonic()
        on.daemon.terminate()
        equal(on.daemon.wait(10), 0, "the exit code")
        less(time.monotonic() - began, 3.0, "seconds from the second signal to the end")
        answers = client.wait_for_end(2)
        equal([answer.error for answer in answers], ["draining"], "what the caller is told")
        equal(answers[0].ext.get("sidecar.sent"), "maybe", "sidecar.sent")


main()
