"""remotingctl against a fake daemon: what goes over the wire, what people and programs read, every exit code.

REMOTINGCTL names the binary. Speaks TAP. Nothing here sleeps: tests wait for processes and for bytes.
"""

import base64
import grp
import json
import os
import pty
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from fake_daemon import (
    PATIENCE_S,
    REMOTINGCTL,
    FakeDaemon,
    Request,
    answer,
    command,
    contains,
    equal,
    exits,
    message,
    pops,
    receipts,
    refused,
    run,
    stored,
    unknown_topic,
)
from other_user import needs_root
from tap import test

ONEWAY = 2
COMMANDS = ["status", "health", "errors", "top", "reconnect", "kill-session", "log-level", "reload", "send", "receive", "peek", "offsets", "dlq", "explain", "route", "bench", "invoke", "ping", "show", "events", "tap", "reachable", "close", "nameservers", "drain"]


def run_alone(*arguments, env=None):
    return subprocess.run([REMOTINGCTL, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=PATIENCE_S, env=dict(os.environ, **(env or {})))


def run_on_terminal(daemon, *arguments):
    """What a person sees."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        tap.skip(f"no pseudo terminal here: {error}")
    process = subprocess.Popen(command(daemon, *arguments), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # EIO: the other end is closed
        pass
    os.close(ours)
    return process.wait(PATIENCE_S), seen.replace(b"\r\n", b"\n")


# send

@test
def send_has_only_the_topic_and_the_body():
    with FakeDaemon(stored) as daemon:
        exits(run(daemon, "send", "t", "hello"), 0)
        request = daemon.requests[0]
        equal((request.code, request.ext, request.body, request.flag), (10, {"topic": "t"}, b"hello", 0))
        equal(request.binary, False)


@test
def send_options_become_ext_fields():
    with FakeDaemon(stored) as daemon:
        exits(run(daemon, "send", "t", "--tag", "T", "--key", "K", "b", "--property", "a=b=c", "--group", "G",
                  "--timeout", "2min", "--key", "L", "--sharding-key", "S"), 0)
        equal(daemon.requests[0].ext, {"topic": "t", "property.TAGS": "T", "property.KEYS": "K L",
                                       "property.a": "b=c", "property.__SHARDINGKEY": "S",
                                       "producerGroup": "G", "sidecar.timeoutMillis": "120000"})


@test
def a_delay_is_a_level_or_a_duration():
    for delay, field in (("3", {"property.DELAY": "3"}), ("18", {"property.DELAY": "18"}),
                         ("90s", {"property.TIMER_DELAY_MS": "90000"}), ("2h", {"property.TIMER_DELAY_MS": "7200000"})):
        with FakeDaemon(stored) as daemon:
            exits(run(daemon, "send", "t", "b", "--delay", delay), 0)
            equal(daemon.requests[0].ext, {"topic": "t", **field})


@test
def a_file_is_one_message_or_one_for_each_line():
    data = b"one\ntwo\n\xff"
    with FakeDaemon(stored) as daemon:
        path = os.path.join(daemon.folder, "file")
        with open(path, "wb") as file:
            file.write(data)
        exits(run(daemon, "send", "t", "--file", path), 0)
        exits(run(daemon, "send", "t", "--file", path, "--lines"), 0)
        exits(run(daemon, "send", "t", "--file", "-", stdin=b"input"), 0)
        equal([r.body for r in daemon.requests], [data, b"one", b"two", b"\xff", b"input"])


@test
def oneway_waits_for_no_answer():
    for arguments, bodies, errors in ((("b",), [b"b"], b""), (("--lines",), [b"1", b"2"], b"sent 2, failed 0\n")):
        arrived = threading.Semaphore(0)
        with FakeDaemon(lambda r: arrived.release()) as daemon:
            result = run(daemon, "send", "t", "--oneway", *arguments, stdin=b"1\n2\n")
            exits(result, 0)
            equal((result.stdout, result.stderr), (b"", errors))
            for _ in bodies:
                equal(arrived.acquire(timeout=PATIENCE_S), True)
            equal([(r.body, r.flag) for r in daemon.requests], [(body, ONEWAY) for body in bodies])


@test
def lines_of_a_sharding_key_wait_for_each_other():
    """Were the second line there before the first one is answered, it would be counted."""
    waiting = []

    def script(request):
        waiting.append(daemon.n_frames_waiting())
        return stored(request)

    with FakeDaemon(script) as daemon:
        exits(run(daemon, "send", "t", "--lines", "--sharding-key", "k", stdin=b"1\n2\n3\n"), 0)
        equal((waiting, [r.body for r in daemon.requests]), ([0, 0, 0], [b"1", b"2", b"3"]))


@test
def send_prints_id_broker_queue_and_offset():
    with FakeDaemon(stored) as daemon:
        equal(run(daemon, "send", "t", "x").stdout,
              b"0A00000100002A9F0000000000001000  broker-a  queue 2  offset 17\n")


@test
def send_prints_a_json_line():
    with FakeDaemon(stored) as daemon:
        result = run(daemon, "send", "t", "x", "--json")
        equal(json.loads(result.stdout), {
            "code": 0, "name": "SUCCESS", "msgId": "0A00000100002A9F0000000000001000", "uniqKey": "U1",
            "brokerName": "broker-a", "queueId": 2, "queueOffset": 17})
        equal(result.stdout.count(b"\n"), 1)


@test
def the_whole_input_is_one_message():
    data = bytes(range(256)) * 1000
    with FakeDaemon(stored) as daemon:
        exits(run(daemon, "send", "t", stdin=data), 0)
        equal([r.body for r in daemon.requests], [data])


@test
def a_body_that_begins_with_a_dash_stands_behind_two():
    with FakeDaemon(stored) as daemon:
        result = subprocess.run([REMOTINGCTL, "send", "--socket", daemon.path, "--", "t", "-x"],
                                capture_output=True, timeout=PATIENCE_S)
        exits(result, 0)
        equal(daemon.requests[0].body, b"-x")


@test
def stored_with_a_warning_is_a_success():
    with FakeDaemon(lambda r: answer(r, 10, {"msgId": "M"})) as daemon:
        result = run(daemon, "send", "t", "x")
        exits(result, 0)
        contains(result.stderr, b"FLUSH_DISK_TIMEOUT")


@test
def lines_are_pipelined_and_answers_may_come_in_any_order():
    waiting = []

    def script(request):
        waiting.append(request)
        if len(waiting) < 64 and len(daemon.requests) < 1000:
            return None
        late_first = [answer(r, ext={"msgId": r.body.decode()}) for r in reversed(waiting)]
        waiting.clear()
        return late_first

    with FakeDaemon(script) as daemon:
        lines = "".join(f"m{i}\n" for i in range(1, 1001)).encode()
        result = run(daemon, "send", "t", "--lines", "--json", stdin=lines)
        exits(result, 0)
        equal(result.stderr, b"sent 1000, failed 0\n")
        equal([r.body.decode() for r in daemon.requests], [f"m{i}" for i in range(1, 1001)])
        printed = [json.loads(line) for line in result.stdout.splitlines()]
        equal({row["line"]: row["msgId"] for row in printed}, {i: f"m{i}" for i in range(1, 1001)})
        equal(printed[0]["line"], 64)


@test
def no_more_than_64_lines_are_in_flight():
    """Answers only when the client has filled its window: were it larger, more than 64 would be there by then."""
    seen_unanswered = []
    window = []

    def script(request):
        window.append(request)
        last = len(daemon.requests) == 200
        if len(window) < 64 and not last:
            return None
        replies = [stored(r) for r in window]
        seen_unanswered.append(len(window) + daemon.n_frames_waiting())
        window.clear()
        return replies

    with FakeDaemon(script) as daemon:
        exits(run(daemon, "send", "t", "--lines", stdin=b"x\n" * 200), 0)
        equal(seen_unanswered, [64, 64, 64, 8])


@test
def a_failed_line_is_named_and_does_not_stop_the_others():
    with FakeDaemon(lambda r: refused(r) if r.body == b"two" else stored(r)) as daemon:
        result = run(daemon, "send", "t", "--lines", stdin=b"one\ntwo\nthree")
        exits(result, 3)
        equal([r.body for r in daemon.requests], [b"one", b"two", b"three"])
        equal(result.stderr, b"line 2: failed: 10.0.0.7:10911 refuses connections (unreachable, sent: no)\n"
                             b"sent 2, failed 1\n")


@test
def lines_are_answered_while_the_input_is_still_open():
    with FakeDaemon(stored) as daemon:
        process = subprocess.Popen(command(daemon, "send", "t", "--lines"), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"first\n")
        process.stdin.flush()
        contains(process.stdout.readline(), b"offset 17")
        _, errors = process.communicate(b"second\n", timeout=PATIENCE_S)
        equal(errors, b"sent 2, failed 0\n")


@test
def lines_without_an_answer_are_counted_when_the_daemon_goes():
    with FakeDaemon(lambda r: stored(r) if len(daemon.requests) == 1 else "close") as daemon:
        result = run(daemon, "send", "t", "--lines", stdin=b"1\n2\n3\n")
        exits(result, 5)
        contains(result.stderr, b"closed the connection")
        contains(result.stderr, b"sent 1, failed 0, without an answer ")


# receive

@test
def receive_asks_for_json_and_prints_bodies_as_lines():
    with FakeDaemon(pops([message("one", "R1"), message("zwei \u00e4", "R2")])) as daemon:
        result = run(daemon, "receive", "t", "g")
        exits(result, 0)
        equal(daemon.requests[0].code, 200050)
        equal(daemon.requests[0].ext, {"topic": "t", "consumerGroup": "g", "maxMsgNums": "32", "pollTime": "5000",
                                       "sidecar.answerFormat": "json"})
        equal(result.stdout.decode(), "one\nzwei \u00e4\n")
        equal([r.ext for r in daemon.requests[1:]], [{"sidecar.receipt": "R1"}, {"sidecar.receipt": "R2"}])


@test
def receive_prints_the_messages_as_json_lines():
    batch = [message("one", "R1", bornTimestamp=1795399903463), message("a\u0000b\nc", "R2", keys=None)]
    with FakeDaemon(pops(batch)) as daemon:
        result = run(daemon, "receive", "t", "g", "--json")
        equal([json.loads(line) for line in result.stdout.splitlines()], batch)
        equal(receipts(daemon), ["R1", "R2"])


@test
def a_message_is_acknowledged_only_after_it_was_printed():
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    printed_before_ack = []

    def script(request):
        if request.code == 200051:
            printed_before_ack.append(os.read(ours, 65536))
        return reply(request)

    reply = pops([message("body", "R1")])
    with FakeDaemon(script) as daemon:
        process = subprocess.Popen(command(daemon, "receive", "t", "g"), stdout=theirs)
        equal(process.wait(PATIENCE_S), 0)
    os.close(ours)
    os.close(theirs)
    equal(printed_before_ack, [b"body\n"])


@test
def what_cannot_be_printed_is_not_acknowledged():
    with FakeDaemon(pops([message("body", "R1")])) as daemon, open("/dev/full", "wb") as full:
        result = subprocess.run(command(daemon, "receive", "t", "g"), stdout=full, stderr=subprocess.PIPE,
                                timeout=PATIENCE_S)
        exits(result, 1)
        contains(result.stderr, b"cannot write to the standard output")
        equal(receipts(daemon), [])


@test
def a_reader_that_went_away_ends_it_quietly_and_nothing_is_acknowledged():
    ours, theirs = os.pipe()
    os.close(ours)
    with FakeDaemon(pops([message("body", "R1")])) as daemon:
        result = subprocess.run(command(daemon, "receive", "t", "g"), stdout=theirs, stderr=subprocess.PIPE,
                                timeout=PATIENCE_S)
        exits(result, -signal.SIGPIPE)
        equal(result.stderr, b"")
        equal(receipts(daemon), [])
    os.close(theirs)


@test
def no_ack_acknowledges_nothing():
    with FakeDaemon(pops([message("one", "R1")])) as daemon:
        equal(run(daemon, "receive", "t", "g", "--no-ack").stdout, b"one\n")
        equal([r.code for r in daemon.requests], [200050])


@test
def max_stops_after_that_many_messages():
    with FakeDaemon(pops([message(str(i), f"R{i}") for i in range(32)],
                         [message(str(i), f"R{i}") for i in range(32, 40)])) as daemon:
        result = run(daemon, "receive", "t", "g", "-n", "40", "--wait", "500ms", "--invisible", "2min")
        exits(result, 0)
        equal(result.stdout.split(), [str(i).encode() for i in range(40)])
        asked = [r.ext for r in daemon.requests if r.code == 200050]
        equal([(e["maxMsgNums"], e["pollTime"], e["invisibleTime"]) for e in asked],
              [("32", "500", "120000"), ("8", "500", "120000")])


@test
def nothing_there_is_exit_code_4():
    for code in (210, 19, 209):
        with FakeDaemon(lambda r, code=code: answer(r, code, remark="none")) as daemon:
            result = run(daemon, "receive", "t", "g")
            exits(result, 4)
            equal((result.stdout, result.stderr), (b"", b""))
    with FakeDaemon(lambda r: answer(r, body=b"[]")) as daemon:
        exits(run(daemon, "receive", "t", "g"), 4)


@test
def follow_goes_on_until_interrupted():
    for number in (signal.SIGINT, signal.SIGTERM):
        asked_again = threading.Event()

        def script(request, asked_again=asked_again):
            if request.code == 200051:
                return answer(request)
            n = sum(r.code == 200050 for r in daemon.requests)
            if n < 3:
                return answer(request, body=json.dumps([message(f"m{n}", f"R{n}")]).encode())
            asked_again.set()
            return None

        with FakeDaemon(script) as daemon:
            process = subprocess.Popen(command(daemon, "receive", "t", "g", "--follow"), stdout=subprocess.PIPE)
            equal(asked_again.wait(PATIENCE_S), True)
            process.send_signal(number)
            output, _ = process.communicate(timeout=PATIENCE_S)
            equal((process.returncode, output), (0, b"m1\nm2\n"))
            equal(receipts(daemon), ["R1", "R2"])


@test
def follow_goes_on_when_what_failed_may_pass_and_ends_when_it_cannot():
    def script(request):
        if request.code == 200051:
            return answer(request)
        n = sum(r.code == 200050 for r in daemon.requests)
        if n == 1:
            return refused(request)
        if n == 2:
            return answer(request, body=json.dumps([message("after", "R1")]).encode())
        return answer(request, 10005, {"sidecar.error": "no-route", "sidecar.sent": "no"}, remark="no topic t")

    with FakeDaemon(script) as daemon:
        result = run(daemon, "receive", "t", "g", "--follow")
        exits(result, 3)
        equal(result.stdout, b"after\n")
        contains(result.stderr, b"10.0.0.7:10911 refuses connections")
        contains(result.stderr, b"no topic t")
        equal(receipts(daemon), ["R1"])


@test
def filters_are_sent_with_the_request():
    for arguments, expected in ((("--tag", "T"), ("TAG", "T")), (("--filter", "A || B"), ("TAG", "A || B")),
                                (("--sql", "a > 1"), ("SQL92", "a > 1"))):
        with FakeDaemon(pops([message("one", "R1")])) as daemon:
            exits(run(daemon, "receive", "t", "g", *arguments), 0)
            equal((daemon.requests[0].ext["expType"], daemon.requests[0].ext["exp"]), expected)


@test
def the_format_says_what_stands_between_the_bodies():
    batch = [message("one", "R1"), message("two", "R2")]
    for arguments, expected in ((("--format", "text"), b"one\ntwo\n"), (("--format", "raw"), b"onetwo")):
        with FakeDaemon(pops(batch)) as daemon:
            equal(run(daemon, "receive", "t", "g", *arguments).stdout, expected)
            equal(receipts(daemon), ["R1", "R2"])
    with FakeDaemon(pops(batch)) as daemon:
        result = run(daemon, "receive", "t", "g", "--format", "json")
        equal([json.loads(line) for line in result.stdout.splitlines()], batch)


@test
def a_daemon_that_stops_ends_the_following_and_says_what_to_do():
    draining = {"sidecar.error": "draining", "sidecar.sent": "no"}
    for last_reply, told in ((lambda r: answer(r, 2, draining, remark="it is stopping"), b"draining"),
                             (lambda _: "close", b"closed the connection")):
        reply = pops([message("one", "R1")])

        def script(request, reply=reply, last_reply=last_reply):
            return last_reply(request) if len(daemon.requests) > 2 else reply(request)

        with FakeDaemon(script) as daemon:
            result = run(daemon, "receive", "t", "g", "--follow")
            exits(result, 5)
            equal((result.stdout, receipts(daemon)), (b"one\n", ["R1"]))
            contains(result.stderr, told)
            contains(result.stderr, b"Start it again when the daemon is back")


@test
def binary_bodies_arrive_as_their_bytes():
    data = bytes(range(256))
    for body in (data, data[:255], data[:254], b""):
        text = base64.b64encode(body).decode()
        with FakeDaemon(pops([message(text, "R1", encoding="base64")])) as daemon:
            equal(run(daemon, "receive", "t", "g").stdout, body + b"\n")
            equal(receipts(daemon), ["R1"])


@test
def a_message_that_cannot_be_decoded_is_told_and_not_acknowledged():
    raw = {"raw": "AAEC", "reason": "zlib: damaged", "brokerName": "broker-a", "receipt": "R1"}
    with FakeDaemon(pops([raw, message("two", "R2")])) as daemon:
        result = run(daemon, "receive", "t", "g")
        equal(result.stdout, b"two\n")
        contains(result.stderr, b"a message from broker-a cannot be shown and is not acknowledged: zlib: damaged")
        equal(receipts(daemon), ["R2"])
    with FakeDaemon(pops([raw])) as daemon:
        equal(json.loads(run(daemon, "receive", "t", "g", "--json").stdout), raw)
        equal(receipts(daemon), ["R1"])


@test
def an_acknowledgement_that_fails_is_told():
    reply = pops([message("one", "R1"), message("two", "R2")])
    with FakeDaemon(lambda r: refused(r) if r.ext.get("sidecar.receipt") == "R1" else reply(r)) as daemon:
        result = run(daemon, "receive", "t", "g")
        exits(result, 3)
        equal(result.stdout, b"one\ntwo\n")
        equal(result.stderr, b"acknowledgement failed: 10.0.0.7:10911 refuses connections (unreachable, sent: no)\n")
        equal(receipts(daemon), ["R1", "R2"])


@test
def an_answer_that_is_no_array_of_messages_is_exit_code_5():
    for body in (b"", b"{}", b"[", b"\xff"):
        with FakeDaemon(lambda r, body=body: answer(r, body=body)) as daemon:
            exits(run(daemon, "receive", "t", "g"), 5)


# peek

def queue_of(*rows, first=0):
    """A script: PULL by offset, as a broker does it; rows begin at the offset `first`."""
    def script(request):
        at = int(request.ext["queueOffset"])
        end = first + len(rows)
        if at < first or at > end:
            return answer(request, 21, {"nextBeginOffset": str(first if at < first else end)})
        if at == end:
            return answer(request, 19, {"nextBeginOffset": str(at)})
        found = rows[at - first:at - first + min(2, int(request.ext["maxMsgNums"]))]
        return answer(request, ext={"nextBeginOffset": str(at + len(found))}, body=json.dumps(found).encode())
    return script


def kept(offset, body="body", **more):
    row = message(body, None, queueOffset=offset, bornTimestamp=1795399903463, tags="T", keys="K", **more)
    del row["receipt"]
    return row


@test
def peek_pulls_from_the_named_queue_and_commits_nothing():
    with FakeDaemon(queue_of(kept(7), first=7)) as daemon:
        exits(run(daemon, "peek", "t", "--broker", "b", "--queue", "3", "--offset", "7", "--count", "1"), 0)
        equal([(r.code, r.ext) for r in daemon.requests], [(11, {
            "sidecar.broker": "b", "sidecar.answerFormat": "json", "consumerGroup": "TOOLS_CONSUMER", "topic": "t",
            "queueId": "3", "queueOffset": "7", "maxMsgNums": "1", "sysFlag": "4", "commitOffset": "0",
            "suspendTimeoutMillis": "0", "subscription": "*", "expressionType": "TAG", "subVersion": "0"})])


@test
def peek_prints_a_table_from_the_oldest_message_on():
    rows = [kept(5), kept(6, body="\u00e4" * 40), kept(7, body=base64.b64encode(b"\xff\xfe").decode(), encoding="base64")]
    with FakeDaemon(queue_of(*rows, first=5)) as daemon:
        result = run(daemon, "peek", "t", "--broker", "b", "--queue", "0")
        exits(result, 0)
        equal([r.ext["queueOffset"] for r in daemon.requests], ["0", "5", "7", "8"])
        lines = [line.split(maxsplit=6) for line in result.stdout.decode(errors="replace").splitlines()]
        equal(lines[0], ["OFFSET", "SENT", "TAG", "KEYS", "BYTES", "BODY"])
        equal([[row[0], *row[3:6]] for row in lines[1:]],
              [["5", "T", "K", "4"], ["6", "T", "K", "80"], ["7", "T", "K", "2"]])
        equal([row[6] for row in lines[1:3]], ["body", "\u00e4" * 30])


@test
def peek_stops_at_the_count_and_prints_json_lines():
    rows = [kept(i) for i in range(5)]
    with FakeDaemon(queue_of(*rows)) as daemon:
        result = run(daemon, "peek", "t", "--broker", "b", "--queue", "0", "-n", "3", "--json")
        exits(result, 0)
        equal([json.loads(line) for line in result.stdout.splitlines()], rows[:3])
        equal([r.ext["maxMsgNums"] for r in daemon.requests], ["3", "1"])


@test
def peek_at_the_end_of_a_queue_or_behind_it_finds_nothing():
    for offset in ("2", "9"):
        with FakeDaemon(queue_of(kept(0), kept(1))) as daemon:
            result = run(daemon, "peek", "t", "--broker", "b", "--queue", "0", "--offset", offset)
            exits(result, 4)
            equal((result.stdout, len(daemon.requests)), (b"", 1))


@test
def peek_shows_what_it_found_before_a_failure():
    found = queue_of(kept(0), kept(1), kept(2))
    with FakeDaemon(lambda r: found(r) if r.ext["queueOffset"] == "0" else refused(r)) as daemon:
        result = run(daemon, "peek", "t", "--broker", "b", "--queue", "0")
        exits(result, 3)
        equal(len(result.stdout.splitlines()), 3)
        contains(result.stderr, b"refuses connections")


# route

ROUTE = {"brokerDatas": [{"brokerAddrs": {"0": "10.0.0.7:10911", "1": "10.0.0.8:10911"}, "brokerName": "broker-a",
                          "cluster": "C1"},
                         {"brokerAddrs": {"1": "10.0.0.9:10911"}, "brokerName": "b", "cluster": "C1"}],
         "queueDatas": [{"brokerName": "broker-a", "perm": 6, "readQueueNums": 8, "writeQueueNums": 4,
                         "topicSysFlag": 0},
                        {"brokerName": "b", "perm": 4, "readQueueNums": 2, "writeQueueNums": 2, "topicSysFlag": 0}]}


@test
def route_prints_a_table():
    with FakeDaemon(lambda r: answer(r, body=json.dumps(ROUTE).encode())) as daemon:
        result = run(daemon, "route", "t")
        exits(result, 0)
        equal((daemon.requests[0].code, daemon.requests[0].ext), (105, {"topic": "t"}))
        rows = {tuple(line.split()) for line in result.stdout.decode().splitlines()}
        equal(rows, {("BROKER", "CLUSTER", "MASTER", "PERM", "READ", "WRITE"),
                     ("broker-a", "C1", "10.0.0.7:10911", "RW", "8", "4"), ("b", "C1", "-", "R-", "2", "2")})


@test
def route_prints_the_nameservers_json():
    with FakeDaemon(lambda r: answer(r, body=json.dumps(ROUTE).encode())) as daemon:
        equal(json.loads(run(daemon, "route", "t", "--json").stdout), ROUTE)


@test
def a_route_that_is_none_is_exit_code_5():
    with FakeDaemon(lambda r: answer(r, body=b"nonsense")) as daemon:
        result = run(daemon, "route", "t")
        exits(result, 5)
        contains(result.stderr, b"TopicRouteData")


# offsets

TWO_QUEUES = {"brokerDatas": [{"brokerAddrs": {"0": "10.0.0.7:10911"}, "brokerName": "a", "cluster": "C"},
                              {"brokerAddrs": {"0": "10.0.0.8:10911"}, "brokerName": "b", "cluster": "C"}],
              "queueDatas": [{"brokerName": "a", "perm": 6, "readQueueNums": 2, "writeQueueNums": 1, "topicSysFlag": 0},
                             {"brokerName": "b", "perm": 4, "readQueueNums": 1, "writeQueueNums": 4, "topicSysFlag": 0}]}


def brokers_offsets(request):
    """Of queue N: the messages from 10N to 100N+50, the group at 20, nothing at all of the group on broker b."""
    if request.code == 105:
        return answer(request, body=json.dumps(TWO_QUEUES).encode())
    queue = int(request.ext["queueId"])
    if request.code == 14 and request.ext["sidecar.broker"] == "b":
        return answer(request, 22, remark="Not found, maybe this group consumer boot first")
    return answer(request, ext={"offset": str({31: 10 * queue, 30: 100 * queue + 50, 14: 20, 29: 33}[request.code])})


@test
def offsets_prints_a_row_for_each_queue_that_can_be_read():
    with FakeDaemon(brokers_offsets) as daemon:
        result = run(daemon, "offsets", "t")
        exits(result, 0)
        equal(rows_of(result), [["BROKER", "QUEUE", "MIN", "MAX"], ["a", "0", "0", "50"], ["a", "1", "10", "150"],
                                ["b", "0", "0", "50"]])
        equal([r.ext for r in daemon.requests[1:3]], [{"topic": "t", "sidecar.broker": "a", "queueId": "0"}] * 2)
        equal(sorted(r.code for r in daemon.requests), [30] * 3 + [31] * 3 + [105])


@test
def offsets_of_a_group_have_the_lag():
    with FakeDaemon(brokers_offsets) as daemon:
        result = run(daemon, "offsets", "t", "g")
        exits(result, 0)
        equal(rows_of(result)[0][4:], ["GROUP", "LAG"])
        equal([row[4:] for row in rows_of(result)[1:]], [["20", "30"], ["20", "130"], ["-", "-"]])
        asked = [r.ext for r in daemon.requests if r.code == 14]
        equal({(e["consumerGroup"], e["setZeroIfNotFound"]) for e in asked}, {("g", "false")})
        rows = [json.loads(line) for line in run(daemon, "offsets", "t", "g", "--json").stdout.splitlines()]
        equal(rows[1:], [{"brokerName": "a", "queueId": 1, "minOffset": 10, "maxOffset": 150, "consumerOffset": 20,
                          "lag": 130},
                         {"brokerName": "b", "queueId": 0, "minOffset": 0, "maxOffset": 50, "consumerOffset": None,
                          "lag": None}])


@test
def offsets_at_a_time():
    for time, expected in (("1700000000123", "1700000000123"), ("2023-11-14T22:13:20Z", "1700000000000"),
                           ("2023-11-14 22:13Z", "1699999980000"), ("2023-11-14Z", "1699920000000")):
        with FakeDaemon(brokers_offsets) as daemon:
            result = run(daemon, "offsets", "t", "--at", time)
            exits(result, 0)
            equal([row[4] for row in rows_of(result)], ["AT", "33", "33", "33"])
            equal({(r.ext["timestamp"], r.ext["boundaryType"]) for r in daemon.requests if r.code == 29},
                  {(expected, "LOWER")})


@test
def offsets_of_a_broker_that_is_away_are_told_once_and_the_others_shown():
    away = lambda r: r.ext.get("sidecar.broker") == "a"
    with FakeDaemon(lambda r: refused(r) if away(r) else brokers_offsets(r)) as daemon:
        result = run(daemon, "offsets", "t")
        exits(result, 3)
        equal(rows_of(result)[1:], [["a", "0", "-", "-"], ["a", "1", "-", "-"], ["b", "0", "0", "50"]])
        equal(result.stderr,
              b"a queue 0: failed: 10.0.0.7:10911 refuses connections (unreachable, sent: no)\n")
    with FakeDaemon(unknown_topic) as daemon:
        exits(run(daemon, "offsets", "t"), 1)
    with FakeDaemon(lambda r: answer(r, body=json.dumps({**TWO_QUEUES, "queueDatas": []}).encode())) as daemon:
        exits(run(daemon, "offsets", "t"), 4)


# bench

def bench(daemon, *arguments):
    result = run(daemon, "bench", *arguments, "--json")
    return result, json.loads(result.stdout)


@test
def bench_sends_as_many_messages_as_it_is_told():
    with FakeDaemon(stored) as daemon:
        result, row = bench(daemon, "send", "t", "--count", "500", "--size", "7", "--callers", "1",
                            "--timeout", "9s")
        exits(result, 0)
        equal((row["operation"], row["messages"], row["failed"], row["failures"]), ("send", 500, 0, {}))
        equal({(r.code, r.ext["topic"], r.ext["sidecar.timeoutMillis"], len(r.body)) for r in daemon.requests},
              {(10, "t", "9000", 7)})
        equal(len(daemon.requests), 500)
        latency = row["latencyMicros"]
        equal(0 < latency["p50"] <= latency["p99"] <= latency["max"], True)
        equal(round(row["messagesPerSecond"] * row["seconds"]), 500)


@test
def bench_keeps_as_many_in_flight_as_it_is_told():
    window = []

    def script(request):
        window.append(request)
        if len(window) < 5:
            return None
        replies = [stored(r) for r in window]
        window.clear()
        seen.append(daemon.n_frames_waiting())
        return replies

    seen = []
    with FakeDaemon(script) as daemon:
        result, row = bench(daemon, "send", "t", "--count", "20", "--callers", "1", "--in-flight", "5")
        exits(result, 0)
        equal((row["messages"], seen), (20, [0, 0, 0, 0]))


@test
def bench_counts_failures_by_cause():
    def script(request):
        n = len(daemon.requests)
        return refused(request) if n % 4 == 0 else unknown_topic(request) if n % 4 == 1 else stored(request)

    with FakeDaemon(script) as daemon:
        result, row = bench(daemon, "send", "t", "--count", "8", "--callers", "1", "--in-flight", "1")
        exits(result, 1)
        equal((row["messages"], row["failed"]), (4, 4))
        equal(row["failures"], {"unreachable": 2, "TOPIC_NOT_EXIST": 2})


@test
def bench_receives_and_acknowledges():
    batches = pops([message(str(i), f"R{i}") for i in range(20)], [message("x", f"S{i}") for i in range(10)])
    with FakeDaemon(batches) as daemon:
        result, row = bench(daemon, "receive", "t", "--count", "30", "--callers", "1", "--in-flight", "1")
        exits(result, 0)
        equal((row["operation"], row["messages"], row["failed"]), ("receive", 30, 0))
        equal([(r.ext["consumerGroup"], r.ext["maxMsgNums"]) for r in daemon.requests if r.code == 200050],
              [("remotingctl-bench", "30"), ("remotingctl-bench", "10")])
        equal(sorted(receipts(daemon)), sorted([f"R{i}" for i in range(20)] + [f"S{i}" for i in range(10)]))


@test
def bench_ends_after_its_seconds_or_an_interrupt_and_tells_what_there_was():
    with FakeDaemon(lambda r: answer(r, 210)) as daemon:
        result = run(daemon, "bench", "receive", "t", "--seconds", "1", "--callers", "1", "--in-flight", "1")
        exits(result, 4)
        contains(result.stdout, b"received 0 messages in 1.")
    enough = threading.Event()

    def script(request):
        if len(daemon.requests) == 100:
            enough.set()
        return stored(request)

    with FakeDaemon(script) as daemon:
        process = subprocess.Popen(command(daemon, "bench", "send", "t", "--seconds", "600", "--callers", "1"),
                                   stdout=subprocess.PIPE)
        equal(enough.wait(PATIENCE_S), True)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        equal(process.returncode, 0)
        contains(output, b" messages/s\nlatency: p50 ")


@test
def bench_tells_what_it_measured_when_the_daemon_goes():
    with FakeDaemon(lambda r: stored(r) if len(daemon.requests) < 10 else "close") as daemon:
        result, row = bench(daemon, "send", "t", "--callers", "1", "--in-flight", "1")
        exits(result, 5)
        equal(row["messages"], 9)


# invoke

@test
def invoke_takes_names_and_numbers_and_fields():
    with FakeDaemon(lambda r: answer(r)) as daemon:
        exits(run(daemon, "invoke", "GET_MAX_OFFSET", "topic=t", "queueId=0", "--broker", "broker-a", "--body", "b"), 0)
        exits(run(daemon, "invoke", "30", "--addr", "nameserver", "--timeout", "1s", "x=y=z", "--body-file", "-",
                  stdin=b"in"), 0)
        equal([(r.code, r.ext, r.body) for r in daemon.requests], [
            (30, {"topic": "t", "queueId": "0", "sidecar.broker": "broker-a"}, b"b"),
            (30, {"sidecar.addr": "nameserver", "sidecar.timeoutMillis": "1000", "x": "y=z"}, b"in")])


@test
def invoke_prints_the_whole_answer():
    with FakeDaemon(lambda r: answer(r, 0, {"offset": "42"}, b'{"a":[1]}', "FOUND")) as daemon:
        equal(run(daemon, "invoke", "30").stdout,
              b'code: 0 SUCCESS\nremark: FOUND\n  offset = 42\n\n{\n  "a": [\n    1\n  ]\n}\n')
        equal(json.loads(run(daemon, "invoke", "30", "--json").stdout),
              {"code": 0, "name": "SUCCESS", "remark": "FOUND", "extFields": {"offset": "42"}, "body": {"a": [1]}})


@test
def invoke_shows_text_as_it_is_and_bytes_as_a_hint():
    for body, seen, as_json in ((b"a text", b"\na text\n", {"body": "a text"}),
                                (b"\xff\x00\x01", b"\n(3 bytes that are no text", {"bodyBase64": "/wAB"})):
        with FakeDaemon(lambda r, body=body: answer(r, body=body)) as daemon:
            contains(run(daemon, "invoke", "30").stdout, seen)
            equal(run(daemon, "invoke", "30", "--raw").stdout, body)
            printed = json.loads(run(daemon, "invoke", "30", "--json").stdout)
            equal({key: printed[key] for key in as_json}, as_json)


@test
def invoke_writes_binary_headers_with_large_codes_beside_them():
    with FakeDaemon(lambda r: answer(r)) as daemon:
        exits(run(daemon, "invoke", "POP_MESSAGE", "topic=t", "--binary"), 0)
        exits(run(daemon, "invoke", "105", "topic=t", "--binary"), 0)
        equal([(r.binary, r.code, r.ext) for r in daemon.requests], [
            (True, 30000, {"topic": "t", "sidecar.code": "200050"}), (True, 105, {"topic": "t"})])


@test
def invoke_oneway_waits_for_no_answer():
    arrived = threading.Event()
    with FakeDaemon(lambda r: arrived.set()) as daemon:
        exits(run(daemon, "invoke", "15", "--oneway"), 0)
        equal(arrived.wait(PATIENCE_S), True)
        equal(daemon.requests[0].flag, ONEWAY)


# ping

@test
def ping_prints_versions_and_the_round_trip():
    hello = json.dumps({"protocolVersion": "1.0", "daemonVersion": "0.1.0"}).encode()
    with FakeDaemon(lambda r: answer(r, body=hello)) as daemon:
        result = run(daemon, "ping", "--count", "3")
        exits(result, 0)
        equal([(r.code, r.ext) for r in daemon.requests], [(30000, {})] * 3)
        lines = result.stdout.decode().splitlines()
        for line in lines[:3]:
            contains(line, "protocol 1.0, remotingd 0.1.0: ")
            equal(line.endswith(" us"), True)
        contains(lines[3], "3 round trips: ")
        row = json.loads(run(daemon, "ping", "--json").stdout)
        equal((row["protocolVersion"], row["daemonVersion"], row["roundTripMicros"] > 0), ("1.0", "0.1.0", True))


# the daemon's own commands

def says(body):
    """A script: every request is answered by this JSON."""
    return lambda r: answer(r, body=json.dumps(body).encode())


def event(number, name, **more):
    """What the daemon sends to a subscriber, on its own account."""
    ext = {"event": name, "addr": "10.0.0.7:10911", "connection": str(number), "cause": "Connection refused", **more}
    head = json.dumps({"code": 30009, "flag": ONEWAY, "language": "CPP", "version": 479, "opaque": 0,
                       "extFields": ext}).encode()
    return struct.pack(">II", 4 + len(head), len(head)) + head


def rows_of(result):
    return [line.split() for line in result.stdout.decode().splitlines()]


NAMESERVERS = {"nameservers": [{"addr": "10.0.0.1:9876", "isCurrent": False, "isAvailable": False},
                               {"addr": "10.0.0.2:9876", "isCurrent": True, "isAvailable": True,
                                "score": 12.34, "latencyMillis": 4, "successes": 7, "failures": 2, "more": 1}],
               "reason": "faster"}
COUNTS = {"total": 2, "active": 1, "idle": 1, "healthy": 2, "max_connections": 4, "utilization": 0.5, "error_rate": 0.1,
          "total_requests": 30, "total_errors": 3, "latencies": {"p50": 400, "p99": 900, "max": 1200}}
POOLS = {**COUNTS, "addresses": [
    {**COUNTS, "addr": "10.0.0.7:10911", "class": "normal", "state": "ready", "waiting": 0,
     "connections": [{"id": 1, "state": "ready", "inFlight": 5}],
     "backoff": {"failures": 0, "nextAttemptMillis": 0, "cause": None}},
    {**COUNTS, "addr": "10.0.0.8:10911", "class": "normal", "state": "backing off", "waiting": 7, "connections": [],
     "backoff": {"failures": 2, "nextAttemptMillis": 150, "cause": "Connection refused"}}]}


@test
def show_asks_for_what_is_named_and_prints_a_table():
    with FakeDaemon(says(NAMESERVERS)) as daemon:
        result = run(daemon, "show", "nameservers")
        exits(result, 0)
        equal((daemon.requests[0].code, daemon.requests[0].ext), (30001, {}))
        equal(rows_of(result), [["NAMESERVER", "CURRENT", "AVAILABLE", "SCORE", "LATENCY", "ANSWERED", "FAILED"],
                                ["10.0.0.1:9876", "-", "no", "-", "-", "0", "0"],
                                ["10.0.0.2:9876", "yes", "(faster)", "yes", "12.3", "4.0", "7", "2"]])


@test
def show_pools_has_a_row_for_each_address_and_one_for_all():
    with FakeDaemon(says(POOLS)) as daemon:
        result = run(daemon, "show", "pools")
        exits(result, 0)
        equal(daemon.requests[0].code, 30006)
        lines = result.stdout.decode().splitlines()
        equal(len(lines), 4)
        equal(lines[1].split(), ["10.0.0.7:10911", "normal", "ready", "0", "2", "1", "30", "3", "400", "900", "1200", "-"])
        contains(lines[2], "backing off")
        contains(lines[2], "Connection refused (2 failed, next attempt in 150 ms)")
        equal(lines[3].split(), ["all", "-", "-", "7", "2", "1", "30", "3", "400", "900", "1200", "-"])


@test
def show_pools_promises_no_time_for_an_attempt_that_waits_for_somebody_who_needs_the_address():
    row = {**POOLS["addresses"][1], "backoff": {"failures": 2, "nextAttemptMillis": 0, "cause": "Connection refused"}}
    with FakeDaemon(says({**POOLS, "addresses": [row]})) as daemon:
        result = run(daemon, "show", "pools")
        exits(result, 0)
        contains(result.stdout.decode(), "Connection refused (2 failed, next attempt when it is needed)")


@test
def show_stats_prints_whatever_is_counted():
    with FakeDaemon(says({"requests": 7, "a newer one": 8, "drain": {"state": "RUNNING"}, "list": []})) as daemon:
        result = run(daemon, "show", "stats")
        exits(result, 0)
        equal(daemon.requests[0].code, 30012)
        equal([" ".join(row) for row in rows_of(result)],
              ["NAME VALUE", "requests 7", "a newer one 8", "drain.state RUNNING"])


def session_row(session, **more):
    return {"session": session, "pid": 77, "uid": 33, "gid": 34, "unit": "shop.service", "listener": "web", "role": "shop",
            "isAdmin": False, "isTurnedAway": False, "isAsking": False, "state": "open", "ageMillis": 61000, "requests": 9,
            "forbidden": 1, "inFlight": 2, "longPolls": 3, "unwritten": 0, **more}


@test
def show_sessions_has_a_row_for_each_and_none_where_nothing_is_known():
    rows = [session_row(5), session_row(6, pid=0, uid=None, gid=None, unit=None, listener=None, role=None, isAdmin=True,
                                        ageMillis=999)]
    with FakeDaemon(says({"sessions": rows, "next": None})) as daemon:
        result = run(daemon, "show", "sessions")
        exits(result, 0)
        equal([(r.code, r.ext) for r in daemon.requests], [(30014, {})])
        equal(rows_of(result)[1:], [
            ["5", "77", "33", "34", "shop.service", "web", "shop", "-", "open", "1min", "9", "1", "2", "3"],
            ["6", "0", "-", "-", "-", "-", "-", "yes", "open", "0s", "9", "1", "2", "3"]])


@test
def show_sessions_shows_an_age_in_its_largest_unit():
    ages = {1000: "1s", 59999: "59s", 60000: "1min", 3600000: "1h", 86399999: "23h", 172800000: "2d"}
    rows = [session_row(i, ageMillis=ms) for i, ms in enumerate(ages, 1)]
    with FakeDaemon(says({"sessions": rows, "next": None})) as daemon:
        equal([row[9] for row in rows_of(run(daemon, "show", "sessions"))[1:]], list(ages.values()))


@test
def show_sessions_goes_on_until_there_is_no_more():
    pages = {None: ([5], 5), "5": ([8, 9], 9), "9": ([12], None)}

    def script(request):
        sessions, last = pages[request.ext.get("after")]
        return answer(request, body=json.dumps({"sessions": [session_row(n) for n in sessions], "next": last}).encode())

    with FakeDaemon(script) as daemon:
        result = run(daemon, "show", "sessions")
        exits(result, 0)
        equal([row[0] for row in rows_of(result)], ["SESSION", "5", "8", "9", "12"])
    with FakeDaemon(script) as daemon:
        result = run(daemon, "show", "sessions", "--json")
        exits(result, 0)
        equal([json.loads(line)["next"] for line in result.stdout.splitlines()], [5, 9, None])


@test
def show_sessions_does_not_go_in_circles():
    with FakeDaemon(says({"sessions": [session_row(5)], "next": 5})) as daemon:
        exits(run(daemon, "show", "sessions"), 0)
        equal([r.ext for r in daemon.requests], [{}, {"after": "5"}])


@test
def show_prints_the_daemons_json_as_it_is():
    text = b'{"nameservers": [ ],"more":1.50}'
    for what in ("nameservers", "pools", "stats"):
        with FakeDaemon(lambda r: answer(r, body=text)) as daemon:
            result = run(daemon, "show", what, "--json")
            exits(result, 0)
            equal(result.stdout, text + b"\n")


@test
def an_answer_without_an_object_is_exit_code_5():
    for body in (b"", b"[]", b"nonsense"):
        for arguments in (["show", "stats"], ["show", "stats", "--json"], ["drain"], ["reachable", "h:1"]):
            with FakeDaemon(lambda r, body=body: answer(r, body=body)) as daemon:
                result = run(daemon, *arguments)
                exits(result, 5)
                contains(result.stderr, b"no JSON object")
                equal(result.stdout, b"")


@test
def events_are_a_line_each_as_they_come():
    with FakeDaemon(lambda r: [answer(r), event(1, "CONNECTED", cause=""), event(2, "EXCEPTION", dropped="17")]) as daemon:
        process = subprocess.Popen(command(daemon, "events", "--follow"), stdout=subprocess.PIPE)
        lines = [process.stdout.readline().decode() for _ in range(3)]
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
        equal((daemon.requests[0].code, daemon.requests[0].ext), (30009, {"all": "true"}))
        equal(lines[0].split()[1:], ["CONNECTED", "10.0.0.7:10911", "1"])
        equal(lines[1], "# 17 events before this one were lost\n")
        equal(lines[2].split()[1:], ["EXCEPTION", "10.0.0.7:10911", "2", "Connection", "refused"])
        contains(lines[0].split()[0], "T")


@test
def the_first_event_is_enough_without_follow():
    with FakeDaemon(lambda r: [event(1, "IDLE"), answer(r), event(2, "EXCEPTION", dropped="3"),
                               event(4, "IDLE")]) as daemon:
        result = run(daemon, "events", "--json")
        exits(result, 0)
        row = json.loads(result.stdout)
        equal(row.pop("time").endswith("Z"), True)
        equal(row, {"event": "EXCEPTION", "addr": "10.0.0.7:10911", "connection": 2, "cause": "Connection refused",
                    "dropped": 3})


@test
def events_end_with_the_daemon_and_exit_code_5():
    def script(request):
        daemon.connection.sendall(answer(request) + event(1, "CONNECTED"))
        return "close"

    with FakeDaemon(script) as daemon:
        result = run(daemon, "events", "--follow")
        exits(result, 5)
        contains(result.stdout, b"CONNECTED")
        contains(result.stderr, b"closed the connection")


@test
def reachable_asks_for_all_at_once_and_prints_them_in_their_order():
    waiting = []

    def script(request):
        waiting.append(request)
        if len(waiting) < 3:
            return None
        return [answer(r, body=json.dumps({"addr": r.ext["addr"], "reachable": r.ext["addr"] != "b:2",
                                           "rttMicros": None if r.ext["addr"] == "b:2" else 400,
                                           "cause": "Connection refused" if r.ext["addr"] == "b:2" else None}).encode())
                for r in reversed(waiting)]

    with FakeDaemon(script) as daemon:
        result = run(daemon, "reachable", "a:1", "b:2", "nameserver", "--timeout", "2s")
        exits(result, 3)
        equal([(r.code, r.ext["sidecar.timeoutMillis"]) for r in daemon.requests], [(30004, "2000")] * 3)
        equal(rows_of(result), [["ADDRESS", "REACHABLE", "RTT", "CAUSE"], ["a:1", "yes", "400", "-"],
                                ["b:2", "no", "-", "Connection", "refused"], ["nameserver", "yes", "400", "-"]])


@test
def reachable_tells_what_the_daemon_forbids_and_prints_the_rest():
    def script(request):
        if request.ext["addr"] == "b:2":
            return answer(request, 16, {"sidecar.error": "forbidden", "sidecar.sent": "no"}, remark="not there")
        return answer(request, body=b'{"addr":"a:1","reachable":true,"rttMicros":5,"cause":null}')

    with FakeDaemon(script) as daemon:
        result = run(daemon, "reachable", "b:2", "a:1", "--json")
        exits(result, 3)
        equal(result.stderr, b"b:2: failed: not there (forbidden, sent: no)\n")
        equal(result.stdout, b'{"addr":"a:1","reachable":true,"rttMicros":5,"cause":null}\n')
    with FakeDaemon(says({"addr": "a:1", "reachable": True, "rttMicros": 5, "cause": None})) as daemon:
        exits(run(daemon, "reachable", "a:1"), 0)


@test
def close_names_the_addresses_in_the_body():
    body = {"closed": [{"addr": "a:1", "connections": 2}, {"addr": "b:2", "connections": 1}]}
    with FakeDaemon(says(body)) as daemon:
        result = run(daemon, "close", "a:1", "b:2")
        exits(result, 0)
        equal((daemon.requests[0].code, json.loads(daemon.requests[0].body)), (30005, ["a:1", "b:2"]))
        equal(result.stdout, b"a:1  2 connections\nb:2  1 connection\n")
        equal(json.loads(run(daemon, "close", "a:1", "b:2", "--json").stdout), body)


@test
def nameservers_set_names_the_new_list_in_the_body():
    body = {**NAMESERVERS, "removed": [{"addr": "10.0.0.3:9876", "connections": 1}]}
    with FakeDaemon(says(body)) as daemon:
        result = run(daemon, "nameservers", "set", "10.0.0.1:9876", "10.0.0.2:9876")
        exits(result, 0)
        equal((daemon.requests[0].code, json.loads(daemon.requests[0].body)),
              (30002, ["10.0.0.1:9876", "10.0.0.2:9876"]))
        equal(result.stdout, b"10.0.0.1:9876\n10.0.0.2:9876  current\nremoved 10.0.0.3:9876\n")
        equal(json.loads(run(daemon, "nameservers", "set", "h:1", "--json").stdout), body)


@test
def drain_says_what_is_in_flight():
    with FakeDaemon(says({"inFlight": 3, "timeoutMillis": 30000})) as daemon:
        result = run(daemon, "drain")
        exits(result, 0)
        equal(daemon.requests[0].code, 30016)
        equal(result.stdout, b"draining: 3 in flight, at most 30000 ms\n")
        equal(json.loads(run(daemon, "drain", "--json").stdout), {"inFlight": 3, "timeoutMillis": 30000})


# failures

RUNS = {"send": ["send", "t", "x"], "receive": ["receive", "t", "g"], "route": ["route", "t"],
        "invoke": ["invoke", "30"], "ping": ["ping"], "show": ["show", "stats"], "events": ["events", "--follow"],
        "close": ["close", "h:1"], "nameservers": ["nameservers", "set", "h:1"], "drain": ["drain"]}


@test
def an_error_of_the_broker_is_exit_code_1():
    for arguments in RUNS.values():
        with FakeDaemon(unknown_topic) as daemon:
            result = run(daemon, *arguments)
            exits(result, 1)
            equal(result.stderr, b"failed: topic[t] not exist (code 17 TOPIC_NOT_EXIST from 10.0.0.7:10911)\n")


@test
def a_failure_of_the_daemon_is_exit_code_3_and_says_whether_it_was_sent():
    for arguments in RUNS.values():
        with FakeDaemon(refused) as daemon:
            result = run(daemon, *arguments)
            exits(result, 3)
            equal(result.stderr, b"failed: 10.0.0.7:10911 refuses connections (unreachable, sent: no)\n")
    ext = {"sidecar.error": "overloaded", "sidecar.sent": "no", "sidecar.retryAfterMillis": "200"}
    with FakeDaemon(lambda r: answer(r, 2, ext)) as daemon:
        equal(run(daemon, "ping").stderr, b"failed: (no remark) (overloaded, sent: no, retry after: 200 ms)\n")


@test
def a_failure_is_a_json_line_too():
    with FakeDaemon(refused) as daemon:
        result = run(daemon, "send", "t", "x", "--json")
        exits(result, 3)
        row = json.loads(result.stdout)
        equal((row["code"], row["error"], row["sent"], row["remark"]),
              (10001, "unreachable", "no", "10.0.0.7:10911 refuses connections"))


@test
def no_daemon_is_exit_code_5():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "none.sock")
        expected = (f"remotingctl: no daemon listens at {path} (No such file or directory). Is remotingd running? "
                    "Another socket: --socket PATH or REMOTINGD_SOCKET.\n")
        for arguments in RUNS.values():
            result = run_alone(*arguments, env={"REMOTINGD_SOCKET": path})
            exits(result, 5)
            equal(result.stderr.decode(), expected)
        exits(run_alone("ping", "--socket", "/" + "x" * 200), 5)


@test
def a_connection_that_closes_is_exit_code_5():
    for arguments in RUNS.values():
        with FakeDaemon(lambda r: "close") as daemon:
            result = run(daemon, *arguments)
            exits(result, 5)
            contains(result.stderr, b"closed the connection")


@test
def an_answer_that_cannot_be_understood_is_exit_code_5():
    for frame in (b"HTTP/1.1 400 Bad Request\r\n\r\n", struct.pack(">II", 3, 0), struct.pack(">II", 6, 2) + b"{]",
                  struct.pack(">II", 8, 9) + b"abcd", struct.pack(">II", 4, 7 << 24)):
        with FakeDaemon(lambda r, frame=frame: frame) as daemon:
            result = run(daemon, "ping")
            exits(result, 5)
            contains(result.stderr, b"cannot be understood")


@test
def a_silent_daemon_is_given_up_5_seconds_after_the_deadline():
    with FakeDaemon(lambda r: None) as daemon:
        result = run(daemon, "route", "t", "--timeout", "0")
        exits(result, 5)
        contains(result.stderr, b"did not answer")


@test
def what_was_not_asked_for_is_discarded():
    def script(request):
        head = json.dumps({"code": 40, "flag": ONEWAY, "opaque": request.opaque, "language": "JAVA", "version": 1})
        unasked = struct.pack(">II", 4 + len(head), len(head)) + head.encode()
        stranger = answer(request, 1, opaque=request.opaque ^ 1)
        whole = unasked + stranger + stored(request)
        return [whole[i:i + 1] for i in range(len(whole))]  # every cut of the stream at once

    with FakeDaemon(script) as daemon:
        exits(run(daemon, "send", "t", "x"), 0)


@test
def opaques_start_anywhere():
    with FakeDaemon(stored) as daemon:
        for _ in range(8):
            exits(run(daemon, "send", "t", "x"), 0)
        equal(len({r.opaque for r in daemon.requests}), 8)


@test
def an_answer_of_16_mib_arrives():
    with FakeDaemon(lambda r: answer(r, body=b"x" * (16777216 - 8 - 200))) as daemon:
        equal(len(run(daemon, "invoke", "30", "--raw").stdout), 16777216 - 8 - 200)


@test
def a_message_beyond_a_frame_is_refused_before_it_is_sent():
    with FakeDaemon(stored) as daemon:
        for size in (16777216, 16777300):
            exits(run(daemon, "send", "t", stdin=b"x" * size), 2)
        result = run(daemon, "send", "t", "--lines", stdin=b"a\n" + b"x" * 16777300 + b"\nb\n")
        contains(result.stderr, b"line 2: not sent: longer than a frame")
        contains(result.stderr, b"sent 2, failed 1\n")
        equal([r.body for r in daemon.requests], [b"a", b"b"])


# terminals

@test
def control_characters_do_not_reach_a_terminal():
    evil = "a\x1b]0;title\x07\u009b2J\x7f\tb\nc \u00e4"
    with FakeDaemon(pops([message(evil, "R1")])) as daemon:
        code, seen = run_on_terminal(daemon, "receive", "t", "g")
        equal((code, seen.decode()), (0, "a\\x1b]0;title\\x07\\xc2\\x9b2J\\x7f\tb\nc \u00e4\n"))
    with FakeDaemon(pops([message(evil, "R1")])) as daemon:
        equal(run(daemon, "receive", "t", "g").stdout.decode(), evil + "\n")
    with FakeDaemon(lambda r: answer(r, 1, remark="a\x1b[2J\nb")) as daemon:
        code, seen = run_on_terminal(daemon, "ping")
        equal((code, seen), (1, b"failed: a\\x1b[2J\\nb (code 1 SYSTEM_ERROR)\n"))


@test
def bytes_that_are_no_utf8_do_not_reach_a_terminal():
    text = base64.b64encode(b"\xff\x9bA").decode()
    with FakeDaemon(pops([message(text, "R1", encoding="base64")])) as daemon:
        equal(run_on_terminal(daemon, "receive", "t", "g"), (0, b"\\xff\\x9bA\n"))


@test
def json_on_a_terminal_stays_json():
    with FakeDaemon(pops([message("\u009b2J", "R1")])) as daemon:
        _, seen = run_on_terminal(daemon, "receive", "t", "g", "--json")
        equal(json.loads(seen)["body"], "\u009b2J")
        equal(b"\xc2\x9b" in seen, False)


# usage

@test
def wrong_usage_is_exit_code_2_and_points_to_help():
    wrong = [
        ([], "a command is missing"), (["nonsense"], "there is no command 'nonsense'"),
        (["--nonsense"], "'--nonsense' is no option"), (["send"], "send TOPIC [BODY]"),
        (["send", "t", "two", "words"], "'words' is too much"), (["send", "t", "b", "--lines"], "--lines"),
        (["send", "t", "--property", "x"], "NAME=VALUE"), (["send", "t", "b", "--timeout", "5"], "as in 500ms, 5s"),
        (["send", "t", "b", "--timeout", "5 s"], "5 s"), (["send", "t", "b", "--timeout", "99999999999s"], "duration"),
        (["send", "t", "b", "--tag", "1", "--tag", "2"], "'property.TAGS' is given twice"),
        (["send", "t", "b", "--delay", "19"], "from 1 to 18"), (["send", "t", "b", "--delay", "soon"], "--delay 'soon'"),
        (["send", "t", "b", "--file", "x"], "--file has the message"),
        (["send", "t", "--file", "/nonexistent"], "/nonexistent cannot be read"),
        (["peek", "t"], "--broker BROKER is missing"), (["peek", "t", "--broker", "b"], "--queue N is missing"),
        (["peek", "t", "--broker", "b", "--queue", "-1"], "--queue '-1'"), (["peek"], "peek TOPIC"),
        (["offsets"], "offsets TOPIC [GROUP]"), (["offsets", "t", "--at", "noon"], "--at 'noon' is no time"),
        (["bench", "send"], "bench send|receive TOPIC"), (["bench", "drop", "t"], "'drop' cannot be measured"),
        (["bench", "send", "t", "--callers", "1001"], "up to 1000"),
        (["bench", "receive", "t", "--in-flight", "31"], "up to 30 for receive"),
        (["receive", "t"], "receive TOPIC GROUP"), (["receive", "t", "g", "-n", "0"], "--max '0'"),
        (["receive", "t", "g", "-x"], "'-x'"), (["receive", "t", "g", "--tag", "a", "--sql", "b"], "exclude each other"),
        (["receive", "t", "g", "--format", "xml"], "text, raw, json"), (["receive", "t", "g", "--wait"], "'--wait' needs a value"),
        (["receive", "t", "g", "--follow=1"], "takes no value"), (["route"], "route TOPIC"),
        (["invoke"], "invoke CODE"), (["invoke", "NO_SUCH_CODE"], "'NO_SUCH_CODE' is no request code"),
        (["invoke", "30", "x"], "KEY=VALUE"), (["invoke", "30", "=x"], "KEY=VALUE"),
        (["invoke", "30", "a=1", "a=2"], "'a' is given twice"), (["invoke", "30", "a=", "--binary"], "empty"),
        (["invoke", "30", "--body", "x", "--body-file", "-"], "exclude"),
        (["invoke", "30", "--body-file", "/nonexistent"], "/nonexistent"), (["ping", "x"], "'x' is too much"),
        (["ping", "--count", "-1"], "--count '-1'"), (["show"], "show WHAT"),
        (["show", "everything"], "'everything' cannot be shown"), (["show", "pools", "stats"], "'stats' is too much"),
        (["events", "x"], "'x' is too much"), (["reachable"], "reachable ADDR"), (["close"], "close ADDR"),
        (["reachable", *["h:1"] * 65], "'h:1' is too much"), (["close", *["h:1"] * 65], "'h:1' is too much"),
        (["reachable", "h:1", "--timeout", "5"], "as in 500ms, 5s"), (["nameservers"], "nameservers set ADDR"),
        (["nameservers", "set"], "nameservers set ADDR"), (["nameservers", "add", "h:1"], "'add' cannot be done"),
        (["drain", "now"], "'now' is too much"),
    ]
    for arguments, expected in wrong:
        result = run_alone(*arguments, env={"REMOTINGD_SOCKET": "/nonexistent"})
        exits(result, 2)
        contains(result.stderr.decode(), expected)
        contains(result.stderr.decode(), "--help")
        equal(result.stdout, b"")


@test
def who_may_not_open_the_socket_is_told_the_way_in():
    needs_root()
    daemon, nobody = grp.getgrnam("daemon"), pwd.getpwnam("nobody")
    membership = f"Members of the group daemon may. To become one: sudo usermod -aG daemon {nobody.pw_name}, then log in"
    settings = "[listener] socket_mode and socket_group in remotingd.ini say who may"
    cases = [(0o755, 0o660, daemon.gr_gid, membership), (0o755, 0o600, daemon.gr_gid, settings),
             (0o755, 0o660, 0, settings), (0o700, 0o660, daemon.gr_gid, "A directory on the way to it is closed")]
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(folder, 0o755)
        program = shutil.copy(REMOTINGCTL, folder)
        os.chmod(program, 0o755)
        inner = os.path.join(folder, "run")
        os.mkdir(inner)
        path = os.path.join(inner, "remotingd.sock")
        listener.bind(path)
        listener.listen()
        for folder_mode, mode, group, expected in cases:
            os.chmod(inner, folder_mode)
            os.chmod(path, mode)
            os.chown(path, 0, group)
            result = subprocess.run([program, "ping", "--socket", path], stdin=subprocess.DEVNULL, capture_output=True,
                                    timeout=PATIENCE_S, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
            exits(result, 5)
            contains(result.stderr.decode(), f"{path} may not be opened (Permission denied). {expected}")


@test
def every_help_has_examples():
    for arguments in [["--help"]] + [[name, "--help"] for name in COMMANDS]:
        result = run_alone(*arguments)
        exits(result, 0)
        contains(result.stdout.decode(), "Examples:\n  remotingctl")
    overall = run_alone("--help").stdout.decode()
    for name in COMMANDS + ["Exit codes:", "--socket", "--json", "REMOTINGD_SOCKET"]:
        contains(overall, name)


@test
def options_stand_before_and_behind_the_operands():
    hello = json.dumps({"protocolVersion": "1.0", "daemonVersion": "0.1.0"}).encode()
    with FakeDaemon(lambda r: answer(r, body=hello)) as daemon:
        exits(run_alone("--socket", daemon.path, "ping"), 0)
        exits(run_alone("--json", "ping", "--socket", daemon.path), 0)
        exits(run_alone("invoke", "--socket", daemon.path, "30", "--json", "a=b"), 0)
        exits(run_alone("ping", env={"REMOTINGD_SOCKET": daemon.path}), 0)


@test
def version_is_told_anywhere():
    for arguments in (["--version"], ["ping", "--version"]):
        result = run_alone(*arguments)
        exits(result, 0)
        contains(result.stdout, b"remotingctl ")


tap.main()
