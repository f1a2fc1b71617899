"""A stream of sends by topic, and what became of each"""

import threading
import time

from remoting import SEND_MESSAGE

N_CALLERS = 8


class Stream:
    """Callers that send one message after the other and write down every answer with its time."""

    def __init__(self, running, topic):
        self.topic = topic
        self.ending = threading.Event()
        self.rows = []
        self.unanswered = []
        self.threads = [
            threading.Thread(target=self._send, args=(running.client(), number), daemon=True)
            for number in range(N_CALLERS)
        ]
        for thread in self.threads:
            thread.start()

    def _send(self, client, number):
        n = 0
        while not self.ending.is_set():
            body = f"caller {number} message {n}"
            n += 1
            began = time.monotonic()
            try:
                answer = client.call(SEND_MESSAGE, {"topic": self.topic}, body.encode(), timeout=20)
            except Exception as error:
                self.unanswered.append((body, repr(error)))
                return
            self.rows.append((began, time.monotonic(), body, answer))
            self.ending.wait(0.004)

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(25)

    def failed(self):
        return [
            (body, answer)
            for _, _, body, answer in list(self.rows)
            if answer.error or answer.code != 0
        ]

    def stored_by(self, broker, since):
        """The first answer of this broker to a send that began after that moment, or None."""
        for began, ended, _, answer in list(self.rows):
            if began > since and answer.code == 0 and answer.ext.get("brokerName") == broker:
                return ended
        return None
