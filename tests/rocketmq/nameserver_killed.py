#!/usr/bin/env python3
"""A nameserver is killed, and nobody notices"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from remoting import GET_ROUTEINFO_BY_TOPIC, SEND_MESSAGE, Client
from rocketmq_story import cluster, daemon, new_topic, succeeded, uses
from tap import at_end, equal, less, main, test


@at_end
def the_nameservers_run_again():
    names = [name for name in cluster().names if name.startswith("nameserver-")]
    for name in names:
        if not cluster().is_running(name):
            cluster().start_again(name)
    equal(
        [name for name in names if not cluster().is_running(name)],
        [],
        "nameservers that do not run",
    )


def ask_for_new_topics(client, topics):
    """Each is unknown to the daemon, so that each needs a nameserver within the deadline."""
    for topic in topics:
        began = time.monotonic()
        succeeded(
            client.call(SEND_MESSAGE, {"topic": topic}, b"x"), f"the answer to a send to {topic}"
        )
        succeeded(
            client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topic}),
            f"the answer to a route of {topic}",
        )
        less(time.monotonic() - began, 3.5, "seconds for a send and a route")


@test(deadline=120)
@uses("routes, cluster table")
def routes_of_new_topics_come_within_the_deadline_whichever_nameserver_is_gone():
    topics = [new_topic() for _ in range(15)]
    with daemon() as running:
        client = running.client()
        ask_for_new_topics(client, topics[:3])
        for n, name in enumerate(("nameserver-a", "nameserver-b")):
            cluster().kill(name)
            ask_for_new_topics(client, topics[3 + 6 * n : 6 + 6 * n])
            cluster().start_again(name)
            ask_for_new_topics(client, topics[6 + 6 * n : 9 + 6 * n])


@test(deadline=60)
@uses("routes, cluster table")
def the_first_of_the_list_may_be_dead_when_the_daemon_starts():
    topics = [new_topic() for _ in range(2)]
    cluster().kill("nameserver-a")
    with daemon() as running:
        ask_for_new_topics(running.client(), topics)
    cluster().start_again("nameserver-a")
    with Client(cluster().address("nameserver-a")) as direct:
        succeeded(
            direct.call(GET_ROUTEINFO_BY_TOPIC, {"topic": topics[0]}),
            "the restarted nameserver's own answer",
        )


main()
