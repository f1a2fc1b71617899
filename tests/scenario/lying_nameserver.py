#!/usr/bin/env python3
"""A nameserver that lies: routes to what is no broker, to nobody, and to the same one many times"""

import json
import os
import pathlib
import signal
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, answers
from remoting import GET_ROUTEINFO_BY_TOPIC, SEND_MESSAGE
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, less, main, note, test, wait_until

SETTINGS = {"backoff": {"initial": "10ms", "max_wanted": "50ms"}}


def route(*brokers):
    queue = {"perm": 6, "readQueueNums": 4, "writeQueueNums": 4, "topicSysFlag": 0}
    rows = [
        {"brokerAddrs": {"0": address}, "brokerName": name, "cluster": "fake"}
        for name, address in brokers
    ]
    queues = [{**queue, "brokerName": name} for name, _ in brokers]
    body = {"brokerDatas": rows, "filterServerTable": {}, "queueDatas": queues}
    return answers(body=json.dumps(body).encode())


class Banner:
    """A server that speaks first, as sshd does."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.received = bytearray()
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _run(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            with accepted:
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
                try:
                    self.received += accepted.recv(1 << 16)
                except OSError:
                    pass


@test
def whatever_a_route_says_a_send_ends_in_words_and_others_go_on():
    with stage(SETTINGS) as on, Banner() as banner:
        broker = on.broker.address
        lies = {
            "to what speaks another protocol": [("x", banner.address)],
            "to no port": [("x", "127.0.0.1:0")],
            "to a port that there is not": [("x", "127.0.0.1:99999")],
            "to what is no address": [("x", "; rm -rf /")],
            "to everybody": [("x", "0.0.0.0:1")],
            "to all networks": [("x", "255.255.255.255:1")],
            "to an address of documentation": [("x", "[2001:db8::1]:1")],
            "to a very long name": [("x", "a" * 5000 + ":1")],
            "to nobody": [],
            "to a broker without a name": [("", broker)],
            "to the same one many times": [("x", banner.address)] * 200,
        }
        client, other = on.client(timeout=20), on.client()
        for what, brokers in lies.items():
            on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, route(*brokers))
            topic = "Lie-" + "".join(c for c in what if c.isalpha())
            ext = {"topic": topic, "sidecar.timeoutMillis": 1000}
            answer = client.call(SEND_MESSAGE, ext, b"x")
            if answer.error is None:
                equal(answer.ext.get("brokerName"), "", f"{what}: the only one that is there")
            else:
                check(answer.remark, f"{what}: the failure says why")
                less(len(answer.remark), 1000, f"{what}: characters of the remark")
                note(f"{what}: {answer.error}, {answer.remark[:120]}")
            is_own(on.call(other, what), what, "another caller's answer")
        # What is true again is found again.
        on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, route(("broker-a", broker)))
        answer = client.call(SEND_MESSAGE, {"topic": "Truth", "token": "t"}, b"x")
        equal((answer.code, answer.error), (0, None), f"a true route ({answer.remark})")


@test
def a_route_leads_nowhere_but_where_routes_may():
    refused = "route_addresses does not admit it"
    with stage() as on, Banner() as banner, FakeBroker("other") as other:
        settings = {
            "upstream": {"route_addresses": f"{on.broker.address};10.0.0.0/8"},
            "nameserver": {"route_refresh": "1s"},
        }
        with Daemon([on.nameserver.address], settings) as daemon:
            client = daemon.client()
            answer = client.call(SEND_MESSAGE, {"topic": "Good", "token": "t"}, b"x")
            equal((answer.code, answer.error), (0, None), f"where it may lead ({answer.remark})")
            port = banner.address.rpartition(":")[2]
            for address in (banner.address, f"localhost:{port}", f"[::1]:{port}"):
                on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, route(("x", address)))
                ext = {"topic": "Bad-" + address.replace(":", "-").strip("[]"), "sidecar.retry": "no"}
                answer = client.call(SEND_MESSAGE, ext, b"x")
                is_failure(answer, "unreachable", 10001, "no", f"a send to {address}")
                contains(answer.remark, refused, f"the remark for {address}")
            both = route(("broker-a", on.broker.address), ("other", other.address))
            on.nameserver.on(GET_ROUTEINFO_BY_TOPIC, both)
            for n in range(8):
                answer = client.call(SEND_MESSAGE, {"topic": "Both", "token": str(n)}, b"x")
                is_own(answer, n, "a send to the one that is admitted")
            equal(other.seen(SEND_MESSAGE), [], "requests at the one that is not")

            daemon.write_config([on.nameserver.address], {})
            os.kill(daemon.pid, signal.SIGHUP)

            def comes_there():
                client.call(SEND_MESSAGE, {"topic": "Both"}, b"x")
                return other.seen(SEND_MESSAGE)

            wait_until(comes_there, 20, "a send to the other one, with no list after a reload")
        equal(bytes(banner.received), b"", "what came to the other server")


main()
