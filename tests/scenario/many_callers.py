#!/usr/bin/env python3
"""Many callers at once, each with a thread of its own, while the broker fails in every way"""

import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, after, answers, close, cut_at, echo, in_turn, reset, sends, silence
from remoting import GET_MAX_OFFSET, GO_AWAY
from scenario import is_own, stage
from tap import check, equal, less, main, note, test

N_CALLERS = 64
N_REQUESTS = 40
FAILURES = {"timeout", "unreachable", "connection-lost"}


@test
def sixty_four_callers_get_their_own_answers_or_a_failure_that_says_why():
    settings = {"backoff": {"initial": "2ms", "max_wanted": "10ms"}}
    with stage(settings) as on:
        rng = random.Random(64)
        garbage = sends(b"HTTP/1.1 400\r\n\r\n")
        wrong = [silence, close, reset, garbage, cut_at(50), answers(GO_AWAY)]

        def behave(connection, request):
            draw = rng.random()
            if draw < 0.6:
                echo(connection, request)
            elif draw < 0.97:
                after(rng.uniform(0, 0.05))(connection, request)
            else:
                rng.choice(wrong)(connection, request)

        on.broker.on(GET_MAX_OFFSET, behave)
        problems, outcomes = [], {}
        lock = threading.Lock()

        def run(number):
            client = on.client()
            for n in range(N_REQUESTS):
                token = f"{number} {n}"
                answer = on.call(client, token, {"sidecar.timeoutMillis": 500}, opaque=1)
                is_its_own = answer.error is None and answer.ext.get("echo.token") == token
                with lock:
                    outcomes[answer.error] = outcomes.get(answer.error, 0) + 1
                    if not is_its_own and answer.error not in FAILURES:
                        problems.append((token, answer))
                if n % 10 == 9:
                    client.close()
                    client = on.client()

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(N_CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        note(outcomes)
        equal(problems, [], "answers of others, and failures that there should not be")
        equal(sum(outcomes.values()), N_CALLERS * N_REQUESTS, "outcomes: one for each request")
        check(outcomes.get(None, 0) > 500, "many requests are answered")
        on.broker.on(GET_MAX_OFFSET, echo)
        client = on.client()
        for n in range(10):
            is_own(on.call(client, n, {"sidecar.timeoutMillis": 5000}), n)


@test
def no_id_is_used_twice_while_one_request_is_held():
    with stage() as on:
        holder = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, in_turn(held, echo))
        opaque = on.ask(holder, "held", {"sidecar.timeoutMillis": 60000}, opaque=7)
        connection, request = held.wait_for(1)[0]
        clients = [on.client() for _ in range(100)]
        for turn in range(30):
            for n, client in enumerate(clients):
                on.ask(client, f"{turn} {n}", opaque=7)
            for n, client in enumerate(clients):
                is_own(client.receive(7), f"{turn} {n}")
        ids = [row.opaque for row in on.broker.seen()]
        equal(ids.count(request.opaque), 1, "requests under the id of the one that is held")
        equal(len(set(ids)), len(ids), "different ids at the broker")
        less(len(on.broker.connections), 2, "connections to the broker")
        connection.echo(request)
        is_own(holder.receive(opaque), "held")


main()
