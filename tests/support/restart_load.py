"""
Callers beside a restart that nobody is to notice

Some keep one connection and ask again and again, some connect anew for each request, and some are
connected and say nothing. failures holds what any of them got that was not its own answer, a
connection that was refused or ended among it.

    with RestartLoad(connect, broker.address) as load:
        load.wait_for_more(50)
        ...a restart...
        load.stop()
        equal(load.failures, [], "failures")
        load.ask_idle()
"""

import contextlib
import itertools
import threading

from remoting import GET_MAX_OFFSET
from tap import wait_until

TIMEOUT = 20
DEADLINE = {"sidecar.timeoutMillis": "15000"}


class RestartLoad:
    def __init__(self, connect, address, n_busy=8, n_idle=300):
        """connect() gives a client; address is a broker's that echoes tokens."""
        self.connect = connect
        self.address = address
        self.failures = []
        self.answered = 0
        self._counted = threading.Lock()
        self._is_over = threading.Event()
        self._stack = contextlib.ExitStack()
        self._n_idle = n_idle
        self._idle = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(run, f"{run.__name__}{number}"))
            for run in (self._stay, self._come_and_go)
            for number in range(n_busy)
        ]

    def __enter__(self):
        self._idle = [self._stack.enter_context(self.connect()) for _ in range(self._n_idle)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._stack.close()

    def _ask(self, client, token):
        ext = {"token": token, "sidecar.addr": self.address, **DEADLINE}
        answer = client.call(GET_MAX_OFFSET, ext, timeout=TIMEOUT)
        if answer.error or answer.ext.get("echo.token") != token:
            self.failures.append(repr(answer))
        with self._counted:
            self.answered += 1

    def _numbers(self):
        return itertools.takewhile(lambda _: not self._is_over.is_set(), itertools.count())

    def _stay(self, name):
        with self.connect() as client:
            for n in self._numbers():
                self._ask(client, f"{name}-{n}")

    def _come_and_go(self, name):
        for n in self._numbers():
            with self.connect() as client:
                self._ask(client, f"{name}-{n}")

    def _guarded(self, run, name):
        try:
            run(name)
        except Exception as error:  # a connection refused, or ended
            self.failures.append(repr(error))

    def wait_for_more(self, n):
        before = self.answered
        wait_until(lambda: self.answered > before + n or self.failures, 60, "requests")

    def stop(self):
        self._is_over.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT)

    def ask_idle(self):
        """Those who were silent all the time are served too."""
        for n, client in enumerate(self._idle):
            self._ask(client, f"idle-{n}")
