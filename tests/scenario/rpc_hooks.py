#!/usr/bin/env python3
"""Namespace, static fields and the ACL signature, on every request and never on nobody's broker"""

import atexit
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, answers, echo, in_turn
from other_user import ANOTHER_USER, needs_root
from remoting import (
    CLEAR_RPC_HOOKS,
    GET_MAX_OFFSET,
    GET_RPC_HOOKS,
    GET_STATS,
    GO_AWAY,
    NO_PERMISSION,
    SEND_MESSAGE,
    SYSTEM_BUSY,
)
from scenario import TOPIC, is_own, stage
from tap import check, contains, equal, main, test

GET_CONFIG = 30017
SECRET = b"s3cret/key+"


def secret_file(content=SECRET + b"\n", mode=0o600):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-secret-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = directory / "secret"
    path.write_bytes(content)
    os.chmod(path, mode)
    return str(path)


def settings(secret, **acl):
    return {
        "acl prod": {"access_key": "AK", "secret_key_file": secret, **acl},
        "namespace": {"name": "blue"},
        "hooks": {"static_fields": "zone=b"},
    }


def signature(request):
    """As RocketMQ's own: all values in the order of their keys, and the body."""
    values = "".join(request.ext[key] for key in sorted(request.ext) if key != "Signature")
    digest = hmac.new(SECRET, values.encode() + request.body, hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed(request, what):
    equal(request.ext.get("AccessKey"), "AK", f"AccessKey of {what}")
    equal(request.ext.get("Signature"), signature(request), f"Signature of {what}")
    equal((request.ext.get("nsd"), request.ext.get("ns")), ("true", "blue"), f"namespace of {what}")
    equal(request.ext.get("zone"), "b", f"the static field of {what}")


def call(on, token, ext=None, body=b""):
    """To the broker by its name in the route: an address that the cluster itself names."""
    ext = {"token": token, "topic": TOPIC, "bname": "broker-a", **(ext or {})}
    return on.client().call(GET_MAX_OFFSET, ext, body)


@test
def every_request_to_the_cluster_is_signed():
    with stage(settings=settings(secret_file())) as on:
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(call(on, "one", {"text": "grün"}, body=b"\x00\xff body"), "one")
        is_own(call(on, "two", body=b"x" * 100_000), "two")
        requests = [request for request in on.broker.seen(GET_MAX_OFFSET)]
        equal(len(requests), 2, "requests at the broker")
        for n, request in enumerate(requests):
            is_signed(request, f"request {n}")
        check(SECRET.decode() not in on.daemon.log(), "the secret is not in the log")


@test
def what_its_caller_signed_is_not_touched():
    with stage(settings=settings(secret_file())) as on:
        on.broker.on(GET_MAX_OFFSET, echo)
        signed = {"AccessKey": "MINE", "Signature": "made=elsewhere"}
        is_own(call(on, "mine", signed), "mine")
        ext = on.broker.seen(GET_MAX_OFFSET)[0].ext
        equal((ext["AccessKey"], ext["Signature"]), ("MINE", "made=elsewhere"), "what arrives")
        check("ns" not in ext and "zone" not in ext, f"no hook adds anything (saw {ext})")


@test
def an_address_that_only_the_administrator_admits_gets_no_signature():
    everywhere = settings(secret_file())
    everywhere["upstream"] = {"allow_addresses": "any"}
    with FakeBroker("stranger") as stranger, stage(settings=everywhere) as on:
        stranger.on(GET_MAX_OFFSET, echo)
        answer = on.client().call(GET_MAX_OFFSET, {"sidecar.addr": stranger.address, "token": "t"})
        equal(answer.code, 0, "the stranger's answer")
        ext = stranger.seen(GET_MAX_OFFSET)[0].ext
        check("AccessKey" not in ext and "Signature" not in ext, f"nothing is signed (saw {ext})")


@test
def a_refusal_names_the_credentials():
    with stage(settings=settings(secret_file())) as on:
        on.broker.on(GET_MAX_OFFSET, answers(NO_PERMISSION, remark="check signature failed."))
        answer = call(on, "refused")
        equal((answer.code, answer.error), (NO_PERMISSION, None), "the answer")
        contains(answer.remark, "check signature failed. (signed as AK by [acl prod]", "the remark")


@test
def the_hooks_run_again_for_what_is_repeated_and_it_stays_known_as_signed_here():
    with stage(settings=settings(secret_file())) as on:
        refuse = answers(NO_PERMISSION, remark="check signature failed.")
        on.broker.on(GET_MAX_OFFSET, in_turn(answers(GO_AWAY), refuse))
        answer = call(on, "again", body=b"some body")
        equal((answer.code, answer.error), (NO_PERMISSION, None), "the answer")
        contains(answer.remark, "(signed as AK by [acl prod]", "the remark")
        first, second = on.broker.seen(GET_MAX_OFFSET)
        check(first.connection is not second.connection, "it came on another connection")
        for request in (first, second):
            is_signed(request, f"the request on connection {request.connection.number}")
        equal(sorted(second.ext), sorted(first.ext), "the fields that came again")


@test
def the_hooks_run_once_for_each_attempt_of_a_send():
    with stage(settings=settings(secret_file())) as on, FakeBroker("broker-b") as other:
        on.nameserver.route_to = [on.broker, other]
        for broker in (on.broker, other):
            broker.on(SEND_MESSAGE, answers(SYSTEM_BUSY, remark="[REJECTREQUEST]"))
        answer = on.client().call(SEND_MESSAGE, {"topic": TOPIC}, b"hello")
        equal(answer.code, SYSTEM_BUSY, "the answer")
        attempts = on.broker.seen(SEND_MESSAGE) + other.seen(SEND_MESSAGE)
        equal(str(len(attempts)), answer.ext["sidecar.attempts"], "attempts")
        check(len(attempts) > 1, "there were several")
        for n, request in enumerate(attempts):
            is_signed(request, f"attempt {n}")


@test
def the_hooks_are_told_without_secrets_and_all_but_the_signature_can_be_taken_out():
    with stage(settings=settings(secret_file(), addresses="127.0.0.0/8")) as on:
        client = on.client()
        seen = client.call(GET_RPC_HOOKS).json()
        acl = {
            "name": "acl",
            "credentials": [{"name": "prod", "accessKey": "AK", "addresses": ["127.0.0.0/8"]}],
        }
        others = [
            {"name": "namespace", "namespace": "blue"},
            {"name": "static_fields", "fields": {"zone": "b"}},
        ]
        equal(seen, {"hooks": [*others, acl], "cleared": False}, "the hooks in their order")
        equal(client.call(CLEAR_RPC_HOOKS).json(), {"hooks": [acl], "cleared": True}, "what is left")
        on.broker.on(GET_MAX_OFFSET, echo)
        is_own(call(on, "after"), "after")
        (request,) = on.broker.seen(GET_MAX_OFFSET)
        check("ns" not in request.ext and "zone" not in request.ext, f"saw {request.ext}")
        equal(request.ext.get("Signature"), signature(request), "the signature stays")


@test
def a_secret_that_others_can_read_is_warned_of():
    with stage(settings=settings(secret_file(mode=0o644))) as on:
        contains(on.daemon.log(), "mode=0644: others than its owner can read it", "the log")
        check(SECRET.decode() not in on.daemon.log(), "the secret is not in the log")


@test
def the_secret_is_told_nowhere():
    path = secret_file()
    with stage(settings=settings(path)) as on:
        client = on.client()
        on.broker.on(GET_MAX_OFFSET, answers(NO_PERMISSION, remark="check signature failed."))
        told = [repr(call(on, "refused"))]
        # What there is to ask: lists, pools, hooks, stats.
        told += [repr(client.call(code)) for code in (30001, 30003, 30006, 30010, 30012, 30014)]
        told += [repr(client.call(30000))]
        process = pathlib.Path(f"/proc/{on.daemon.pid}")
        told += [(process / name).read_bytes().decode() for name in ("cmdline", "environ")]
        config = ["--config", str(on.daemon.config_path), "--dump-config"]
        done = subprocess.run([on.daemon.binary, *config], capture_output=True, timeout=20)
        equal(done.returncode, 0, "the exit code of --dump-config")
        told += [done.stdout.decode(), on.daemon.log()]
        encoded = base64.b64encode(SECRET).decode()
        for n, text in enumerate(told):
            check(text, f"text {n} is there")
            hits = [word for word in (SECRET.decode(), encoded) if word in text]
            equal(hits, [], f"the secret in text {n}")
        contains(done.stdout.decode(), path, "the configuration names the file of the secret")


@test
def a_secret_that_is_not_there_stops_the_start_with_its_section_and_file():
    for content, name, why in (
        (None, "/nowhere/secret", "/nowhere/secret: No such file or directory"),
        (b"\n", None, "the file is empty, a secret is expected"),
        (b"x" * 20000, None, "the file is too large for a secret"),
        (None, "secret-key", "$CREDENTIALS_DIRECTORY is not set"),
    ):
        path = name or secret_file(content)
        daemon = Daemon(["127.0.0.1:1"], settings(path), clean=False)
        done = subprocess.run(
            [daemon.binary, "--config", str(daemon.config_path)], capture_output=True, timeout=20
        )
        check(done.returncode > 0, f"it ends with an exit code other than 0 (saw {done.returncode})")
        contains(done.stderr.decode(), "[acl prod] ", "what is said")
        contains(done.stderr.decode(), why, "what is said")


@test
def a_daemon_that_has_read_a_key_leaves_no_core_file_and_shows_its_key_to_nobody():
    needs_root()
    secret = secret_file()
    directory = pathlib.Path(secret).parent
    os.chown(directory, ANOTHER_USER, ANOTHER_USER)
    os.chown(secret, ANOTHER_USER, ANOTHER_USER)
    through = ["setpriv", f"--reuid={ANOTHER_USER}", f"--regid={ANOTHER_USER}", "--clear-groups"]
    for more, owner in (({}, ANOTHER_USER), (settings(secret), 0)):
        more["metrics"] = {"listen": f"{directory}/metrics"}
        daemon = Daemon(["127.0.0.1:1"], more, through=through)
        os.chown(daemon.directory, ANOTHER_USER, ANOTHER_USER)
        os.chown(daemon.config_path, ANOTHER_USER, ANOTHER_USER)
        with daemon:
            # What may not be dumped belongs to root there: proc(5), PR_SET_DUMPABLE.
            seen = pathlib.Path(f"/proc/{daemon.pid}/environ").stat().st_uid
            equal(seen, owner, f"whose /proc/PID/environ is with {sorted(more)}")
            for name in ("cmdline", "environ"):
                content = pathlib.Path(f"/proc/{daemon.pid}/{name}").read_bytes()
                check(SECRET not in content, f"nothing of the key is in its {name}")
            with daemon.client() as client:
                for code in (GET_RPC_HOOKS, GET_STATS, GET_CONFIG):
                    check(SECRET not in client.call(code).body, "nothing of the key is told")
            with socket.socket(socket.AF_UNIX) as scraper:
                scraper.connect(f"{directory}/metrics")
                scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                scraped = scraper.makefile("rb").read()
            contains(scraped, b"remotingd_build_info", "the metrics")
            check(SECRET not in scraped, "nothing of the key is in the metrics")
            check(SECRET.decode() not in daemon.log(), "nothing of the key is in the log")


main()
