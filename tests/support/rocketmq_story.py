"""
What the stories against a real RocketMQ share

cluster() is the one that the environment names with ROCKETMQ_CLUSTER (tests/run starts it once for
all), or one of its own with two nameservers and two brokers. new_topic() makes topics that no other
story uses, on all brokers. @uses says what of RocketMQ a test is about: where the cluster's version
has not got it, the test is not run.
"""

import functools
import os
import time

import remoting
import rocketmq_cluster
import tap
from daemon_process import Daemon

# What a test can be about -> the first version that has it. The table of the README has this order
# (rocketmq_versions.py prints it).
FEATURES = {
    "routes, cluster table": (0,),
    "sends, retries, failover": (0,),
    "batches": (0,),
    "compressed bodies": (0,),
    "delay levels": (0,),
    "transactions": (0,),
    "PULL, offsets": (0,),
    "TLS": (0,),
    "requests and replies": (4, 6, 0),
    "receiving by topic and group": (0,),
    "POP, ACK, receipts": (5, 0, 0),
    "assignments": (5, 0, 0),
    "timers": (5, 0, 0),
    "batch topics": (5, 0, 0),
    "GO_AWAY": (5, 2, 0),
    "ACL 2.0": (5, 3, 0),
    "RECALL": (5, 3, 2),
}
# How the comment begins that stands before the result of a test that uses some of them.
USES = "uses: "

_cluster = None
_n_topics = 0


def cluster():
    global _cluster
    if _cluster is None:
        directory = os.environ.get("ROCKETMQ_CLUSTER")
        if directory:
            _cluster = rocketmq_cluster.Cluster.attach(directory)
        else:
            _cluster = rocketmq_cluster.Cluster(2, 2).start()
            tap.at_end(the_cluster_is_taken_down)
    return _cluster


def the_cluster_is_taken_down():
    _cluster.stop()
    tap.equal([name for name in _cluster.names if _cluster.is_running(name)], [], "what still runs")


def has(feature):
    """Whether the cluster's version has it."""
    version = rocketmq_cluster.chosen_version()
    return tuple(int(part) for part in version.split(".")) >= FEATURES[feature]


def uses(*features):
    """Marks a test (below @test): it is run where the cluster's version has all of these."""
    unknown = set(features) - set(FEATURES)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(FEATURES)}")

    def mark(function):
        @functools.wraps(function)
        def marked():
            tap.note(USES + "; ".join(features))
            missing = [feature for feature in features if not has(feature)]
            if missing:
                version = rocketmq_cluster.chosen_version()
                tap.skip(f"RocketMQ {version} has no {' and no '.join(missing)}")
            function()

        return marked

    return mark


def new_topic(word="Story"):
    global _n_topics
    _n_topics += 1
    topic = f"{word}-{os.getpid()}-{_n_topics}"
    cluster().create_topic(topic)
    return topic


def daemon(**more):
    return Daemon(nameservers=cluster().nameservers(), **more)


def succeeded(answer, what="the answer"):
    tap.equal((answer.code, answer.error), (0, None), f"{what} (remark: {answer.remark})")
    return answer


def send_all(client, topic, bodies):
    opaques = [
        client.send(remoting.SEND_MESSAGE, {"topic": topic}, body.encode()) for body in bodies
    ]
    for answer in client.gather(opaques).values():
        succeeded(answer, "the answer to SEND_MESSAGE")


def receive(client, topic, group, *, poll_millis=3000, **more):
    """The messages of one POP in the JSON format; [] when none came in the poll time."""
    ext = {
        "topic": topic,
        "consumerGroup": group,
        "pollTime": poll_millis,
        "sidecar.answerFormat": "json",
        **more,
    }
    answer = client.call(remoting.POP_MESSAGE, ext, timeout=poll_millis / 1000 + 15)
    if answer.code == remoting.POLLING_TIMEOUT and answer.error is None:
        return []
    return succeeded(answer, "the answer to POP_MESSAGE").json()


def receive_all(client, topic, group, n, *, bodies=None, timeout=60.0, acknowledge=True, **more):
    """
    Receives (and acknowledges) until n messages are here, or with `bodies` until all of these are:
    there may be others and repeated ones among them. Ends also when the time is over.
    """
    found = []
    missing = set(bodies or ())
    end = time.monotonic() + timeout
    while (len(found) < n or missing) and time.monotonic() < end:
        rows = receive(client, topic, group, **more)
        found += rows
        missing.difference_update(row["body"] for row in rows)
        if acknowledge:
            opaques = [
                client.send(remoting.ACK_MESSAGE, {"sidecar.receipt": row["receipt"]})
                for row in rows
            ]
            for answer in client.gather(opaques).values():
                succeeded(answer, "the answer to ACK_MESSAGE")
    return found
