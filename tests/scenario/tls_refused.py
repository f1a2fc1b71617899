#!/usr/bin/env python3
"""What is refused in TLS is told with what would mend it"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _tls import VERSIONS, authority, client_authority, ours, secured, server, settings
from certificates import Authority, with_passphrase
from daemon_process import Daemon, binary
from fake_broker import FakeBroker
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, main, test, wait_until

GET_POOL_STATS = 30006
CLIENT_HELLO = 0x16  # the type of its record: handshake


def cause_in_pools(client, address):
    """What remotingctl show pools tells of the last failure."""
    rows = client.call(GET_POOL_STATS).json()["addresses"]
    return [row["backoff"]["cause"] for row in rows if row["addr"] == address][0]


def is_refused(on, address, *words, what=""):
    """The caller is told why and that nothing was sent; so are the log and the pool."""
    client = on.client()
    answer = client.call(GET_MAX_OFFSET, {"sidecar.addr": address, "sidecar.timeoutMillis": "900"})
    is_failure(answer, "unreachable", 10001, "no", what)
    # In TLS 1.3 our certificate is refused behind the handshake: it is connected for a moment.
    cause = wait_until(lambda: cause_in_pools(client, address), 5, f"a cause in the pool ({what})")
    for word in words:
        contains(answer.remark, word, f"the remark ({what})")
        contains(on.daemon.log(), word, f"the log ({what})")
        contains(cause, word, f"the cause in the pool ({what})")
    client.close()


@contextlib.contextmanager
def listener(serve):
    """Something that is no TLS server: serve(socket) is called with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as bound:

        def accept():
            while True:
                try:
                    accepted, _ = bound.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(accepted,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        bound.shutdown(socket.SHUT_RDWR)


@test
def a_certificate_that_proves_nothing_is_refused_with_what_would_mend_it():
    stranger = Authority("Somebody Else")
    with secured() as on:
        for certificate, words in (
            (stranger.certificate("127.0.0.1"), ("unknown here (Somebody Else)", "[tls] ca_file")),
            (
                authority.certificate("127.0.0.1", days=-1),
                ("certificate expired at 20", "a new one"),
            ),
            (
                authority.certificate("broker.example", "10.0.0.7"),
                ("for broker.example, 10.0.0.7, not for 127.0.0.1", "[tls] server_name"),
            ),
        ):
            for version in VERSIONS:
                tls = certificate.server_context(version=version)
                with FakeBroker("broken", tls=tls) as broker:
                    is_refused(on, broker.address, *words, what=f"{words[0]}, TLS {version}")
                    equal(broker.seen(), [], "what the broker was asked")
        is_own(on.call(on.client(), "others"), "others")


@test
def a_nameserver_that_proves_nothing_is_told_of_by_sends_and_by_remotingctl():
    tls = Authority("Somebody Else").certificate("127.0.0.1").server_context()
    with stage(settings(), tls=tls) as on:
        answer = on.client().call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
        is_failure(answer, "no-nameserver", 10004, "no")
        contains(answer.remark, "unknown here (Somebody Else)", "the remark")
        contains(answer.remark, "[tls] ca_file", "the remark")
        shown = subprocess.run(
            [binary("REMOTINGCTL", "build-test/client/remotingctl"), "show", "pools"],
            env={**os.environ, "REMOTINGD_SOCKET": on.daemon.socket},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        contains(shown, "LAST FAILURE", "show pools")
        contains(shown, "the CA's certificate belongs in [tls] ca_file", "show pools")


@test
def the_name_to_be_proved_may_be_given_for_all():
    named = authority.certificate("rocketmq.example").server_context()
    with stage(settings(server_name="rocketmq.example"), tls=named) as on:
        is_own(on.call(on.client(), "named"), "named")
        other = authority.certificate("127.0.0.1").server_context()
        with FakeBroker("other", tls=other) as broker:
            is_refused(on, broker.address, "for 127.0.0.1, not for rocketmq.example")


@test
def two_names_of_one_broker_prove_themselves_each():
    both = authority.certificate("localhost", "127.0.0.1").server_context()
    for tls, words in ((both, None), (server.server_context(), "not for localhost")):
        more = settings()
        more["upstream"] = {"allow_addresses": "any"}
        with stage(more, tls=tls) as on:
            client = on.client()
            is_own(on.call(client, "by address"), "by address")
            by_name = f"localhost:{on.broker.port}"
            if words:
                is_refused(on, by_name, words)
            else:
                is_own(client.call(GET_MAX_OFFSET, {"sidecar.addr": by_name, "token": "n"}), "n")
                equal(len(on.broker.connections), 2, "connections to the broker")


@test
def a_peer_in_plain_text_is_refused_and_nothing_is_said_to_it_in_plain_text():
    said = []

    def note(connection, answer):
        said.append(connection.recv(4096))
        connection.sendall(answer)
        connection.close()

    with secured() as on:
        for answer, words in (
            # A broker without TLS takes the first bytes for a length that is too large.
            (b"", "closed the connection in the TLS handshake"),
            (b"\x00\x00\x00\x10\x00\x00\x00\x08{}      12345678", "is not TLS"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not TLS"),
        ):
            said.clear()
            with listener(lambda connection: note(connection, answer)) as address:
                is_refused(on, address, words, "tls.server.mode", "[tls] enable")
            check(said, "it was connected to")
            equal({data[0] for data in said}, {CLIENT_HELLO}, "how everything begins that is said")
        # A fake broker without TLS: it sees bytes that are no frame, and none of the request.
        with FakeBroker("plain") as broker:
            opaque = (client := on.client()).send(
                GET_MAX_OFFSET, {"sidecar.addr": broker.address, "sidecar.timeoutMillis": "900"}
            )
            is_failure(client.receive(opaque), "unreachable", 10001, "no")
            equal(broker.seen(), [], "requests that it could read")


@test
def a_daemon_in_plain_text_gets_nowhere_with_a_peer_behind_tls():
    with stage() as on, FakeBroker("secured", tls=server.server_context()) as broker:
        client = on.client()
        answer = client.call(
            GET_MAX_OFFSET, {"sidecar.addr": broker.address, "sidecar.timeoutMillis": "900"}
        )
        check(answer.error in ("connection-lost", "timeout", "unreachable"), f"it fails ({answer})")


@test
def a_peer_that_wants_a_client_certificate_says_so():
    for version in VERSIONS:
        with secured() as on:
            tls = server.server_context(client_authority, version)
            with FakeBroker("strict", tls=tls) as broker:
                is_refused(
                    on,
                    broker.address,
                    "it wants a client certificate",
                    "[tls] cert_file and key_file",
                    what=f"TLS {version}",
                )
                equal(broker.seen(), [], "requests that the broker has read")


@test
def a_client_certificate_of_a_ca_that_the_peer_does_not_know_is_refused_by_it():
    wrong = Authority("Not Theirs").certificate("remotingd")
    for version in VERSIONS:
        with secured(**wrong.client_settings()) as on:
            tls = server.server_context(client_authority, version)
            with FakeBroker("strict", tls=tls) as broker:
                is_refused(on, broker.address, "it refused our certificate", "[tls] cert_file")


@test
def a_version_that_is_too_old_is_refused():
    with secured("1.3", min_version="1.3") as on:
        is_own(on.call(on.client(), "new"), "new")
        with FakeBroker("old", tls=server.server_context(version="1.2")) as broker:
            is_refused(on, broker.address, "version of TLS", "[tls] min_version")


@test
def a_start_with_files_that_are_of_no_use_fails_in_words():
    other = client_authority.certificate("other")
    secret = with_passphrase(ours.key_file, "pass-phrase")
    for more, words in (
        ({"ca_file": "/nonexistent/ca.pem"}, ("[tls] ca_file /nonexistent/ca.pem: No such file",)),
        ({"ca_file": ours.key_file}, ("it holds no certificate", "-----BEGIN CERTIFICATE-----")),
        (
            {"cert_file": ours.file, "key_file": other.key_file},
            ("does not belong to the certificate in cert_file", str(ours.file)),
        ),
        (
            {"cert_file": ours.file, "key_file": secret},
            ("it has a passphrase", "openssl pkey -in FILE"),
        ),
        (
            {"cert_file": ours.file, "key_file": ours.file},
            ("it holds no key that can be read", "-----BEGIN PRIVATE KEY-----"),
        ),
        (
            {"cert_file": ours.file, "key_file": "no-credential"},
            ("no-credential is the name of a credential",),
        ),
    ):
        daemon = Daemon(["127.0.0.1:1"], settings(**more), clean=False)
        try:
            daemon.start()
        except AssertionError as error:
            for word in words:
                contains(str(error), word, "what the daemon says")
            check(not daemon.directory.exists(), "it did not start")
        else:
            daemon.kill()
            check(False, f"it started with {more}")


@test
def a_handshake_that_never_ends_costs_the_connect_timeout_and_no_more():
    held = []
    more = settings()
    more["upstream"] = {"allow_addresses": "127.0.0.0/8", "connect_timeout": "400ms"}
    with stage(more, tls=server.server_context()) as on, listener(held.append) as address:
        client, other = on.client(), on.client()
        is_own(on.call(other, "warm"), "warm")
        began = time.monotonic()
        ext = {"sidecar.addr": address, "sidecar.timeoutMillis": "600"}
        opaque = client.send(GET_MAX_OFFSET, ext)
        wait_until(lambda: held, 5, "it is connected")
        is_own(on.call(other, "meanwhile"), "meanwhile")
        answer = client.receive(opaque)
        is_failure(answer, "unreachable", 10001, "no")
        contains(answer.remark, "no TLS handshake within connect_timeout (400 ms)", "the remark")
        took = time.monotonic() - began
        check(0.39 < took < 4, f"the connect timeout was waited for, no longer (took {took:.2f} s)")


main()
