#!/usr/bin/env python3
"""
A fake nameserver or broker in a process of its own, which can be killed

    broker_process.py NAME PORT DELAY [BROKER=HOST:PORT ...]

It serves (fake_broker.py) until its standard input ends, and says its port first. Where DELAY is no
0, it does nothing but echo tokens after so many seconds (bulk.py). What follows are the brokers of
its routes; without any it is the only one. PORT 0 is any free one.

BrokerProcess starts, kills and starts it again on the same port.
"""

import pathlib
import subprocess
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from bulk import DelayedEcho
from fake_broker import FakeBroker


class BrokerProcess:
    def __init__(self, name, brokers=(), delay=0):
        self.name = name
        self.delay = delay
        self.brokers = [f"{broker.name}={broker.address}" for broker in brokers]
        self.port = 0
        self.process = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.process = subprocess.Popen(
            [
                *(sys.executable, __file__, self.name),
                *(str(self.port), str(self.delay), *self.brokers),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def _route_to(text):
    name, _, address = text.partition("=")
    return types.SimpleNamespace(name=name, address=address, n_queues=4)


class _Forgetful(list):
    """The requests that came: a process that runs for hours keeps none of them."""

    def append(self, _):
        pass


def main():
    name, port, delay, *brokers = sys.argv[1:]
    broker = FakeBroker(name, port=int(port))
    broker.requests = _Forgetful()
    if float(delay):
        broker.serve = DelayedEcho(lambda: float(delay))
        broker.serve.opaques = _Forgetful()
    if brokers:
        broker.route_to = [_route_to(text) for text in brokers]
    print(broker.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
