#!/usr/bin/env python3
"""Nameservers and brokers behind TLS"""

import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _tls import VERSIONS, authority, client_authority, ours, secured, server, settings
from certificates import Authority
from fake_broker import FakeBroker, Held, echo, silence
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until


@test
def requests_and_answers_go_through_tls_in_both_versions():
    for version in VERSIONS:
        with secured(version) as on:
            client = on.client()
            is_own(on.call(client, version), version)
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"one")
            equal((answer.code, answer.error), (0, None), f"a send ({answer.remark})")
            contains(on.daemon.log(), f"tls=TLSv{version}", "the log")
            equal(
                len(on.broker.connections), 1, "connections to the broker, for all that was asked"
            )


@test
def without_verification_any_certificate_is_taken_and_the_log_warns():
    stranger = Authority("Somebody Else").certificate("elsewhere").server_context()
    with stage({"tls": {"enable": "yes", "verify": "no"}}, tls=stranger) as on:
        is_own(on.call(on.client(), "unverified"), "unverified")
        contains(on.daemon.log(), "level=warning tls verify=no", "the log")


@test
def a_client_certificate_opens_the_door_and_its_key_may_be_a_credential():
    credentials = authority.directory / "credentials"
    credentials.mkdir(mode=0o700)
    key = credentials / "client-key"
    key.touch(0o600)
    key.write_bytes(ours.key_file.read_bytes())
    through = ("env", f"CREDENTIALS_DIRECTORY={credentials}")
    for version in VERSIONS:
        more = settings(cert_file=ours.file, key_file="client-key")
        tls = server.server_context(client_authority, version)
        with stage(more, tls=tls, through=through) as on:
            is_own(on.call(on.client(), "known"), "known")
            log = on.daemon.log()
            secret = key.read_text().splitlines()[1]
            check(secret not in log, "nothing of the key is in the log")


@test
def a_session_is_resumed_by_the_next_connection():
    for version in VERSIONS:
        with secured(version) as on:
            client = on.client()
            for n in range(4):
                is_own(on.call(client, n), n)
                on.broker.close_connections()  # without close_notify
                wait_until(lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the end")
            resumed = [connection.socket.was_resumed for connection in on.broker.connections]
            equal(resumed, [False, True, True, True], f"resumed handshakes, TLS {version}")
            contains(on.daemon.log(), "resumed=yes", "the log")


@test
def a_broker_that_forgot_the_session_makes_a_whole_handshake():
    with secured() as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        on.broker.tls = authority.certificate("127.0.0.1").server_context()  # another ticket key
        on.broker.close_connections()
        wait_until(lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the end")
        is_own(on.call(client, "after"), "after")
        equal(on.broker.connections[-1].socket.was_resumed, False, "the second one was resumed")


@test
def an_end_of_file_is_one_with_and_without_close_notify():
    for version in VERSIONS:
        for is_polite in (True, False):
            with secured(version) as on:
                client = on.client()
                held = Held()
                on.broker.on(GET_MAX_OFFSET, held)
                opaques = [on.ask(client, n) for n in range(20)]
                connection = held.wait_for(20)[0][0]
                on.broker.on(GET_MAX_OFFSET, echo)
                began = time.monotonic()
                if is_polite:
                    connection.socket.close_notify()
                connection.close()
                for answer in client.gather(opaques).values():
                    is_failure(answer, "connection-lost", 10100, "maybe")
                    contains(answer.remark, "it closed the connection", "the remark")
                less(time.monotonic() - began, 2.0, "seconds until all were told")
                is_own(on.call(client, "next"), "next")


@test
def large_bodies_go_both_ways():
    with secured() as on:
        client = on.client(timeout=30)
        for size in (1, 16383, 16384, 16385, 300_000, 4 << 20, 15 << 20):
            body = os.urandom(size)
            answer = on.call(client, size, {"sidecar.timeoutMillis": "20000"}, body, timeout=30)
            is_own(answer, size)
            check(answer.body == body, f"the body of {size} bytes comes back")


@test
def many_are_in_flight_at_once():
    with secured() as on:
        clients = [on.client(timeout=30) for _ in range(8)]
        bodies = [os.urandom(n * 37 % 9000) for n in range(250)]
        patient = {"sidecar.timeoutMillis": "30000"}
        asked = [
            (client, f"{at}.{n}", n, on.ask(client, f"{at}.{n}", patient, body))
            for n, body in enumerate(bodies)
            for at, client in enumerate(clients)
        ]
        for client, token, n, opaque in asked:
            answer = client.receive(opaque, 30)
            is_own(answer, token)
            check(answer.body == bodies[n], f"the body of {token} comes back")
        equal(len(on.broker.connections), 1, "connections to the broker")


@test
def answers_may_come_byte_by_byte_each_in_a_record_of_its_own():
    def trickle(connection, request):
        sent = []
        sender, connection.send_bytes = connection.send_bytes, sent.append
        connection.echo(request)
        connection.send_bytes = sender
        for byte in b"".join(sent):
            connection.send_bytes(bytes([byte]))

    with secured() as on:
        on.broker.on(GET_MAX_OFFSET, trickle)
        client = on.client()
        for n in range(3):
            is_own(on.call(client, n, body=b"x" * 200), n)


@test
def a_broker_that_does_not_read_holds_up_itself_alone():
    more = settings()
    more["limits"] = {"upstream_buffer": "1MiB"}
    reads = threading.Event()
    with stage(more, tls=server.server_context()) as on:
        with FakeBroker("slow", tls=server.server_context()) as slow:
            serve = slow.serve

            def wait(connection):
                connection.socket.recv(1)  # the handshake, and a byte that nobody misses
                reads.wait(20)

            slow.serve = wait
            client = on.client(timeout=30)
            ext = {"sidecar.addr": slow.address, "sidecar.timeoutMillis": "20000"}
            body = bytes(1 << 20)
            opaques = [client.send(GET_MAX_OFFSET, ext, body) for _ in range(40)]
            answer = client.receive(opaques[-1])
            is_failure(answer, "overloaded", 2, "no")
            is_own(on.call(on.client(), "others"), "others")
            slow.serve = serve
            reads.set()
            lost = [client.receive(opaque) for opaque in opaques[:-1]]
            check(
                {answer.error for answer in lost} <= {"overloaded", "connection-lost", None},
                "each is told",
            )
            is_own(client.call(GET_MAX_OFFSET, {**ext, "token": "again"}), "again")


@test
def a_reset_in_the_middle_of_records_ends_what_was_on_the_connection():
    with secured() as on:
        client = on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaques = [on.ask(client, n, body=bytes(100_000)) for n in range(10)]
        connection = held.wait_for(10)[0][0]
        on.broker.on(GET_MAX_OFFSET, silence)
        connection.close(reset=True)
        for answer in client.gather(opaques).values():
            is_failure(answer, "connection-lost", 10100, "maybe")


main()
