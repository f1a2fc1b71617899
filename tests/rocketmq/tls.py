#!/usr/bin/env python3
"""A cluster that speaks TLS alone, and to those alone who show a certificate of its CA"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import rocketmq_cluster
from certificates import Authority
from daemon_process import Daemon
from remoting import GET_BROKER_CLUSTER_INFO, SEND_MESSAGE, UPDATE_AND_CREATE_TOPIC
from rocketmq_story import receive, receive_all, succeeded, uses
from tap import at_end, check, contains, equal, main, test

TOPIC = "Secured"
START_SECONDS = 240  # Java's first handshakes take their time on a busy machine

authority = Authority("RocketMQ CA")
ours = authority.certificate("remotingd")

_cluster = None


def cluster():
    global _cluster
    if _cluster is None:
        _cluster = rocketmq_cluster.Cluster(1, 1, authority=authority)
        at_end(the_cluster_is_taken_down)
        _cluster.start()
        with daemon() as running:
            (broker,) = _cluster.brokers().values()
            ext = {"topic": TOPIC, "defaultTopic": "TBW102", "perm": 6, "order": "false"}
            ext |= {"readQueueNums": 4, "writeQueueNums": 4, "topicFilterType": "SINGLE_TAG"}
            ext |= {"topicSysFlag": 0, "sidecar.addr": broker, "sidecar.timeoutMillis": 30000}
            client = running.client(timeout=40)
            succeeded(client.call(UPDATE_AND_CREATE_TOPIC, ext), "the topic")
    return _cluster


def the_cluster_is_taken_down():
    _cluster.stop()
    equal([name for name in _cluster.names if _cluster.is_running(name)], [], "what still runs")


def daemon(certificate=ours, **more):
    tls = {"enable": "yes", "ca_file": authority.file, **more}
    if certificate:
        tls |= certificate.client_settings()
    return Daemon(nameservers=_cluster.nameservers(), settings={"tls": tls})


def is_refused(running, *words):
    client = running.client()
    answer = client.call(GET_BROKER_CLUSTER_INFO, {"sidecar.addr": _cluster.nameservers()[0]})
    equal((answer.code, answer.error), (10001, "unreachable"), f"the answer ({answer.remark})")
    equal(answer.ext["sidecar.sent"], "no", "sidecar.sent")
    for word in words:
        contains(answer.remark, word, "the remark")
        contains(running.log(), word, "the log")


@test(deadline=START_SECONDS)
@uses("TLS", "POP, ACK, receipts")
def messages_go_through_the_cluster_and_back():
    cluster()
    with daemon() as running:
        client = running.client(timeout=30)
        bodies = {f"grün {n}" for n in range(50)}
        for body in sorted(bodies):
            ext = {"topic": TOPIC, "sidecar.timeoutMillis": 20000}
            succeeded(client.call(SEND_MESSAGE, ext, body.encode()), f"the send of {body}")
        rows = receive_all(client, TOPIC, "Readers", 50, bodies=bodies)
        equal({row["body"] for row in rows}, bodies, "what is received")
        equal(receive(client, TOPIC, "Readers", poll_millis=500), [], "all is acknowledged")
        contains(running.log(), " tls=TLSv1.", "the log")


@test
@uses("TLS")
def large_messages_go_both_ways():
    cluster()
    with daemon() as running:
        client = running.client(timeout=30)
        bodies = {letter * 3_000_000 for letter in "abc"}
        for body in sorted(bodies):
            # Written out, so that nothing is compressed.
            ext = {"topic": TOPIC, "sysFlag": "0", "sidecar.timeoutMillis": 20000}
            succeeded(client.call(SEND_MESSAGE, ext, body.encode()), "a large send")
        rows = receive_all(client, TOPIC, "LargeReaders", 3, bodies=bodies)
        check(bodies <= {row["body"] for row in rows}, "the large bodies come back")


@test
@uses("TLS")
def a_daemon_without_a_certificate_is_told_what_is_missing():
    cluster()
    with daemon(certificate=None) as running:
        is_refused(running, "it wants a client certificate", "[tls] cert_file and key_file")


@test
@uses("TLS")
def a_daemon_with_a_certificate_of_another_ca_is_told_so():
    cluster()
    with daemon(certificate=Authority("Somebody Else").certificate("remotingd")) as running:
        is_refused(running, "it refused our certificate", "[tls] cert_file")


@test
@uses("TLS")
def a_daemon_with_an_expired_certificate_is_told_so():
    cluster()
    with daemon(certificate=authority.certificate("remotingd", days=-1)) as running:
        contains(running.log(), "has expired", "the log at the start")
        is_refused(running, "it refused our certificate", "in date?")


@test
@uses("TLS")
def a_cluster_of_an_unknown_ca_or_another_name_is_not_trusted():
    cluster()
    with daemon(ca_file=Authority("Somebody Else").file) as running:
        is_refused(running, "unknown here (RocketMQ CA)", "[tls] ca_file")
    with daemon(server_name="rocketmq.example") as running:
        is_refused(running, "for 127.0.0.1, localhost, not for rocketmq.example")


@test
@uses("TLS")
def a_daemon_in_plain_text_gets_nothing_out_of_it():
    cluster()
    with Daemon(nameservers=_cluster.nameservers()) as running:
        answer = running.client().call(SEND_MESSAGE, {"topic": TOPIC}, b"x")
        check(answer.error in ("no-nameserver", "timeout"), f"it is no answer ({answer})")


main()
