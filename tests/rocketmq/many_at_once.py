#!/usr/bin/env python3
"""Many requests in flight: each caller gets its own answer"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from remoting import GET_ROUTEINFO_BY_TOPIC, ROCKETMQ, SEND_MESSAGE
from rocketmq_story import cluster, daemon, new_topic, receive_all, succeeded, uses
from tap import equal, less, main, test


def is_told(answer, topic):
    """The answer is a nameserver's, and to the request for this very topic."""
    equal((answer.code, answer.error), (remoting.TOPIC_NOT_EXIST, None), f"the answer for {topic}")
    names = re.findall(r"Missing-\d+", answer.remark or "")
    equal(names, [topic], "the topics in the remark")


@test
@uses("sends, retries, failover")
def sixty_four_requests_in_flight_on_one_connection_are_each_answered():
    topic = new_topic()
    bodies = sorted(f"one connection {n:03}" for n in range(640))
    with daemon() as running:
        client = running.client()
        in_flight, answers = [], {}
        for body in bodies:
            if len(in_flight) == 64:
                answer = client.receive()
                in_flight.remove(answer.opaque)
                answers[answer.opaque] = answer
            in_flight.append(client.send(SEND_MESSAGE, {"topic": topic}, body.encode()))
        answers.update(client.gather(in_flight))
        equal(len(answers), len(bodies), "answers")
        for answer in answers.values():
            succeeded(answer)
        places = {
            (a.ext["brokerName"], a.ext["queueId"], a.ext["queueOffset"]) for a in answers.values()
        }
        equal(len(places), len(bodies), "different places in which they were stored")
        rows = receive_all(client, topic, "many-1", len(bodies))
        equal(sorted(row["body"] for row in rows), bodies, "the bodies received")
        for port in {row[0] for row in running.upstreams()}:
            less(
                sum(1 for row in running.upstreams() if row[0] == port),
                3,
                f"connections to port {port}",
            )


@test
@uses("routes, cluster table")
def the_answers_of_one_connection_carry_what_each_request_asked_for():
    with daemon() as running:
        client = running.client()
        asked = {
            client.send(GET_ROUTEINFO_BY_TOPIC, {"topic": f"Missing-{n}"}): f"Missing-{n}"
            for n in range(64)
        }
        for opaque, answer in client.gather(asked).items():
            is_told(answer, asked[opaque])


@test
@uses("routes, cluster table")
def two_hundred_connections_with_the_same_opaque_each_get_their_own_answer():
    with daemon() as running:
        clients = [
            running.client(serialize=ROCKETMQ if n % 2 else remoting.JSON) for n in range(200)
        ]
        for n, client in enumerate(clients):
            client.send(GET_ROUTEINFO_BY_TOPIC, {"topic": f"Missing-{n}"}, opaque=7)
        for n, client in enumerate(clients):
            answer = client.receive(7)
            is_told(answer, f"Missing-{n}")
            equal(answer.serialize, client.serialize, "the header form of the answer")
        for address in cluster().nameservers():
            less(len(running.upstreams_to(address)), 2, f"connections to {address}")


@test
@uses("sends, retries, failover")
def two_hundred_connections_send_one_message_each():
    topic = new_topic()
    bodies = sorted(f"connection {n:03}" for n in range(200))
    with daemon() as running:
        clients = [running.client() for _ in bodies]
        for client, body in zip(clients, bodies):
            client.send(SEND_MESSAGE, {"topic": topic}, body.encode(), opaque=7)
        for client in clients:
            succeeded(client.receive(7))
        rows = receive_all(clients[0], topic, "many-2", len(bodies))
        equal(sorted(row["body"] for row in rows), bodies, "the bodies received")


main()
