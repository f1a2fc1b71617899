#!/usr/bin/env python3
"""The connections of a host to a cluster, with a client in each process and with the daemon"""

import os
import pathlib
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from java_client import JavaClient
from remoting import SEND_MESSAGE
from rocketmq_story import cluster, daemon, new_topic, receive, succeeded, uses
from tap import check, equal, main, note, test, wait_until

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
CLASSES = 2  # connections for requests, and for long polls
N_JAVA = 2
N_CALLERS = 20
N_SENDS = 16
ESTABLISHED = "01"


def ports(addresses):
    return {int(address.rpartition(":")[2]) for address in addresses}


def connections(pid, addresses):
    """Established ones of the process to these addresses, which are all of this host."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind, _, inode = os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")
        except OSError:
            continue  # closed meanwhile
        if kind == "socket":
            inodes.add(inode.strip("[]"))
    n = 0
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[2].rpartition(":")[2], 16)
            n += fields[3] == ESTABLISHED and fields[9] in inodes and port in ports(addresses)
    return n


def addresses():
    return cluster().nameservers(), list(cluster().brokers().values())


@test(deadline=240)
@uses("requests and replies")
def a_client_in_each_process_connects_to_a_nameserver_and_to_every_broker():
    nameservers, brokers = addresses()
    topic = new_topic()
    javas = [JavaClient("request", ";".join(nameservers), topic, 300) for _ in range(N_JAVA)]
    try:
        for java in javas:
            for n in range(2 * len(brokers)):
                java.say(f"request {n}")  # which nobody answers
            java.wait_for("failed", 60, 2 * len(brokers))
            wait_until(
                lambda java=java: connections(java.process.pid, brokers) == len(brokers),
                40,
                "a connection to each broker",
            )
            equal(connections(java.process.pid, nameservers), 1, "connections to nameservers")
    finally:
        for java in javas:
            java.close()
    note(f"{N_JAVA} processes, {len(brokers)} brokers: {N_JAVA * (1 + len(brokers))} connections")


@test(deadline=120)
@uses("sends, retries, failover", "POP, ACK, receipts")
def behind_the_daemon_their_number_is_that_of_the_servers_whatever_the_callers():
    nameservers, brokers = addresses()
    topic = new_topic()
    with daemon() as running:

        def send(client):
            for n in range(N_SENDS):
                succeeded(client.call(SEND_MESSAGE, {"topic": topic}, b"x%d" % n), "a send")

        callers = [remoting.Client(running.socket, timeout=60) for _ in range(N_CALLERS)]
        threads = [threading.Thread(target=send, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(connections(running.pid, brokers), len(brokers), "connections to brokers")
        n_asked = connections(running.pid, nameservers)
        check(1 <= n_asked <= len(nameservers), f"connections to nameservers (saw {n_asked})")
        for caller in callers[:4]:
            check(receive(caller, topic, "connections"), "messages are received")
        n = connections(running.pid, brokers)
        equal(n, CLASSES * len(brokers), "those for long polls, too")
        for caller in callers:
            caller.close()
        note(f"{N_CALLERS} callers: {n_asked} and {CLASSES * len(brokers)} connections")


@test
def the_table_of_the_readme_is_computed_from_its_formula():
    text = README.read_text()
    part = text[text.index("\n## Sizing\n") :].split("\n## ")[1]
    rows = re.findall(r"^\| [\d,]+ \|.*$", part, re.M)
    check(len(rows) >= 3, f"rows (saw {len(rows)})")
    for row in rows:
        numbers = [int(cell.replace(",", "")) for cell in row.strip("| ").split("|")]
        hosts, processes, brokers, nameservers, *shown = numbers
        before = (hosts * processes * (1 + brokers), hosts * processes)
        behind = (hosts * (nameservers + brokers * CLASSES), hosts * CLASSES)
        equal(tuple(shown), (*before, *behind), row)


main()
