#!/usr/bin/env python3
"""Brokers that check who asks: the daemon signs for its callers"""

import atexit
import base64
import hashlib
import hmac
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
import rocketmq_cluster
from daemon_process import Daemon
from remoting import NO_PERMISSION, SEND_MESSAGE, UPDATE_AND_CREATE_TOPIC
from rocketmq_story import receive, receive_all, succeeded, uses
from tap import at_end, check, contains, equal, main, test

AUTH_CREATE_USER, AUTH_CREATE_ACL = 3001, 3006
ADMIN = ("rocketmq", "rocketmq1-secret")
USER = ("app", "app-secret+/=")
OPEN, CLOSED = "AclOpen", "AclClosed"

_cluster = None


def cluster():
    """With a user who may use one of two topics."""
    global _cluster
    if _cluster is None:
        _cluster = rocketmq_cluster.Cluster(1, 1, admin=ADMIN).start()
        at_end(the_cluster_is_taken_down)
        with daemon(*ADMIN) as running:
            prepare(running.client())
    return _cluster


def the_cluster_is_taken_down():
    _cluster.stop()
    equal([name for name in _cluster.names if _cluster.is_running(name)], [], "what still runs")


def prepare(client):
    (broker,) = _cluster.brokers().values()

    def admin_call(code, ext, body=b""):
        succeeded(client.call(code, {"sidecar.addr": broker, **ext}, body), f"command {code}")

    for topic in (OPEN, CLOSED):
        ext = {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": 4, "writeQueueNums": 4}
        ext |= {"perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"}
        admin_call(UPDATE_AND_CREATE_TOPIC, ext)
    user = {"username": USER[0], "password": USER[1], "userType": "Normal", "userStatus": "enable"}
    admin_call(AUTH_CREATE_USER, {"username": USER[0]}, json.dumps(user).encode())
    rights = [
        {"resource": resource, "actions": ["Pub", "Sub", "Get"], "decision": "Allow"}
        for resource in (f"Topic:{OPEN}", "Group:*")
    ]
    policy = {"policyType": "Custom", "entries": rights}
    acl = {"subject": f"User:{USER[0]}", "policies": [policy]}
    admin_call(AUTH_CREATE_ACL, {"subject": acl["subject"]}, json.dumps(acl).encode())


def daemon(name=None, secret=None):
    """Without a name it signs nothing. The file of the secret ends with a line feed, as usual."""
    settings = {}
    if name:
        directory = tempfile.TemporaryDirectory(prefix="remotingd-secret-")
        atexit.register(directory.cleanup)
        path = pathlib.Path(directory.name) / "secret"
        path.touch(0o600)
        path.write_text(f"{secret}\n")
        settings = {"acl prod": {"access_key": name, "secret_key_file": path}}
    return Daemon(nameservers=_cluster.nameservers(), settings=settings)


def refused(answer, *words):
    equal((answer.code, answer.error), (NO_PERMISSION, None), f"the answer ({answer.remark})")
    for word in words:
        contains(answer.remark, word, "the remark")


@test(deadline=120)
@uses("ACL 2.0")
def a_caller_without_any_key_sends_and_receives_by_the_key_of_its_host():
    cluster()
    with daemon(*USER) as running:
        client = running.client()
        for n in range(20):
            answer = client.call(SEND_MESSAGE, {"topic": OPEN}, f"grün {n}".encode())
            succeeded(answer, f"send {n}")
        bodies = {f"grün {n}" for n in range(20)}
        rows = receive_all(client, OPEN, "AclReaders", 20, bodies=bodies)
        equal({row["body"] for row in rows}, bodies, "what is received")
        equal(receive(client, OPEN, "AclReaders", poll_millis=500), [], "all is acknowledged")
        check(USER[1] not in running.log(), "the secret is not in the log")


@test
@uses("ACL 2.0")
def what_the_user_may_not_do_is_refused_with_the_broker_s_words_and_the_name_of_the_section():
    cluster()
    with daemon(*USER) as running:
        answer = running.client().call(SEND_MESSAGE, {"topic": CLOSED}, b"x")
        refused(answer, "signed as app by [acl prod]")
        equal(answer.ext.get("sidecar.attempts"), "1", "attempts: no other broker is asked")


@test
@uses("ACL 2.0")
def a_wrong_key_an_unknown_user_and_none_at_all_are_told_apart():
    cluster()
    for name, secret, words in (
        (USER[0], "wrong", ("check signature failed", "signed as app by [acl prod]")),
        ("nobody", "any", ("not found", "signed as nobody by [acl prod]")),
        (None, None, ("username cannot be null", "no [acl NAME] of the configuration is for")),
    ):
        with daemon(name, secret) as running:
            refused(running.client().call(SEND_MESSAGE, {"topic": OPEN}, b"x"), *words)


@test
@uses("ACL 2.0")
def a_caller_that_signs_itself_is_passed_through():
    cluster()
    (broker,) = cluster().brokers().values()
    ext = {"producerGroup": "G", "topic": OPEN, "defaultTopic": "TBW102", "queueId": "0"}
    ext |= {"defaultTopicQueueNums": "4", "sysFlag": "0", "bornTimestamp": "1700000000000"}
    ext |= {"flag": "0", "properties": "", "AccessKey": USER[0]}
    content = "".join(ext[key] for key in sorted(ext)).encode() + b"mine"
    digest = hmac.new(USER[1].encode(), content, hashlib.sha1).digest()
    with daemon("nobody", "wrong") as running:
        client = running.client()
        signed = {**ext, "Signature": base64.b64encode(digest).decode(), "sidecar.addr": broker}
        succeeded(client.call(SEND_MESSAGE, signed, b"mine"), "the send that was signed elsewhere")
        refused(client.call(SEND_MESSAGE, signed, b"changed"), "check signature failed")


main()
