#!/usr/bin/env python3
"""Requests as they end are told to who watches, and nobody waits for that"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import schema
from daemon_process import ROOT, binary
from fake_broker import Held, answers, close
from remoting import GET_MAX_OFFSET, ONEWAY, ROCKETMQ
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, main, test

TAP = 30023
GET_STATS = 30012
GET_SESSIONS = 30014
SEND_MESSAGE = 10
N_MANY = 3000


def watcher(on, serialize=None, **filters):
    client = on.client(**({"serialize": serialize} if serialize is not None else {}))
    answer = client.call(TAP, filters)
    equal((answer.code, answer.error), (0, None), f"the answer to TAP ({answer.remark})")
    equal(answer.json()["maxBodies"], 4096, "bytes of bodies that may be shown")
    return client


def next_line(client, timeout=None):
    request = client.receive(timeout=timeout)
    equal((request.code, request.flag & ONEWAY), (TAP, ONEWAY), "code and flag of a line")
    return request


def outcomes(client, n):
    return [(line.ext["outcome"], line.ext.get("topic", "")) for line in (next_line(client) for _ in range(n))]


@test
def a_request_is_told_when_it_ends_with_what_became_of_it():
    with stage() as on:
        watching, client = watcher(on), on.client()
        is_own(on.call(client, "x", {"topic": "orders", "consumerGroup": "billing"}), "x")
        ext = next_line(watching).ext
        equal((ext["code"], ext["name"], ext["topic"], ext["group"]),
              (str(GET_MAX_OFFSET), "GET_MAX_OFFSET", "orders", "billing"), "the request")
        equal((ext["outcome"], ext["answerCode"], ext["addr"]), ("answered", "0", on.broker.address), "what became of it")
        sessions = client.call(GET_SESSIONS).json()["sessions"]
        check(ext["session"] in {str(row["session"]) for row in sessions}, "whose it is")
        check(int(ext["micros"]) > 0, "how long it took")
        check("dropped" not in ext, "nothing was lost")


@test
def each_outcome_has_its_word():
    with stage() as on:
        watching, client = watcher(on), on.client()
        on.broker.on(GET_MAX_OFFSET, answers(code=1, remark="not today"))
        on.call(client, "refused")
        line = next_line(watching)
        equal((line.ext["outcome"], line.ext["answerCode"], line.ext["remark"]), ("refused", "1", "not today"), "a refusal")
        on.broker.on(GET_MAX_OFFSET, close)
        is_failure(on.call(client, "lost"), "connection-lost", 10100)
        line = next_line(watching)
        equal(line.ext["outcome"], "connection-lost", "a connection that breaks")
        contains(line.ext["remark"], on.broker.address, "its cause")
        is_failure(client.call(SEND_MESSAGE, {"topic": "x", "sidecar.bogus": "1"}), "invalid", 13)
        equal(next_line(watching).ext["outcome"], "invalid", "one that is wrong")
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        on.ask(client, "left")
        held.wait_for(1)
        client.close()
        equal(next_line(watching).ext["outcome"], "left", "one whose caller goes")
        on.ask(on.client(), "oneway", oneway=True)
        equal(next_line(watching).ext["outcome"], "sent", "a oneway request")


@test
def filters_leave_out_the_others():
    with stage() as on:
        one, other = on.client(), on.client()
        one.call(GET_STATS)
        number = max(row["session"] for row in one.call(GET_SESSIONS).json()["sessions"] if row["requests"] > 0)
        by_topic = watcher(on, topic="orders")
        by_session = watcher(on, session=number)
        by_code = watcher(on, code=GET_MAX_OFFSET)
        by_outcome = watcher(on, outcome="failed")
        by_address = watcher(on, addr=on.broker.address)
        by_word = watcher(on, outcome="invalid")
        is_own(on.call(one, "a", {"topic": "orders"}), "a")
        is_own(on.call(other, "b", {"topic": "bills"}), "b")
        is_failure(other.call(SEND_MESSAGE, {"topic": "wrong", "sidecar.bogus": "1"}), "invalid", 13)
        one.call(GET_STATS, {"topic": "end"})
        equal(outcomes(by_topic, 1), [("answered", "orders")], "by topic")
        equal(outcomes(by_session, 2), [("answered", "orders"), ("answered", "end")], "by session")
        equal(outcomes(by_code, 2), [("answered", "orders"), ("answered", "bills")], "by code")
        equal(outcomes(by_outcome, 1), [("invalid", "wrong")], "by failure")
        equal(outcomes(by_word, 1), [("invalid", "wrong")], "by the word of a failure")
        equal(outcomes(by_address, 2), [("answered", "orders"), ("answered", "bills")], "by address")
        for client in (by_topic, by_session, by_code, by_outcome, by_word, by_address):
            check(client.is_silent(0.05), "nothing else comes")


@test
def a_filter_that_makes_no_sense_is_invalid():
    with stage() as on:
        client = on.client()
        for filters in ({"outcome": "sometimes"}, {"code": "x"}, {"bodies": "4097"}, {"topic": "t" * 256}):
            is_failure(client.call(TAP, filters), "invalid", 13)


@test
def bodies_come_where_they_are_asked_for():
    with stage() as on:
        on.broker.on(GET_MAX_OFFSET, answers(body=b"the answer's body"))
        without, long, short = (watcher(on, code=GET_MAX_OFFSET, **more)
                                for more in ({}, {"bodies": 4096}, {"bodies": 5}))
        on.call(on.client(), "x", body=b"the request's body")
        line = next_line(without)
        equal((line.body, line.ext["requestBytes"], line.ext["answerBytes"]), (b"", "18", "17"), "without bodies")
        line = next_line(long)
        equal((line.body, line.ext["requestShown"], line.ext["answerShown"]),
              (b"the request's bodythe answer's body", "18", "17"), "whole bodies")
        line = next_line(short)
        equal((line.body, line.ext["requestShown"], line.ext["answerShown"]), (b"the rthe a", "5", "5"), "5 bytes each")


def sees_its_own(on, other_socket):
    answer = on.client().call(TAP)
    equal((answer.code, answer.json()["seesAll"]), (0, False), "the answer")
    watching, mine = watcher(on), on.client()
    others = type(mine)(other_socket)
    equal(others.call(GET_STATS, {"topic": "others"}).code, 0, "a request by another listener")
    equal(mine.call(GET_STATS, {"topic": "mine"}).code, 0, "a request by the same")
    others.close()
    equal(outcomes(watching, 1), [("answered", "mine")], "what is told")


@test
def without_the_admin_role_one_sees_ones_own():
    with tempfile.TemporaryDirectory() as directory:
        other_socket = f"{directory}/other.sock"
        settings = {
            "listener": {"role": "user"},
            "listener other": {"role": "user", "socket": other_socket},
            "role user": {"send": "*", "consume": "*", "producer_groups": "*", "consumer_groups": "*"},
        }
        with stage(settings) as on:
            sees_its_own(on, other_socket)


@test
def who_does_not_read_loses_lines_which_are_counted_and_holds_nobody_up():
    with stage() as on:
        deaf, client = watcher(on, bodies=4096), on.client()
        body = b"x" * 4096
        for _ in range(N_MANY // 100):
            client.gather([on.ask(client, "many", body=body) for _ in range(100)])
        n_told = n_dropped = 0
        while n_told + n_dropped < N_MANY:
            if deaf.is_silent(0.2):
                # The count comes with the next line.
                is_own(on.call(client, "one more"), "one more")
            line = next_line(deaf)
            n_told += line.ext["requestShown"] == "4096"
            n_dropped += int(line.ext.get("dropped", 0))
        check(n_dropped > 0, f"lines were lost: {n_dropped}")
        equal(n_told + n_dropped, N_MANY, "lines that came and that were counted as lost")


@test
def a_binary_caller_may_watch():
    with stage() as on:
        watching = watcher(on, serialize=ROCKETMQ)
        is_own(on.call(on.client(), "x", {"topic": "orders"}), "x")
        equal(outcomes(watching, 1), [("answered", "orders")], "what is told")


@test
def eight_may_watch_and_one_that_goes_makes_room():
    with stage() as on:
        watching = [watcher(on) for _ in range(8)]
        one_more = on.client()
        is_failure(one_more.call(TAP), "overloaded", 2)
        watching[0].close()
        check(on.client().call(GET_STATS).code == 0, "the daemon has seen it go")
        equal(one_more.call(TAP).code, 0, "the answer then")


@test
def a_request_that_came_before_is_not_told_and_the_tap_may_go_first():
    with stage() as on:
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        before = on.ask(client, "before")
        watching, leaving = watcher(on), watcher(on)
        after = on.ask(client, "after", {"topic": "after"})
        for connection, request in held.wait_for(2):
            if request.ext["token"] == "before":
                connection.echo(request)
                is_own(client.receive(before), "before")
                leaving.close()
                equal(on.client().call(GET_STATS, {"topic": "seen"}).code, 0, "another")
        for connection, request in held.wait_for(2):
            if request.ext["token"] == "after":
                connection.echo(request)
        is_own(client.receive(after), "after")
        equal(next_line(watching).ext["name"], "TAP", "the other tap's own request")
        equal(outcomes(watching, 2), [("answered", "seen"), ("answered", "after")], "what is told")


@test
def the_command_line_shows_them():
    described = json.loads((ROOT / "client" / "schemas" / "tap.json").read_text())
    with stage() as on:
        client = on.client()
        seen = set()
        for more in ([], ["--json", "--bodies", "100"]):
            words = ["tap", "--topic", "orders", "-n", "2", "--socket", on.daemon.socket, *more]
            with subprocess.Popen([binary("REMOTINGCTL", "build-test/client/remotingctl"), *words],
                                  stdout=subprocess.PIPE, text=True) as process:
                # It watches from some moment on: requests go on until it has seen two.
                while process.poll() is None:
                    is_own(on.call(client, "x", {"topic": "orders", "consumerGroup": "billing"}, b"abc"), "x")
                lines = process.stdout.read().splitlines()
            equal((process.returncode, len(lines)), (0, 2), "the exit code and the lines")
            if more:
                for line in lines:
                    seen |= schema.check(json.loads(line), described, "")
                equal(json.loads(lines[0])["body"], "abc", "the body")
            else:
                for word in ("GET_MAX_OFFSET", "topic=orders", "group=billing", "answered", on.broker.address):
                    contains(lines[0], word, "the line")
        equal(schema.paths(described) - seen, set(), "fields that no line has shown")


main()
