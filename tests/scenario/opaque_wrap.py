#!/usr/bin/env python3
"""The upstream opaques pass 2^31 while a request is held"""

import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from tap import check, equal, main, test

GET_MIN_OFFSET = 31
N_CALLERS = 50
N_REQUESTS = 60  # each; together more than there are slots, so that every slot gets its next number

os.environ["REMOTINGD_FIRST_GENERATION"] = "32767"


@test
def every_caller_gets_its_own_answer_although_all_use_one_number():
    with stage() as on:
        held = Held()
        on.broker.on(GET_MIN_OFFSET, held)
        patient = on.client()
        ext = {"token": "held", "sidecar.addr": on.broker.address, "sidecar.timeoutMillis": 60000}
        opaque = patient.send(GET_MIN_OFFSET, ext)
        held.wait_for(1)
        wrong = []

        def run(number):
            client = on.client()
            for n in range(N_REQUESTS):
                token = f"{number} {n}"
                answer = on.call(client, token, opaque=1)
                if answer.error or answer.ext.get("echo.token") != token:
                    wrong.append((token, answer))

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(N_CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        equal(wrong, [], "answers that are not their callers' own")
        seen = [request.opaque for request in on.broker.seen(GET_MAX_OFFSET)]
        equal(len(seen), N_CALLERS * N_REQUESTS, "requests at the broker")
        check(min(seen) < 0 < max(seen), "the numbers were positive first, and negative then")
        equal(len(set(seen)), len(seen), "different numbers")
        connection, request = held.waiting[0]
        check(request.opaque not in seen, "the held request's number was nobody else's")
        echo(connection, request)
        is_own(patient.receive(opaque), "held")


main()
