#!/usr/bin/env python3
"""A planned restart that nobody notices: callers and sockets are handed over to the next daemon"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from daemon_process import Daemon
from fake_broker import FakeBroker, Held, echo
from http_client import HttpClient
from remoting import GET_MAX_OFFSET, GET_STATS, HEART_BEAT, SEND_MESSAGE
from restart_load import RestartLoad
from scenario import Stage, is_own
from service_manager import ServiceManager
from tap import check, contains, equal, less, main, note, test, wait_until

SUBSCRIBE_NET_EVENTS = 30009
MANY = 300
N_CALLERS = 8
N_RESTARTS = 5
LIVES = {"upstream": {"allow_addresses": "127.0.0.0/8"}}


@contextlib.contextmanager
def managed(room=1000, settings=None):
    """The stage under a manager that keeps so many descriptors; restart() is the planned one."""
    with FakeBroker("nameserver") as nameserver, FakeBroker("broker-a") as broker:
        nameserver.route_to = [broker]
        with ServiceManager(room=room) as manager:
            settings = {**LIVES, **(settings or {})}
            daemon = Daemon([nameserver.address], settings, through=manager.through())
            daemon.owns_socket = False  # the next one is to have it
            with daemon:
                yield Stage(daemon, nameserver, broker), manager


def stop(on):
    on.daemon.terminate()
    equal(on.daemon.wait(), 0, "the exit code")


def restart(on):
    stop(on)
    on.daemon.start()


def connected(on):
    """Outside the daemon's keeping: it stays open over a restart."""
    return remoting.Client(on.daemon.socket, timeout=20)


def stats(on):
    with connected(on) as client:
        return client.call(GET_STATS).json()


@test
def an_idle_caller_stays_connected_and_its_next_request_is_answered_by_the_next_daemon():
    with managed() as (on, manager):
        with connected(on) as client, connected(on) as quiet:
            is_own(on.call(client, "first"), "first")
            pid, inode = on.daemon.pid, os.stat(on.daemon.socket).st_ino
            log_before = on.daemon.log
            stop(on)
            contains(log_before(), "handed_over=2", "the last line")
            equal(len(manager.names()), 3, f"what the manager keeps: {manager.names()}")
            opaque = on.ask(client, "between")  # nobody is there to read it
            with connected(on) as early:
                waiting = on.ask(early, "early")
                on.daemon.start()
                check(on.daemon.pid != pid, "another daemon")
                is_own(client.receive(opaque), "between")
                is_own(early.receive(waiting), "early")
            is_own(on.call(quiet, "quiet"), "quiet")
            equal(os.stat(on.daemon.socket).st_ino, inode, "the socket's file")
            contains(on.daemon.log(), "handover taken=2 closed=0", "the log")
            equal(manager.names(), [], "what the manager keeps when they are taken")


@test
def connections_of_http_go_over_between_two_requests():
    with tempfile.TemporaryDirectory(prefix="remotingd-") as directory:
        path = str(pathlib.Path(directory) / "http.sock")
        with managed(settings={"http": {"socket": path}}) as (on, _):
            held = Held()
            on.broker.on(SEND_MESSAGE, held)
            with HttpClient(path) as idle, HttpClient(path) as waiting:
                equal(idle.call("GET", "/v1/health").status, 200, "the first daemon")
                waiting.request("POST", "/v1/topics/Orders/messages", b"in flight")
                held.wait_for(1)
                on.daemon.terminate()
                wait_until(lambda: "drain DRAINING" in on.daemon.log(), 5, "the drain")
                waiting.request("POST", "/v1/topics/Orders/messages", b"sent meanwhile")
                held.waiting[0][0].echo(held.waiting[0][1])
                answer = waiting.answer()
                equal(answer.status, 200, "what was in flight")
                check("connection" not in answer.fields, "its connection is kept")
                equal(on.daemon.wait(), 0, "the exit code")
                equal(len(held.waiting), 1, "requests that the first daemon passed on")
                on.broker.on(SEND_MESSAGE, echo)
                on.daemon.start()
                equal(waiting.answer().status, 200, "what was sent meanwhile")
                equal(idle.call("GET", "/v1/health").status, 200, "the next daemon")


@test
def what_is_in_flight_is_answered_before_its_caller_goes_over():
    with managed() as (on, _):
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        with connected(on) as client:
            first = on.ask(client, "in flight", {"sidecar.timeoutMillis": "20000"})
            held.wait_for(1)
            on.daemon.terminate()
            wait_until(lambda: "drain DRAINING" in on.daemon.log(), 5, "the drain")
            second = on.ask(client, "sent meanwhile", {"sidecar.timeoutMillis": "20000"})
            connection, request = held.waiting[0]
            connection.echo(request)
            is_own(client.receive(first), "in flight")
            equal(on.daemon.wait(), 0, "the exit code")
            equal(len(held.waiting), 1, "requests that the first daemon passed on")
            on.broker.on(GET_MAX_OFFSET, echo)
            on.daemon.start()
            is_own(client.receive(second), "sent meanwhile")


@test
def a_frame_that_has_begun_is_completed_and_answered_and_what_follows_it_waits():
    with managed() as (on, _):
        with connected(on) as client:
            frames = [
                remoting.encode(
                    remoting.Command(
                        code=GET_MAX_OFFSET,
                        opaque=n,
                        ext={"token": str(n), "sidecar.addr": on.broker.address},
                    )
                )
                for n in (1, 2)
            ]
            client.send_bytes(frames[0][:30])
            held = Held()
            on.broker.on(GET_MAX_OFFSET, held)
            with connected(on) as other:
                on.ask(other, "keeps it", {"sidecar.timeoutMillis": "20000"})
                held.wait_for(1)
                on.broker.on(GET_MAX_OFFSET, echo)
                on.daemon.terminate()
                wait_until(lambda: "drain DRAINING" in on.daemon.log(), 5, "the drain")
                client.send_bytes(frames[0][30:] + frames[1])
                is_own(client.receive(1), "1")
                connection, request = held.waiting[0]
                connection.echo(request)
                is_own(other.receive(), "keeps it")
                equal(on.daemon.wait(), 0, "the exit code")
                on.daemon.start()
                is_own(client.receive(2), "2")


@test
def a_frame_that_has_begun_is_waited_for_when_nothing_else_is():
    with managed() as (on, manager):
        with connected(on) as client:
            ext = {"token": "late", "sidecar.addr": on.broker.address}
            frame = remoting.encode(remoting.Command(code=GET_MAX_OFFSET, opaque=7, ext=ext))
            client.send_bytes(frame[:30])
            wait_until(lambda: stats(on)["sessions"] >= 2, 5, "the session")
            on.daemon.terminate()
            wait_until(lambda: "drain DRAINING" in on.daemon.log(), 5, "the drain")
            client.send_bytes(frame[30:])
            is_own(client.receive(7), "late")
            equal(on.daemon.wait(), 0, "the exit code")
            equal(len(manager.names()), 2, "the listening socket and the caller")
            on.daemon.start()
            is_own(on.call(client, "next"), "next")


@test
def a_caller_that_goes_meanwhile_holds_nothing_up():
    with managed(settings={"drain": {"timeout": "20s"}}) as (on, _):
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        with connected(on) as client:
            on.ask(client, "never answered", {"sidecar.timeoutMillis": "20000"})
            held.wait_for(1)
            on.daemon.terminate()
            wait_until(lambda: "drain DRAINING" in on.daemon.log(), 5, "the drain")
        began = time.monotonic()
        equal(on.daemon.wait(), 0, "the exit code")
        less(time.monotonic() - began, 5, "seconds until the drain was over")
        contains(on.daemon.log(), "callers_left=1", "the last line")
        on.daemon.start()


@test
def with_more_listeners_than_room_the_daemon_ends_as_ever():
    with tempfile.TemporaryDirectory() as directory:
        more = {"listener web": {"socket": f"{directory}/web.sock"}}
        with managed(room=1, settings=more) as (on, manager):
            stop(on)
            equal(len(manager.names()), 1, "what the manager keeps")
            on.daemon.start()


@test
def a_start_that_fails_leaves_the_socket_and_its_queue_to_the_next():
    with managed() as (on, manager):
        inode = os.stat(on.daemon.socket).st_ino
        stop(on)
        good = on.daemon.config_path.read_text()
        with connected(on) as early, socket.socket() as taken:
            waiting = on.ask(early, "early")
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            on.daemon.config_path.write_text(good + f"[metrics]\nlisten = 127.0.0.1:{port}\n")
            failed = subprocess.run(
                [*manager.through(), on.daemon.binary, "--config", str(on.daemon.config_path)],
                capture_output=True,
                timeout=20,
            )
            equal(failed.returncode, 1, f"the exit code of the start that fails ({failed.stderr})")
            on.daemon.config_path.write_text(good)
            on.daemon.start()
            equal(os.stat(on.daemon.socket).st_ino, inode, "the socket's file")
            is_own(early.receive(waiting), "early")


@test
def callers_that_the_daemon_speaks_for_see_the_end_and_so_do_those_without_room():
    with managed(room=3) as (on, manager):
        with contextlib.ExitStack() as stack:
            event_reader = stack.enter_context(connected(on))
            event_reader.call(SUBSCRIBE_NET_EVENTS)
            producer = stack.enter_context(connected(on))
            producer.call(HEART_BEAT, body=b'{"clientID":"c","producerDataSet":[{"groupName":"g"}]}')
            callers = [stack.enter_context(connected(on)) for _ in range(4)]
            for n, caller in enumerate(callers):
                is_own(on.call(caller, n), n)
            restart(on)
            event_reader.wait_for_end(5)
            producer.wait_for_end(5)
            served = 0
            for n, caller in enumerate(callers):
                try:
                    is_own(on.call(caller, n), n)
                    served += 1
                except (remoting.ConnectionEnded, OSError):
                    pass
            equal(served, 2, "callers beside the listening socket, of three descriptors in all")


@test
def what_has_another_version_or_no_listener_is_closed():
    with managed() as (on, manager):
        stop(on)
        pairs = []
        for name in ("v2.caller./x", "v1.caller./nowhere.sock", "v1.listener./nowhere.sock", "v1."):
            ours, theirs = socket.socketpair(socket.AF_UNIX)
            manager.put(name, theirs.fileno())
            theirs.close()
            pairs.append(ours)
        on.daemon.start()
        for ours in pairs:
            ours.settimeout(5)
            equal(ours.recv(1), b"", "the end of file")
            ours.close()
        contains(on.daemon.log(), "closed=4", "the log")
        equal(stats(on)["sessions"], 1, "sessions, the asking one included")


@test
def a_stop_that_no_start_follows_ends_the_callers():
    with managed() as (on, manager):
        with connected(on) as client:
            is_own(on.call(client, "first"), "first")
            stop(on)
            manager.forget_all()
            client.wait_for_end(5)
            on.daemon.start()
        with connected(on) as later:
            is_own(on.call(later, "later"), "later")


@test
def under_load_no_restart_refuses_a_connection_loses_a_request_or_ends_a_caller():
    with managed() as (on, _):
        with RestartLoad(lambda: connected(on), on.broker.address, N_CALLERS, MANY) as load:
            longest = 0.0
            for _ in range(N_RESTARTS):
                load.wait_for_more(50)
                began = time.monotonic()
                restart(on)
                longest = max(longest, time.monotonic() - began)
            load.stop()
            load.ask_idle()
            equal(load.failures[:2], [], f"failures of {load.answered} requests")
            note(f"{load.answered} requests, {N_RESTARTS} restarts of at most {longest:.1f} s")


main()
