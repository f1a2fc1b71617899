#!/usr/bin/env python3
"""What a POP waits with: questions that are parked at brokers"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import answers, in_turn
from remoting import NOTIFICATION, POLLING_TIMEOUT, POP_MESSAGE
from scenario import TOPIC, stage
from tap import equal, less, main, test

NOTHING = answers(ext={"hasMsg": "false", "pollingFull": "false"})


@test
def a_broker_that_parks_no_questions_is_not_asked_without_end():
    """As one that is about to stop: it answers at once that there is nothing"""
    with stage() as on:
        on.broker.on(POP_MESSAGE, in_turn(*[answers(POLLING_TIMEOUT)] * 2, answers(body=b"")))
        on.broker.on(NOTIFICATION, NOTHING)
        ext = {"topic": TOPIC, "consumerGroup": "GID", "pollTime": 5000}
        answer = on.client().call(POP_MESSAGE, ext)
        equal((answer.code, answer.error), (0, None), "the answer to the third question")
        less(len(on.broker.seen(NOTIFICATION)), 3, "questions that were to be parked")
        asked = [request.at for request in on.broker.seen(POP_MESSAGE)]
        equal(len(asked), 3, "questions for messages")
        less(0.4, asked[-1] - asked[-2], "seconds between two of them")


main()
