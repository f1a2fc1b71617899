#!/usr/bin/env python3
"""The HTTP door: what is asked for by it, and how everything that can happen is told"""

import json
import os
import pathlib
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import fake_broker
import remoting
from fake_broker import Held, answers
from http_client import HttpClient, http_stage
from other_user import OtherUser, needs_root
from remoting import (
    BATCH_ACK_MESSAGE,
    CHANGE_MESSAGE_INVISIBLETIME,
    GET_STATS,
    POP_MESSAGE,
    SEND_BATCH_MESSAGE,
    SEND_MESSAGE,
)
from scenario import POPPED, POPPED_FOR, TOPIC
from tap import check, contains, equal, less, main, test, wait_until

POP_TOPIC, POP_GROUP = POPPED_FOR
RECEIVE = f"/v1/topics/{POP_TOPIC}/groups/{POP_GROUP}/receive"
MESSAGES = f"/v1/topics/{TOPIC}/messages"
GET_SESSIONS = 30014
KILL_SESSION = 30018


def properties(request):
    """Of a message as it came to the broker."""
    pairs = request.ext["properties"].split("\2")
    return dict(pair.split("\1") for pair in pairs if pair)


def popped(client, **more):
    """The messages of a receive, which has found some."""
    answer = client.call("POST", RECEIVE, **more)
    equal(answer.status, 200, f"the status ({answer.body!r})")
    return answer.json()


@test
def a_message_is_one_line_of_curl_away():
    with http_stage() as (on, path):
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--unix-socket", path, "-d", "hello"]
            + ["-H", "X-Mq-Tags: new", f"http://localhost{MESSAGES}"],
            capture_output=True,
            timeout=20,
        )
        equal((done.returncode, done.stderr), (0, b""), "the exit code of curl")
        seen = on.broker.wait_for(1, SEND_MESSAGE)[0]
        equal(seen.body, b"hello", "the body at the broker")
        equal(properties(seen)["TAGS"], "new", "its tag")
        equal(properties(seen)["UNIQ_KEY"], json.loads(done.stdout)["msgId"], "its id")


@test
def header_fields_of_a_send_become_properties():
    fields = {
        "X-Mq-Tags": "new",
        "x-mq-keys": "4711 0815",
        "X-Mq-Delay": "90s",
        "X-Mq-Sharding-Key": "customer-7",
        "X-Mq-Property-colour": "gr\u00fcn",
        "X-Mq-Timeout": "2s",
        "Accept": "*/*",
    }
    with http_stage() as (on, path), HttpClient(path) as client:
        answer = client.call("POST", MESSAGES, b"x", fields)
        equal((answer.status, answer.sent), (200, "yes"), "the answer")
        seen = properties(on.broker.wait_for(1, SEND_MESSAGE)[0])
        expected = {
            "TAGS": "new",
            "KEYS": "4711 0815",
            "TIMER_DELAY_MS": "90000",
            "__SHARDINGKEY": "customer-7",
            "colour": "gr\u00fcn",
        }
        equal({key: seen.get(key) for key in expected}, expected, "the properties")
        equal(answer.fields["x-mq-msg-id"], seen["UNIQ_KEY"], "X-Mq-Msg-Id")


@test
def the_answer_to_a_send_tells_where_the_message_lies():
    ext = {"msgId": "0A00", "queueId": "3", "queueOffset": "17"}
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(SEND_MESSAGE, answers(ext=ext))
        row = client.call("POST", MESSAGES, b"x").json()
        equal(row["offsetMsgId"], "0A00", "offsetMsgId")
        equal((row["brokerName"], row["queueId"], row["queueOffset"]), ("broker-a", 3, 17), "where")


@test
def a_batch_is_sent_as_one_and_has_an_id_for_each():
    rows = [{"body": "a"}, {"body": "Yg==", "encoding": "base64", "properties": {"TAGS": "t"}}]
    with http_stage() as (on, path), HttpClient(path) as client:
        answer = client.call("POST", f"{MESSAGES}:batch", json.dumps(rows).encode())
        equal(answer.status, 200, f"the status ({answer.body!r})")
        equal(len(on.broker.wait_for(1, SEND_BATCH_MESSAGE)), 1, "batches at the broker")
        equal(len(set(answer.json()["msgIds"])), 2, "different ids")


@test
def what_is_received_can_be_acknowledged_and_given_back():
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(POP_MESSAGE, answers(POPPED.code, POPPED.ext, POPPED.body))
        rows = popped(client)
        equal({row["topic"] for row in rows}, {POP_TOPIC}, "the topics")
        receipts = [row["receipt"] for row in rows]
        equal(len(receipts), 4, "messages")
        answer = client.call("POST", "/v1/ack", json.dumps(receipts[:2]).encode())
        equal([row["receipt"] for row in answer.json()], receipts[:2], "the rows of the ack")
        renewed = {"popTime": "1", "invisibleTime": "9000", "reviveQid": "0"}
        on.broker.on(CHANGE_MESSAGE_INVISIBLETIME, answers(ext=renewed))
        fields = {"X-Mq-Delay": "9s"}
        answer = client.call("POST", "/v1/nack", json.dumps(receipts[2:]).encode(), fields)
        equal(
            [(row["receipt"], row["code"]) for row in answer.json()],
            [(receipt, 0) for receipt in receipts[2:]],
            "the rows of the nack",
        )
        check(all(row["newReceipt"] not in receipts for row in answer.json()), "new receipts")
        seen = on.broker.wait_for(2, CHANGE_MESSAGE_INVISIBLETIME)
        equal({row.ext["invisibleTime"] for row in seen}, {"9000"}, "the delay at the broker")


@test
def what_was_received_can_be_acknowledged_as_it_is():
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(POP_MESSAGE, answers(POPPED.code, POPPED.ext, POPPED.body))
        received = client.call("POST", RECEIVE)
        receipts = [row["receipt"] for row in received.json()]
        for target in ("/v1/ack", "/v1/nack"):
            rows = client.call("POST", target, received.body).json()
            equal([row["receipt"] for row in rows], receipts, f"the rows of {target}")
        equal(len(on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)), 4, "messages given back")


@test
def a_receipt_that_is_none_is_told_in_its_row_and_the_others_go():
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(POP_MESSAGE, answers(POPPED.code, POPPED.ext, POPPED.body))
        receipt = popped(client)[0]["receipt"]
        body = json.dumps(["nonsense", receipt]).encode()
        rows = client.call("POST", "/v1/nack", body).json()
        equal(rows[0]["error"], "invalid", "the first row")
        equal((rows[1]["receipt"], rows[1]["code"]), (receipt, 0), "the second row")


@test
def a_receive_that_finds_nothing_is_an_empty_array():
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(POP_MESSAGE, answers(remoting.POLLING_TIMEOUT))
        answer = client.call("POST", f"{RECEIVE}?max=5&wait=0s&invisible=20s")
        equal((answer.status, answer.json()), (200, []), "the answer")
        seen = on.broker.wait_for(1, POP_MESSAGE)[0]
        equal((seen.ext["maxMsgNums"], seen.ext["invisibleTime"]), ("5", "20000"), "what was asked")


@test
def messages_of_a_caller_who_goes_while_it_waits_are_made_visible_again():
    with http_stage() as (on, path):
        held = Held()
        on.broker.on(POP_MESSAGE, held)
        client = HttpClient(path)
        client.request("POST", RECEIVE)
        held.wait_for(1)
        files = on.daemon.files()
        client.close()
        wait_until(lambda: on.daemon.files() < files, 5, "the daemon sees that it has gone")
        for connection, request in held.waiting:
            connection.answer(request, POPPED.code, POPPED.ext, POPPED.body)
        equal(len(on.broker.wait_for(4, CHANGE_MESSAGE_INVISIBLETIME)), 4, "messages given back")


@test
def routes_and_health_are_json():
    with http_stage() as (on, path), HttpClient(path) as client:
        route = client.call("GET", f"/v1/routes/{TOPIC}")
        equal(route.fields["content-type"], "application/json", "the type")
        equal(route.json()["brokerDatas"][0]["brokerName"], "broker-a", "the route's broker")
        health = client.call("GET", "/v1/health")
        equal((health.status, health.json()["state"]), (200, "healthy"), "the health")


@test
def names_of_the_path_are_percent_decoded():
    with http_stage() as (on, path), HttpClient(path) as client:
        answer = client.call("POST", "/v1/topics/%25RETRY%25billing/messages", b"x")
        equal(answer.status, 200, f"the status ({answer.body!r})")
        seen = on.broker.wait_for(1, SEND_MESSAGE)[0]
        equal(seen.ext["topic"], "%RETRY%billing", "the topic at the broker")


# --- failures ---


@test
def what_is_not_understood_is_refused_with_what_is_accepted():
    cases = [
        ("POST", f"{MESSAGES}?retry=1", {}, 400, "none here"),
        ("POST", f"{RECEIVE}?max=33", {}, 400, "32"),
        ("POST", f"{RECEIVE}?wait=5", {}, 400, "unit"),
        ("POST", f"{RECEIVE}?wait=1s&wait=2s", {}, 400, "once"),
        ("POST", f"{RECEIVE}?limit=5", {}, 400, "max, wait and invisible"),
        ("POST", MESSAGES, {"X-Mq-Colour": "red"}, 400, "X-Mq-Tags, X-Mq-Keys"),
        ("POST", MESSAGES, {"X-Mq-Delay": "soon"}, 400, "30s"),
        ("POST", MESSAGES, {"X-Mq-Tags": "a", "x-mq-tags": "b"}, 400, "once"),
        ("POST", MESSAGES, {"X-Mq-Property-": "a"}, 400, "a name"),
        ("POST", MESSAGES, {"X-Mq-Property-A": "\1"}, 400, ""),
        ("POST", "/v1/topics/a%20b/messages", {}, 400, "letters"),
        ("POST", "/v1/topics/a%zz/messages", {}, 400, ""),
        ("POST", "/v1/ack", {"X-Mq-Delay": "1s"}, 400, "X-Mq-Timeout"),
        ("GET", "/v1/topics", {}, 404, "/v1/health"),
        ("GET", "/v1/health/", {}, 404, "/v1/health"),
        ("GET", "//v1/health", {}, 404, "/v1/health"),
        ("GET", "/v1/../v1/health", {}, 404, "/v1/health"),
    ]
    with http_stage() as (on, path):
        for method, target, fields, status, words in cases:
            with HttpClient(path) as client:
                answer = client.call(method, target, b"x" if method == "POST" else None, fields)
                equal((answer.status, answer.sent), (status, "no"), f"{target} {fields}")
                contains(answer.json()["remark"], words, f"the remark to {target} {fields}")
        equal(on.broker.seen(), [], "what came to the broker")


@test
def bodies_that_are_none_of_their_route_are_refused():
    many = json.dumps(["r"] * 1025).encode()
    bodies = [b"", b"[]", b"{}", b'["a"', b'["a"] x', b"\xff", many]
    bodies += [b"[1]", b'[["a"]]', b'["a", null]', b'[{"body": "x"}]', b'[{"receipt": 1}]']
    with http_stage() as (on, path), HttpClient(path) as client:
        for target in ("/v1/ack", "/v1/nack"):
            for body in bodies:
                answer = client.call("POST", target, body)
                equal((answer.status, answer.error), (400, "invalid"), f"{target} {body[:40]!r}")
        equal(client.call("GET", "/v1/health", b"x").status, 400, "a body where there is none")


@test
def another_method_is_told_which_one_is_accepted():
    with http_stage() as (on, path):
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
            with HttpClient(path) as client:
                answer = client.call(method, "/v1/health")
                equal((answer.status, answer.fields.get("allow")), (405, "GET"), method)
        with HttpClient(path) as client:
            answer = client.call("GET", MESSAGES)
            equal((answer.status, answer.fields.get("allow")), (405, "POST"), "GET of a send")
        with HttpClient(path) as client:
            answer = client.call("BREW", "/v1/health")
            equal((answer.status, answer.fields.get("allow")), (405, "GET, POST"), "BREW")


@test
def every_failure_has_its_status_and_says_whether_the_message_was_sent():
    with http_stage(settings={"send": {"retries": "0"}}) as (on, path), HttpClient(path) as client:
        on.nameserver.no_route.update(("Missing", "TBW102"))
        answer = client.call("POST", "/v1/topics/Missing/messages", b"x")
        equal((answer.status, answer.error, answer.sent), (404, "no-route", "no"), "no route")
        equal(client.call("GET", "/v1/routes/Missing").status, 404, "the route of no topic")
        on.broker.on(SEND_MESSAGE, fake_broker.silence)
        answer = client.call("POST", MESSAGES, b"x", {"X-Mq-Timeout": "300ms"})
        equal((answer.status, answer.error, answer.sent), (504, "timeout", "maybe"), "silence")
        contains(answer.json()["remark"], on.broker.address, "the remark")
        check(answer.fields["x-mq-msg-id"], "the id is told with the failure, too")
        on.broker.on(SEND_MESSAGE, fake_broker.close)
        answer = client.call("POST", MESSAGES, b"x")
        seen = (answer.status, answer.error, answer.sent)
        equal(seen, (502, "connection-lost", "maybe"), "a broken connection")
        on.broker.refuse()
        answer = client.call("POST", MESSAGES, b"x", {"X-Mq-Timeout": "500ms"})
        equal((answer.status, answer.error, answer.sent), (502, "unreachable", "no"), "refused")


@test
def a_broker_that_says_no_is_told_with_its_own_words():
    cases = [(2, 503), (13, 400), (14, 503), (16, 403), (17, 404), (26, 502)]
    with http_stage(settings={"send": {"retries": "0"}}) as (on, path), HttpClient(path) as client:
        for code, status in cases:
            on.broker.on(SEND_MESSAGE, answers(code, remark="not today"))
            answer = client.call("POST", MESSAGES, b"x")
            equal((answer.status, answer.sent), (status, "no"), f"the answer to code {code}")
            equal(answer.json()["code"], code, "the code")
            contains(answer.json()["remark"], "not today", f"the remark of code {code}")
            equal("retry-after" in answer.fields, status == 503, "Retry-After")


@test
def a_message_that_is_stored_but_not_yet_on_disk_is_sent():
    with http_stage() as (on, path), HttpClient(path) as client:
        on.broker.on(SEND_MESSAGE, answers(10, {"queueId": "1"}, remark="flush disk timeout"))
        answer = client.call("POST", MESSAGES, b"x", {"X-Mq-Timeout": "1s"})
        equal((answer.status, answer.sent, answer.json()["code"]), (200, "yes", 10), "the answer")


# --- the same rooms ---


@test
def a_role_decides_what_may_be_sent_and_received():
    role = {"users": "root", "send": "Invoices", "consume": TOPIC, "consumer_groups": "billing"}
    with http_stage(settings={"role shop": role}) as (on, path), HttpClient(path) as client:
        equal(client.call("POST", "/v1/topics/Invoices/messages", b"x").status, 200, "its topic")
        answer = client.call("POST", MESSAGES, b"x")
        equal((answer.status, answer.error, answer.sent), (403, "forbidden", "no"), "another one")
        contains(answer.json()["remark"], "[role shop]", "the remark")
        target = f"/v1/topics/{TOPIC}/groups/other/receive"
        equal(client.call("POST", target).status, 403, "another group")


@test
def the_role_of_the_socket_is_that_of_its_callers():
    settings = {
        "role web": {"send": TOPIC},
        "role all": {"users": "root", "send": "*", "admin": "yes"},
    }
    with http_stage({"role": "web"}, settings) as (on, path), HttpClient(path) as client:
        equal(client.call("POST", MESSAGES, b"x").status, 200, "its topic")
        equal(client.call("POST", "/v1/topics/Other/messages", b"x").status, 403, "another one")


@test
def who_has_no_role_hears_so_and_is_closed():
    with http_stage(settings={"role other": {"users": "4711", "send": "*"}}) as (on, path):
        with HttpClient(path) as client:
            answer = client.call("GET", "/v1/health")
            equal((answer.status, answer.error), (403, "forbidden"), "the answer")
            check(client.is_ended(), "the connection ends")


@test
def the_mode_of_the_socket_decides_who_gets_to_it():
    needs_root()
    with http_stage({"socket_mode": "0600"}) as (on, path):
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "the mode")
        try:
            OtherUser(path)
            check(False, "another user does not get to it")
        except PermissionError:
            check(True, "another user does not get to it")


@test
def beyond_max_sessions_a_request_is_answered_overloaded():
    with http_stage({"max_sessions": "1"}) as (on, path), HttpClient(path) as first:
        equal(first.call("GET", "/v1/health").status, 200, "the first one")
        with HttpClient(path) as second:
            answer = second.call("GET", "/v1/health")
            equal((answer.status, answer.error), (503, "overloaded"), "the second one")
            contains(answer.json()["remark"], "[http] max_sessions", "the remark")
            equal(answer.fields["retry-after"], "1", "Retry-After")
            check(second.is_ended(), "its connection ends")


@test
def a_connection_is_a_session_that_can_be_seen_and_ended():
    with http_stage() as (on, path), HttpClient(path) as client:
        client.call("GET", "/v1/health")
        rows = on.client().call(GET_SESSIONS).json()["sessions"]
        row = next(row for row in rows if row["listener"] == "http")
        equal((row["pid"], row["requests"]), (os.getpid(), 1), "the row")
        on.client().call(KILL_SESSION, {"session": row["session"]})
        check(client.is_ended(), "the connection ends")


@test
def a_drain_answers_what_is_in_flight_and_refuses_what_comes():
    with http_stage() as (on, path), HttpClient(path) as waiting, HttpClient(path) as idle:
        held = Held()
        on.broker.on(SEND_MESSAGE, held)
        equal(idle.call("GET", "/v1/health").status, 200, "before")
        waiting.request("POST", MESSAGES, b"x")
        held.wait_for(1)
        on.daemon.terminate()
        wait_until(lambda: not os.path.exists(path), 5, "the socket goes")
        answer = idle.call("POST", MESSAGES, b"y")
        equal((answer.status, answer.error, answer.sent), (503, "draining", "no"), "a new request")
        equal(answer.fields["connection"], "close", "Connection")
        equal(answer.fields["retry-after"], "1", "Retry-After")
        for connection, request in held.waiting:
            connection.echo(request)
        equal(waiting.answer().status, 200, "what was in flight")
        equal(on.daemon.wait(), 0, "the exit code")


@test
def requests_by_http_are_counted_and_logged_as_all_others():
    with http_stage() as (on, path), HttpClient(path) as client:
        before = on.client().call(GET_STATS).json()["requests"]
        for _ in range(10):
            equal(client.call("POST", MESSAGES, b"x").status, 200, "a send")
        less(9, on.client().call(GET_STATS).json()["requests"] - before, "requests counted")
        contains(on.daemon.log(), "listener=http", "the log")
        before = on.client().call(GET_STATS).json()
        equal(client.call("GET", "/v1/nothing").status, 404, "a path that is none")
        after = on.client().call(GET_STATS).json()
        equal(after["requestsInvalid"] - before["requestsInvalid"], 1, "what was refused")
        equal(after["failures"] - before["failures"], 1, "failures")
        contains(on.daemon.log(), 'refused error=unsupported cause="/v1/nothing', "the log")


main()
