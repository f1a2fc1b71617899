#!/usr/bin/env python3
"""A group of Java's push consumer and local pull consumers splits its queues and loses nothing"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from classic_consumer import ClassicConsumer
from java_client import JavaClient
from remoting import SEND_MESSAGE
from rocketmq_story import cluster, daemon, new_topic, succeeded, uses
from tap import check, equal, main, test, wait_until

N_MESSAGES = 64


class Group:
    """Who is in it, and what became of what was sent."""

    def __init__(self, client, topic, java):
        self.client, self.topic, self.java = client, topic, java
        self.locals = []
        self.bodies = []

    def send(self, word):
        """By the daemon, which goes round the queues: each of them gets some."""
        bodies = [f"{word}-{n}" for n in range(N_MESSAGES)]
        opaques = [
            self.client.send(SEND_MESSAGE, {"topic": self.topic}, body.encode()) for body in bodies
        ]
        for answer in self.client.gather(opaques, timeout=30).values():
            succeeded(answer, "a send")
        self.bodies += bodies

    def java_bodies(self):
        return {line.split(" ", 3)[3] for line in self.java.said("got")}

    def local_bodies(self, consumer, word):
        return {body for body in consumer.bodies if body.startswith(f"{word}-")}

    def received(self):
        return self.java_bodies().union(*(consumer.bodies for consumer in self.locals))

    def java_share(self):
        said = self.java.said("queues")
        pairs = (queue.rsplit("/", 1) for queue in (said[-1].split() if said else []))
        return sorted((broker, int(queue_id)) for broker, queue_id in pairs)

    def is_shared_out(self, present, sizes):
        """Every queue is somebody's and nobody else's, and shares have these sizes."""
        shares = [self.java_share(), *(consumer.share() for consumer in present)]
        queues = sorted(queue for share in shares for queue in share)
        n = sum(sizes)
        return (
            len(queues) == n
            and len(set(queues)) == n
            and sorted(len(share) for share in shares) == sorted(sizes)
        )

    def wait(self, present, sizes, what):
        wait_until(lambda: self.is_shared_out(present, sizes), 60, what)

    def wait_for_all(self, what):
        wait_until(lambda: self.received() >= set(self.bodies), 60, what)


@test(deadline=280)
@uses("assignments")
def java_and_local_consumers_share_the_queues_while_they_come_and_go():
    topic = new_topic("Shared")
    name = f"{topic}-group"
    nameservers = ";".join(cluster().nameservers())
    with daemon() as running, JavaClient("consume", nameservers, topic, name) as java:
        # A member has connections of its own to each broker.
        running.most_connections += 2
        group = Group(running.client(), topic, java)
        group.wait([], [8], "Java alone has all the queues")
        group.send("alone")
        group.wait_for_all("what was sent while Java was alone")

        first = ClassicConsumer(running, topic, name, "local@first")
        group.locals.append(first)
        first.join()
        group.wait([first], [4, 4], "Java and the first local one have half of them each")
        equal(first.assignment(group.client), first.share(), "what the broker would assign to it")
        group.send("two")
        group.wait_for_all("what was sent to two")
        check(group.local_bodies(first, "two"), "the local one got some of it")
        check({b for b in group.java_bodies() if b.startswith("two-")}, "and so did Java")

        second = ClassicConsumer(running, topic, name, "local@second")
        group.locals.append(second)
        group.send("meanwhile")
        second.join()
        group.wait([first, second], [3, 3, 2], "three of them share")
        check(first.n_notified > 0, "the first one was notified")
        equal(second.lock(first.share(), group.client), set(), "locks that are the other one's")
        group.send("three")
        group.wait_for_all("what was sent to three")
        check(group.local_bodies(second, "three"), "the second one got some of it")

        group.send("crash")
        first.leave(unregisters=False)
        group.wait([second], [4, 4], "the first one is gone without a word")
        group.wait_for_all("what was sent when it went")

        second.leave()
        group.wait([], [8], "Java alone has them again")
        group.send("after")
        group.wait_for_all("what was sent after all")
        equal(sorted(set(group.bodies) - group.received()), [], "messages that were lost")


main()
