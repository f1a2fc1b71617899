#!/usr/bin/env python3
"""The service manager listens: the socket outlives the daemon, and a restart refuses nobody"""

import contextlib
import os
import pathlib
import stat
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from daemon_process import Daemon
from fake_broker import FakeBroker
from remoting import GET_ROUTEINFO_BY_TOPIC
from scenario import TOPIC
from service_manager import ServiceManager
from tap import check, equal, less, main, note, test

N_CALLERS = 8
N_RESTARTS = 5


@contextlib.contextmanager
def managed():
    with FakeBroker("nameserver") as nameserver, ServiceManager() as manager:
        nameserver.route_to = [nameserver]
        daemon = Daemon([nameserver.address], through=manager.through())
        daemon.owns_socket = False
        yield daemon, manager


def is_served(client):
    answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
    equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")


@test
def a_socket_that_is_handed_over_is_used_as_it_is_and_left_alone_at_the_end():
    with managed() as (daemon, manager):
        manager.listen(daemon.socket, 0o640)
        before = os.stat(daemon.socket)
        with daemon:
            is_served(daemon.client())
            during = os.stat(daemon.socket)
            equal(stat.S_IMODE(during.st_mode), 0o640, "its mode")
            equal(during.st_ino, before.st_ino, "its file")
            equal(os.listdir(daemon.directory).count("remotingd.sock"), 1, "sockets made")
            daemon.terminate()
            equal(daemon.wait(), 0, "the exit code")
            equal(os.stat(daemon.socket).st_ino, before.st_ino, "its file after the end")


@test
def who_connects_while_there_is_no_daemon_is_served_by_the_next():
    with managed() as (daemon, manager):
        manager.listen(daemon.socket, 0o600)
        early = remoting.Client(daemon.socket, timeout=30)
        opaque = early.send(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        with daemon:
            equal(early.receive(opaque).code, 0, "the answer to who came early")
            early.close()


@test
def a_socket_of_another_path_is_no_listener():
    with managed() as (daemon, manager):
        manager.listen(f"{daemon.directory}/other.sock", 0o600)
        daemon.owns_socket = True
        with daemon:
            is_served(daemon.client())


class Caller:
    """Connects for every request, again and again, and counts how it went."""

    def __init__(self, path):
        self.path = path
        self.n_served = self.n_draining = self.n_closed = 0
        self.wrong = []
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            try:
                with remoting.Client(self.path, timeout=30) as client:
                    self._call(client)
            except OSError as error:
                self.wrong.append(repr(error))

    def _call(self, client):
        # A connection that was accepted and had asked nothing yet is closed at the end.
        try:
            answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC})
        except (remoting.ConnectionEnded, ConnectionError):
            self.n_closed += 1
            return
        if answer.error == "draining":
            self.n_draining += 1
        elif answer.code == 0:
            self.n_served += 1
        else:
            self.wrong.append(f"code {answer.code} {answer.error} {answer.remark}")


@test
def a_restart_under_load_refuses_no_connection():
    with managed() as (daemon, manager):
        manager.listen(daemon.socket, 0o600)
        with daemon:
            callers = [Caller(daemon.socket) for _ in range(N_CALLERS)]
            for _ in range(N_RESTARTS):
                daemon.terminate()
                equal(daemon.wait(), 0, "the exit code")
                daemon.start()
            for caller in callers:
                caller.is_over = True
            for caller in callers:
                caller.thread.join(30)
                check(not caller.thread.is_alive(), "every caller came to an end")
            wrong = [each for caller in callers for each in caller.wrong]
            equal(wrong, [], "what went wrong")
            served = sum(caller.n_served for caller in callers)
            others = sum(caller.n_draining + caller.n_closed for caller in callers)
            note(f"{served} served, {others} met a daemon that was stopping, {N_RESTARTS} restarts")
            less(N_CALLERS * N_RESTARTS, served, "requests that were served")


main()
