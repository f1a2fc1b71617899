"""
What the scenarios share: a stage with a scripted nameserver, a scripted broker and the real daemon
before both

Most stories are about the way of one request and its answer: ask() sends a command to the broker by
its address, which the daemon passes on as it stands, with a token that the broker's echo brings
back; is_own() asserts that it did.
"""

import contextlib
import dataclasses
import pathlib

import tap
from daemon_process import Daemon
from fake_broker import FakeBroker
from remoting import GET_MAX_OFFSET, GET_ROUTEINFO_BY_TOPIC, decode

TOPIC = "Orders"

_GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "protocol" / "golden"
# What RocketMQ 5.5.0 answered to a POP of this topic and group: four messages.
POPPED_FOR = ("GoldenPop", "GID-pop-fresh")
POPPED = decode((_GOLDEN / "pop_message_first.json.response.bin").read_bytes())


@dataclasses.dataclass
class Stage:
    daemon: Daemon
    nameserver: FakeBroker
    broker: FakeBroker

    def client(self, **more):
        return self.daemon.client(**more)

    def measure_nameserver(self):
        """
        One that answered once is not probed on its own account: what is counted from now on is the
        story's.
        """
        client = self.client()
        tap.equal(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC}).code, 0, "a route")
        client.close()

    def ask(self, client, token, ext=None, body=b"", **more):
        """Sends one request to the broker and returns its opaque."""
        ext = {"token": token, "sidecar.addr": self.broker.address, **(ext or {})}
        return client.send(GET_MAX_OFFSET, ext, body, **more)

    def call(self, client, token, ext=None, body=b"", timeout=None, **more):
        return client.receive(self.ask(client, token, ext, body, **more), timeout)


@contextlib.contextmanager
def stage(settings=None, tls=None, **more):
    """
    The nameserver's routes name the broker; both are loopback addresses that callers may also name
    themselves. tls is both servers' (fake_broker.py). What else a Daemon may be told goes to it.
    """
    settings = {section: dict(keys) for section, keys in (settings or {}).items()}
    settings.setdefault("upstream", {}).setdefault("allow_addresses", "127.0.0.0/8")
    with FakeBroker("nameserver", tls=tls) as nameserver, FakeBroker("broker-a", tls=tls) as broker:
        nameserver.route_to = [broker]
        with Daemon([nameserver.address], settings, **more) as daemon:
            yield Stage(daemon, nameserver, broker)


@contextlib.contextmanager
def two_brokers(**more):
    """The daemon and two brokers that every topic lives on; what a Daemon may be told goes to it."""
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as a:
        with FakeBroker("broker-b") as b:
            nameserver.route_to = [a, b]
            with Daemon([nameserver.address], **more) as running:
                yield running, a, b


def is_own(answer, token, what="the answer"):
    tap.equal((answer.code, answer.error), (0, None), f"{what} (remark: {answer.remark})")
    tap.equal(answer.ext.get("echo.token"), str(token), f"the token that {what} brings back")


def is_failure(answer, error, code, sent=None, what="the answer"):
    tap.equal((answer.error, answer.code), (error, code), f"{what} (remark: {answer.remark})")
    tap.check(answer.remark, f"{what} has a remark")
    if sent is not None:
        tap.equal(answer.ext.get("sidecar.sent"), sent, f"sidecar.sent of {what}")
