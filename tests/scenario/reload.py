#!/usr/bin/env python3
"""The configuration is read again: all of it or nothing, and nobody's request notices"""

import pathlib
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from _tls import authority, client_authority, ours, server
from daemon_process import binary
from fake_broker import FakeBroker, Held, echo
from other_user import ANOTHER_USER, OtherUser, needs_root
from remoting import (
    CLEAR_RPC_HOOKS,
    GET_MAX_OFFSET,
    GET_RPC_HOOKS,
    GET_STATS,
    NO_PERMISSION,
    REGISTER_PROCESSOR,
    RELOAD,
    SEND_MESSAGE,
)
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, test, wait_until

GET_NAMESRV_LIST = 30001
UPDATE_NAMESRV_LIST = 30002
INVALID = 13
TIMEOUT = 10002
LOOPBACK = {"upstream": {"allow_addresses": "127.0.0.0/8"}}


def rewrite(on, settings=None, nameservers=None):
    """The stage's file with these settings laid over it."""
    merged = {section: dict(keys) for section, keys in LOOPBACK.items()}
    for section, keys in (settings or {}).items():
        merged.setdefault(section, {}).update(keys)
    on.daemon.write_config(nameservers or [on.nameserver.address], merged)


def reload(on):
    """As an administrator over the socket; the answer."""
    with on.client() as client:
        return client.call(RELOAD)


def is_reloaded(on, kept=()):
    answer = reload(on)
    equal((answer.code, answer.error), (0, None), f"the reload ({answer.remark} {answer.body})")
    equal(len(answer.json()["kept"]), len(kept), f"what stays as it was: {answer.body}")
    for words, text in zip(kept, answer.json()["kept"]):
        contains(text, words, "what stays as it was")


def tool(on, *arguments):
    return subprocess.run(
        [binary("REMOTINGCTL", "build-test/client/remotingctl"), "--socket", on.daemon.socket]
        + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
    )


def counts(on):
    with on.client() as client:
        return client.call(GET_STATS).json()


@test
def sighup_puts_new_settings_to_use_and_connections_stay():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "before"), "before")
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        rewrite(on, {"upstream": {"request_timeout": "300ms"}, "log": {"level": "info"}})
        on.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload done" in on.daemon.log(), 5, "the reload in the log")
        began = time.monotonic()
        answer = on.call(client, "silence")
        is_failure(answer, "timeout", TIMEOUT, "maybe")
        less(time.monotonic() - began, 2.0, "seconds of the new request_timeout, 300 ms")
        equal(len(on.broker.connections), 1, "connections to the broker, before and after")
        n_lines = on.daemon.log().count("level=debug")
        on.broker.on(GET_MAX_OFFSET, echo)
        with on.client() as other:
            is_own(on.call(other, "later"), "later")
        equal(on.daemon.log().count("level=debug"), n_lines, "lines of debugging since")
        equal(counts(on)["reloads"], 1, "reloads that are counted")


@test
def a_file_that_is_wrong_changes_nothing_and_every_problem_is_told_with_its_line():
    with stage() as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        waiting = on.ask(client, "waits")
        held.wait_for(1)
        rewrite(on, {"pool": {"max_idle": "5"}, "breaker": {"failures": "many"}})
        text = on.daemon.config_path.read_text().splitlines()
        done = tool(on, "reload", "--wait")
        equal(done.returncode, 3, f"the exit code ({done.stderr})")
        equal(done.stdout, "", "what is printed as a success")
        for line in ("max_idle = 5", "failures = many"):
            number = text.index(line) + 1
            contains(done.stderr, f"{on.daemon.config_path}:{number}: [", "the problems")
            contains(done.stderr, f"] {line}: ", "the problems")
        contains(on.daemon.log(), "reload failed", "the log")
        seen = counts(on)
        equal((seen["reloads"], seen["reloadsFailed"]), (0, 1), "reloads that are counted")
        equal(seen["lastReloadFailed"], True, "lastReloadFailed")
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(waiting), "waits")
        on.daemon.config_path.unlink()
        answer = reload(on)
        is_failure(answer, "invalid", INVALID, "no")
        contains(answer.remark, "cannot be read: No such file", "the remark")
        rewrite(on)
        is_reloaded(on)
        equal(counts(on)["lastReloadFailed"], False, "lastReloadFailed after a good one")


@test
def what_is_fixed_while_it_runs_stays_and_that_is_said():
    with stage() as on:
        rewrite(on, {"listener": {"socket": "/elsewhere.sock"}, "send": {"producer_group": "shop"}})
        done = tool(on, "reload")
        equal(done.returncode, 0, f"the exit code ({done.stderr})")
        contains(done.stdout, f"socket = /elsewhere.sock: it stays {on.daemon.socket}", "the output")
        contains(done.stdout, "producer_group = shop: it stays remotingd", "the output")
        client = on.client()
        is_own(on.call(client, "still here"), "still here")
        client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
        sent = on.broker.seen(SEND_MESSAGE)[0]
        equal(sent.ext.get("a", sent.ext.get("producerGroup")), "remotingd", "the producer group")
        rewrite(on, {"listener web": {"socket": f"{on.daemon.directory}/web.sock"}})
        answer = reload(on)
        is_failure(answer, "invalid", INVALID, "no")
        contains(answer.remark, "[listener web]: it is new", "the remark")
        contains(answer.remark, "a restart takes others", "the remark")
        rewrite(on)
        is_reloaded(on)


@test
def under_load_a_reload_that_replaces_the_nameserver_fails_nobody():
    with stage() as on, FakeBroker("nameserver") as other:
        other.route_to = [on.broker]
        failures, answered, stop = [], [0], threading.Event()

        def load(number):
            with on.client() as client:
                n = 0
                while not stop.is_set():
                    token = f"{number}-{n}"
                    answer = on.call(client, token)
                    if answer.error or answer.ext.get("echo.token") != token:
                        failures.append(answer)
                    answer = client.call(SEND_MESSAGE, {"topic": f"{TOPIC}{n % 7}"}, b"x")
                    if answer.error:
                        failures.append(answer)
                    answered[0] += 2
                    n += 1

        threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for n in range(10):
            n_before = answered[0]
            rewrite(on, nameservers=[(other if n % 2 == 0 else on.nameserver).address])
            is_reloaded(on)
            wait_until(lambda: answered[0] > n_before + 20, 10, "requests behind the reload")
        rewrite(on, nameservers=[other.address])
        is_reloaded(on)
        wait_until(
            lambda: not on.daemon.upstreams_to(on.nameserver.address),
            5,
            "the end of the connections to the nameserver that went",
        )
        stop.set()
        for thread in threads:
            thread.join(30)
        equal(failures[:1], [], f"failures of {answered[0]} requests")


@test
def keys_are_read_anew_and_what_was_cleared_or_set_by_command_ends():
    with stage() as on:
        secret = on.daemon.directory / "secret"
        secret.touch(0o600)
        secret.write_text("one\n")
        acl = {"acl prod": {"access_key": "AK", "secret_key_file": str(secret)}}
        acl["hooks"] = {"static_fields": "zone=b"}
        rewrite(on, acl)
        is_reloaded(on)
        client = on.client()

        def signature(token):
            ext = {"token": token, "sidecar.broker": "broker-a"}  # by its route: it is signed for
            is_own(client.call(GET_MAX_OFFSET, ext), token)
            return on.broker.seen(GET_MAX_OFFSET)[-1].ext["Signature"]

        first = signature("same")
        equal(signature("same"), first, "the signature of the same request")
        secret.write_text("two\n")
        equal(signature("same"), first, "the signature before the reload")
        is_reloaded(on)
        check(signature("same") != first, "the new key signs")
        check("two" not in on.daemon.log(), "nothing of the key is in the log")
        client.call(CLEAR_RPC_HOOKS)
        equal(client.call(GET_RPC_HOOKS).json()["cleared"], True, "cleared")
        client.call(UPDATE_NAMESRV_LIST, body=b'["127.0.0.1:1"]')
        secret.unlink()
        answer = reload(on)
        is_failure(answer, "invalid", INVALID, "no")
        contains(answer.remark, "[acl prod]", "the remark")
        equal(client.call(GET_RPC_HOOKS).json()["cleared"], True, "cleared, behind a failed reload")
        rewrite(on)
        is_reloaded(on)
        equal(client.call(GET_RPC_HOOKS).json(), {"hooks": [], "cleared": False}, "the hooks")
        listed = client.call(GET_NAMESRV_LIST).json()["nameservers"]
        equal([row["addr"] for row in listed], [on.nameserver.address], "the nameservers")


@test
def callers_are_judged_by_the_new_roles_at_once():
    needs_root()
    everything = {"send": "*", "producer_groups": "*", "consume": "*", "consumer_groups": "*"}
    admin = {"users": "root", "admin": "yes", **everything}
    shop = {"users": str(ANOTHER_USER), "send": TOPIC}
    open_to_all = {"listener": {"socket_mode": "0666"}}
    with stage({**open_to_all, "role admin": admin, "role shop": shop}) as on:
        on.daemon.directory.chmod(0o755)
        with OtherUser(on.daemon.socket) as client, OtherUser(on.daemon.socket) as idle:
            answer = client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
            is_failure(answer, "forbidden", NO_PERMISSION, "no")
            rewrite(on, {**open_to_all, "role admin": admin, "role shop": {**shop, "send": "*"}})
            is_reloaded(on)
            answer = client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
            equal(answer.error, None, f"a send that the new role allows ({answer.remark})")
            rewrite(on, {**open_to_all, "role admin": admin})
            held = Held()
            on.broker.on(SEND_MESSAGE, held)
            waiting = client.send(SEND_MESSAGE, {"topic": "news"}, b"x")
            held.wait_for(1)
            is_reloaded(on)
            connection, request = held.waiting[0]
            connection.echo(request)
            equal(client.receive(waiting).error, None, "the answer of what was in flight")
            answer = client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
            is_failure(answer, "forbidden", NO_PERMISSION, "no")
            client.wait_for_end(5)
            contains(on.daemon.log(), "after a reload error=forbidden", "the audit line")
            rewrite(on, {**open_to_all, "role admin": admin, "role shop": shop})
            is_reloaded(on)
            equal(idle.call(GET_STATS).error, None, "who had no role meanwhile, and asked nothing")


@test
def who_may_less_than_before_loses_what_it_was_registered_for_and_others_keep_it():
    needs_root()
    everything = {"send": "*", "producer_groups": "*", "consume": "*", "consumer_groups": "*"}
    admin = {"users": "root", "admin": "yes", **everything}
    shop = {"users": str(ANOTHER_USER), "consumer_groups": "G;H", "consume": TOPIC}
    open_to_all = {"listener": {"socket_mode": "0666"}}
    with stage({**open_to_all, "role admin": admin, "role shop": shop}) as on:
        on.daemon.directory.chmod(0o755)
        with OtherUser(on.daemon.socket) as client:
            asked = {"codes": "221", "groups": "G"}
            equal(client.call(REGISTER_PROCESSOR, asked).error, None, "the registration")
            for groups in ("G;H", "H;G;I"):
                shop["consumer_groups"] = groups
                rewrite(on, {**open_to_all, "role admin": admin, "role shop": shop})
                is_reloaded(on)
                equal(client.call(GET_STATS).error, None, f"still there with {groups}")
            shop["consumer_groups"] = "H"
            rewrite(on, {**open_to_all, "role admin": admin, "role shop": shop})
            is_reloaded(on)
            client.wait_for_end(5)
        with OtherUser(on.daemon.socket) as client:
            is_failure(client.call(REGISTER_PROCESSOR, asked), "forbidden", NO_PERMISSION, "no")


@test
def only_administrators_reload():
    needs_root()
    with stage({"listener": {"socket_mode": "0666"}}) as on:
        on.daemon.directory.chmod(0o755)
        with OtherUser(on.daemon.socket) as client:
            is_failure(client.call(RELOAD), "forbidden", NO_PERMISSION, "no")


@test
def certificates_are_read_anew_and_wrong_ones_leave_the_old_ones_in_use():
    directory = pathlib.Path(authority.directory) / "rotated"
    directory.mkdir()
    mine, key = directory / "cert.pem", directory / "key.pem"
    key.touch(0o600)

    def install(certificate):
        mine.write_bytes(pathlib.Path(certificate.file).read_bytes())
        key.write_bytes(certificate.key_file.read_bytes())

    tls = {
        "enable": "yes",
        "ca_file": authority.file,
        "cert_file": str(mine),
        "key_file": str(key),
    }
    install(ours)
    second = client_authority.certificate("rotated")
    with stage({"tls": tls}, tls=server.server_context(client_authority)) as on:
        client = on.client()

        def subject(token):
            is_own(on.call(client, token), token)
            certificate = on.broker.connections[-1].socket.peer_certificate()
            return dict(pair[0] for pair in certificate["subject"])["commonName"]

        equal(subject("first"), "remotingd", "whose certificate the broker sees")
        install(second)
        rewrite(on, {"tls": tls})
        is_reloaded(on)
        equal(subject("kept"), "remotingd", "whose it sees on the connection that was there")
        on.broker.close_connections()
        wait_until(lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the end")
        equal(subject("second"), "rotated", "whose it sees on a new connection")
        key.write_bytes(ours.key_file.read_bytes())
        answer = reload(on)
        is_failure(answer, "invalid", INVALID, "no")
        contains(answer.remark, "does not belong to the certificate", "the remark")
        on.broker.close_connections()
        wait_until(lambda: not on.daemon.upstreams_to(on.broker.address), 5, "the end")
        equal(subject("third"), "rotated", "whose it sees behind a failed reload")


main()
