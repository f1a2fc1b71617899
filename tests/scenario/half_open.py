#!/usr/bin/env python3
"""A host that vanishes: its connections stay open, and nothing comes back"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import FakeBroker, Held, echo
from remoting import GET_MAX_OFFSET
from scenario import is_failure, is_own, stage
from tap import check, equal, less, main, skip, test, wait_until

CLONE_NEWNET = 0x40000000
# Of the networks for such tests (RFC 2544): one that tests at the same time do not take.
NETWORK = f"198.18.{os.getpid() >> 6 & 255}.{(os.getpid() & 63) << 2}"
SETTINGS = {
    "upstream": {"allow_addresses": "any", "tcp_user_timeout": "1s", "connect_timeout": "500ms"},
    "backoff": {"initial": "20ms", "max_wanted": "200ms"},
}


def host(n):
    return f"{NETWORK.rpartition('.')[0]}.{int(NETWORK.rpartition('.')[2]) + n}"


class OtherHost:
    """A network namespace behind a pair of virtual interfaces."""

    def __init__(self):
        self.name = f"rmqd{os.getpid()}"
        self.near, self.far = f"rq{os.getpid()}a", f"rq{os.getpid()}b"

    def __enter__(self):
        try:
            self.ip("netns", "add", self.name)
            self.ip("link", "add", self.near, "type", "veth", "peer", "name", self.far)
            self.ip("link", "set", self.far, "netns", self.name)
            self.ip("addr", "add", f"{host(1)}/30", "dev", self.near)
            self.ip("link", "set", self.near, "up")
            self.ip("-n", self.name, "addr", "add", f"{host(2)}/30", "dev", self.far)
            self.connect()
        except (OSError, subprocess.SubprocessError) as error:
            self.__exit__()
            skip(f"no network namespace with an interface of its own: {error}")
        return self

    def __exit__(self, *_):
        for command in (["link", "del", self.near], ["netns", "del", self.name]):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.ip(*command)

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)

    def connect(self):
        self.ip("-n", self.name, "link", "set", self.far, "up")

    def vanish(self):
        self.ip("-n", self.name, "link", "set", self.far, "down")


class DistantBroker(FakeBroker):
    """Listens in the namespace: a socket stays in the one it was made in."""

    def __init__(self, other_host):
        self.namespace = f"/var/run/netns/{other_host.name}"
        super().__init__("distant", host=host(2))

    def _bind(self, port):
        bound = []
        thread = threading.Thread(target=lambda: bound.append(self._bind_there(port)))
        thread.start()
        thread.join()
        return bound[0]

    def _bind_there(self, port):
        # Of this thread alone, which ends here.
        with open(self.namespace) as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        return super()._bind(port)


@test
def callers_fail_at_their_own_deadlines_and_the_connection_at_tcp_user_timeout():
    with OtherHost() as other_host, stage(SETTINGS) as on, DistantBroker(other_host) as distant:
        client, other = on.client(), on.client()
        ext = {"sidecar.addr": distant.address}
        is_own(on.call(client, "before", ext), "before")
        held = Held()
        distant.on(GET_MAX_OFFSET, held)
        # It was read and acknowledged before the host vanished: only its deadline ends it, or the
        # end of the connection that later requests bring about.
        patient = on.ask(client, "patient", {**ext, "sidecar.timeoutMillis": 20000})
        held.wait_for(1)
        other_host.vanish()
        began = time.monotonic()
        for millis in (100, 300):
            asked = time.monotonic()
            answer = on.call(client, millis, {**ext, "sidecar.timeoutMillis": millis})
            is_failure(answer, "timeout", 10002, "maybe")
            took = time.monotonic() - asked
            check(
                millis / 1000 - 0.01 < took < 1.0,
                f"{millis} ms were waited for, no longer (took {took:.3f} s)",
            )
            # Others go their way meanwhile.
            is_own(on.call(other, millis), millis)
        answer = client.receive(patient, timeout=15)
        is_failure(answer, "connection-lost", 10100, "maybe")
        less(time.monotonic() - began, 10.0, "seconds until it was known (tcp_user_timeout: 1 s)")
        equal(on.daemon.upstreams_to(distant.address), [], "connections to a host that is away")
        # From now on nothing is sent any more, and that is said at once.
        answer = on.call(client, "away", {**ext, "sidecar.timeoutMillis": 300})
        is_failure(answer, "unreachable", 10001, "no")
        other_host.connect()
        distant.on(GET_MAX_OFFSET, echo)
        began = time.monotonic()
        wait_until(
            lambda: on.call(client, "back", {**ext, "sidecar.timeoutMillis": 500}).error is None,
            15,
            "it is used again when the host is back",
        )
        for n in range(5):
            is_own(on.call(client, n, ext), n)


main()
