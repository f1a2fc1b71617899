#!/usr/bin/env python3
"""Faults that an operator recognises from remotingctl status alone, beside those of status.py"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _tls import secured, settings
from certificates import Authority
from daemon_process import Daemon, binary
from fake_broker import FakeBroker, Held, after, silence
from fake_resolver import NXDOMAIN, FakeResolver
from other_user import OtherUser, needs_root
from remoting import (
    CHANGE_MESSAGE_INVISIBLETIME,
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    GET_STATS,
    POP_MESSAGE,
    RELOAD,
    SEND_MESSAGE,
)
from scenario import POPPED, POPPED_FOR, TOPIC, stage
from tap import check, contains, equal, main, test, wait_until



def screen(daemon):
    done = subprocess.run(
        [binary("REMOTINGCTL", "build-test/client/remotingctl"), "status", "--socket", daemon.socket],
        capture_output=True,
        text=True,
        timeout=30,
    )
    equal(done.returncode, 0, f"the exit code of status ({done.stderr})")
    return done.stdout


@test
def answers_that_come_late():
    with stage() as on:
        on.broker.on(GET_MAX_OFFSET, after(0.6))
        client = on.client()
        equal(on.call(client, "x", {"sidecar.timeoutMillis": "200"}).error, "timeout", "a request")
        wait_until(lambda: client.call(GET_STATS).json()["lateResponses"] == 1, 10, "it comes")
        text = screen(on.daemon)
        contains(text, "timeout 1 (1)", "the failure")
        contains(text, "1 late answers", "the answer")


@test
def connections_that_break_under_requests():
    with stage() as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        opaques = [on.ask(client, n) for n in range(5)]
        held.wait_for(5)
        on.broker.close_connections(reset=True)
        client.gather(opaques)
        contains(screen(on.daemon), "connection-lost 5 (5)", "the failures")


@test
def limits_that_are_met():
    with stage({"limits": {"max_in_flight_per_session": "1"}}) as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        first = on.ask(client, "held", {"sidecar.timeoutMillis": "20000"})
        held.wait_for(1)
        client.gather([on.ask(client, n) for n in range(20)])
        text = screen(on.daemon)
        contains(text, "degraded", "the state")
        contains(text, "20 of 22 requests of the last minute met a limit", "the reason")
        contains(text, "try: remotingctl errors", "what to type")
        connection, request = held.waiting[0]
        connection.echo(request)
        client.receive(first)


@test
def a_reload_that_failed():
    with stage() as on:
        client = on.client()
        good = on.daemon.config_path.read_text()
        on.daemon.config_path.write_text(good + "\n[nonsense]\nx = y\n")
        client.call(RELOAD)
        text = screen(on.daemon)
        contains(text, "the last reload failed", "the reason")
        contains(text, "try: remotingctl reload --wait", "what to type")
        on.daemon.config_path.write_text(good)
        equal(client.call(RELOAD).code, 0, "a reload of the old file")
        contains(screen(on.daemon), ": healthy", "the state after it")


@test
def callers_without_a_role():
    needs_root()
    settings = {
        "listener": {"socket_mode": "0666"},
        "role operators": {"users": "root", "admin": "yes", "send": "*", "consume": "*"},
    }
    with stage(settings) as on:
        os.chmod(on.daemon.directory, 0o755)
        with OtherUser(on.daemon.socket) as stranger:
            equal(stranger.call(SEND_MESSAGE, {"topic": "a"}).error, "forbidden", "a stranger")
        text = screen(on.daemon)
        contains(text, "1 forbidden", "the callers")
        contains(text, "forbidden 1 (1)", "the failures")


@test
def a_nameserver_whose_name_cannot_be_resolved():
    with FakeResolver() as resolver:
        resolver.names["none.test"] = NXDOMAIN
        with Daemon(["none.test:9876"], through=resolver.through()) as daemon:
            client = daemon.client()
            answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"})
            equal(answer.error, "no-nameserver", "a request")
            text = screen(daemon)
            contains(text, "no nameserver of 1 answers, and no route is known", "the reason")
            contains(text, "none.test:9876: the name cannot be resolved", "the cause")


@test
def a_nameserver_whose_certificate_proves_nothing():
    with secured() as on:
        stranger = Authority("Somebody Else").certificate("127.0.0.1")
        with FakeBroker("nameserver", tls=stranger.server_context()) as nameserver:
            with Daemon([nameserver.address], settings()) as daemon:
                client = daemon.client()
                answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"})
                equal(answer.error, "no-nameserver", "a request")
                text = screen(daemon)
                contains(text, f"{nameserver.address}: ", "whose")
                contains(text, "unknown here (Somebody Else)", "the cause")
                contains(text, "[tls] ca_file", "what mends it")


@test
def a_broker_that_speaks_no_tls():
    with secured() as on, FakeBroker("plain") as plain:
        on.nameserver.route_to = [plain]
        send = {"topic": TOPIC, "sidecar.timeoutMillis": "900"}
        equal(on.client().call(SEND_MESSAGE, send, b"x").error, "unreachable", "a send")
        reason = "1 of 1 brokers cannot be used"
        wait_until(lambda: reason in screen(on.daemon), 20, "the end of the handshake")
        text = screen(on.daemon)
        contains(text, f"{plain.address}: ", "which one")
        contains(text, "does it speak TLS?", "the cause")


@test
def a_nameserver_that_accepts_and_is_silent():
    with FakeBroker("nameserver") as nameserver:
        nameserver.on(GET_ROUTEINFO_BY_TOPIC, silence)
        with Daemon([nameserver.address]) as daemon:
            answer = daemon.client().call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"})
            check(answer.error in ("timeout", "no-nameserver"), f"a request ({answer.error})")
            text = screen(daemon)
            contains(text, "no nameserver of 1 answers, and no route is known", "the reason")
            contains(text, f"{nameserver.address}: no answer", "which one")


@test
def received_messages_that_nobody_was_there_for():
    with stage() as on:
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        gone = on.client()
        gone.send(POP_MESSAGE, {"topic": POPPED_FOR[0], "consumerGroup": POPPED_FOR[1]})
        ((connection, request),) = held.wait_for(1)
        files = on.daemon.files()
        gone.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        connection.answer(request, POPPED.code, POPPED.ext, POPPED.body)
        on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)
        contains(screen(on.daemon), "4 messages given back to brokers", "the screen")


main()
