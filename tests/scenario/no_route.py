#!/usr/bin/env python3
"""A topic that no nameserver knows, and that no broker would make"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import GET_ROUTEINFO_BY_TOPIC, POP_MESSAGE, SEND_MESSAGE
from scenario import TOPIC, is_failure, stage
from tap import contains, equal, less, main, test, wait_until

# Brokers that make topics on demand have this one; its route is that of topics still to be made.
TEMPLATE = "TBW102"


@test
def it_is_told_at_once_that_nothing_was_sent():
    with stage() as on:
        on.nameserver.no_route.update(("Nowhere", TEMPLATE))
        client = on.client()
        requests = (
            (SEND_MESSAGE, {"topic": "Nowhere"}),
            (POP_MESSAGE, {"topic": "Nowhere", "consumerGroup": "g"}),
        )
        for code, ext in requests:
            began = time.monotonic()
            answer = client.call(code, ext, b"x")
            is_failure(answer, "no-route", 10005, "no", f"the answer to code {code}")
            contains(answer.remark, "Nowhere", "the remark")
            less(time.monotonic() - began, 1.0, "seconds to the answer")
        equal(on.broker.seen(), [], "requests at the broker")


@test
def nameservers_are_not_asked_again_for_every_send():
    with stage() as on:
        on.nameserver.no_route.update(("Nowhere", TEMPLATE))
        client = on.client()
        for _ in range(100):
            is_failure(
                client.call(SEND_MESSAGE, {"topic": "Nowhere"}, b"x"), "no-route", 10005, "no"
            )
        asked = on.nameserver.seen(GET_ROUTEINFO_BY_TOPIC)
        less(len([row for row in asked if row.ext["topic"] == "Nowhere"]), 5, "questions for it")


@test
def it_is_found_once_it_was_made():
    with stage({"nameserver": {"negative_ttl": "500ms"}}) as on:
        on.nameserver.no_route.update((TOPIC, TEMPLATE))
        client = on.client()
        is_failure(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x"), "no-route", 10005, "no")
        on.nameserver.no_route.clear()
        wait_until(
            lambda: client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error is None,
            5,
            "a send to the topic that now exists",
        )


main()
