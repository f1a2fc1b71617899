"""remotingctl dlq against a fake daemon: what is sent again and how, what moves the marker, how it ends.

REMOTINGCTL names the binary. Speaks TAP. Nothing here sleeps: tests wait for processes and for requests.
"""

import base64
import json
import os
import pty
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from fake_daemon import PATIENCE_S, FakeDaemon, answer, command, contains, equal, exits, refused, run
from tap import test

SEND, PULL, QUERY_MESSAGE = 10, 11, 12
QUERY_OFFSET, UPDATE_OFFSET, UPDATE_TOPIC = 14, 15, 17
SEARCH_OFFSET, MAX_OFFSET, MIN_OFFSET, ROUTE = 29, 30, 31, 105
NOT_FOUND, NO_SUCH_TOPIC = 22, 17


def letter(offset, **properties):
    """A dead letter of the topic orders; a property that is None is not there."""
    wanted = {"RETRY_TOPIC": "orders", "UNIQ_KEY": f"U{offset}", "ORIGIN_MESSAGE_ID": f"O{offset}", **properties}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    row = {"topic": "%DLQ%billing", "encoding": "utf-8", "body": f"body {offset}", "properties": wanted, "flag": 7,
           "offsetMsgId": f"D{offset}", "brokerName": "broker-a", "queueId": 0, "queueOffset": offset,
           "bornTimestamp": 1000, "storeTimestamp": 2000 + offset, "reconsumeTimes": 1}
    for name, key in (("KEYS", "keys"), ("TAGS", "tags"), ("UNIQ_KEY", "uniqKey")):
        if name in wanted:
            row[key] = wanted[name]
    return row


class Store:
    """A script: the dead letters of one queue and its marker. `before` may answer in place of it."""

    def __init__(self, letters, *, marker=None, perm=6, requeued=(), before=None):
        self.letters, self.marker, self.perm, self.requeued = letters, marker, perm, requeued
        self.before = before

    def __call__(self, request):
        return (self.before and self.before(request)) or self.said(request)

    def said(self, request):
        ext = request.ext
        end = self.letters[-1]["queueOffset"] + 1 if self.letters else 0
        if request.code == ROUTE:
            route = {"brokerDatas": [{"brokerName": "broker-a", "brokerAddrs": {"0": "10.0.0.7:10911"}, "cluster": "c"}],
                     "queueDatas": [{"brokerName": "broker-a", "perm": self.perm, "readQueueNums": 1,
                                     "writeQueueNums": 1, "topicSysFlag": 0}]}
            return answer(request, body=json.dumps(route).encode())
        if request.code in (MIN_OFFSET, MAX_OFFSET):
            return answer(request, ext={"offset": str(end if request.code == MAX_OFFSET else 0)})
        if request.code == QUERY_OFFSET:
            return answer(request, NOT_FOUND) if self.marker is None else answer(request, ext={"offset": str(self.marker)})
        if request.code == UPDATE_OFFSET:
            self.marker = int(ext["commitOffset"])
            return answer(request)
        if request.code == SEARCH_OFFSET:
            later = [row["queueOffset"] for row in self.letters if row["storeTimestamp"] >= int(ext["timestamp"])]
            return answer(request, ext={"offset": str(min(later, default=end))})
        if request.code == PULL:
            # Two at a time, so that there is more than one answer.
            rows = [row for row in self.letters if row["queueOffset"] >= int(ext["queueOffset"])][:2]
            return answer(request, ext={"nextBeginOffset": str(rows[-1]["queueOffset"] + 1 if rows else end)},
                          body=json.dumps(rows).encode())
        if request.code == QUERY_MESSAGE:
            rows = [{"properties": {"REQUEUED_FROM": name}} for key, name in self.requeued if key == ext["key"]]
            counts = {"sidecar.brokers": "1", "sidecar.answered": "1"}
            return answer(request, 0 if rows else NOT_FOUND, ext=counts, body=json.dumps(rows).encode())
        return answer(request, ext={"msgId": "NEW"})


def sends(daemon):
    return [request for request in daemon.requests if request.code == SEND]


def bodies(daemon):
    return [request.body.decode() for request in sends(daemon)]


def changes(daemon):
    return [request for request in daemon.requests if request.code in (SEND, UPDATE_OFFSET, UPDATE_TOPIC)]


@test
def a_dead_letter_is_sent_with_what_its_sender_gave_it():
    written = {"WAIT": "false", "DELAY": "0", "CLUSTER": "c", "1ST_POP_TIME": "1", "POP_CK": "x", "TIMER_OUT_MS": "1",
               "DLQ_ORIGIN_TOPIC": "x", "TRACE_ON": "true", "CORRELATION_ID": "c", "TRAN_MSG": "true"}
    given = {"KEYS": "k1 k2", "TAGS": "paid", "colour": "green", "__SHARDINGKEY": "s", "traceparent": "t"}
    with FakeDaemon(Store([letter(0, **written, **given)])) as daemon:
        result = run(daemon, "dlq", "requeue", "billing")
        exits(result, 0)
        equal(result.stdout, b"1 requeued\n")
        ext = sends(daemon)[0].ext
    wanted = {"topic": "orders", "flag": "7", "property.UNIQ_KEY": "U0", "property.REQUEUED_FROM": "D0"}
    equal(ext, {**wanted, **{f"property.{name}": value for name, value in given.items()}})
    equal(sends(daemon)[0].body, b"body 0")


@test
def the_topic_is_the_first_one_whatever_retry_topic_it_died_in():
    for retry_topic, topic in (("orders", "orders"), ("%RETRY%billing_orders", "orders"),
                               ("%RETRY%billing+a_b", "a_b")):
        with FakeDaemon(Store([letter(0, RETRY_TOPIC=retry_topic)])) as daemon:
            exits(run(daemon, "dlq", "requeue", "billing"), 0)
            equal(sends(daemon)[0].ext["topic"], topic)
    with FakeDaemon(Store([letter(0, RETRY_TOPIC=None, DLQ_ORIGIN_TOPIC="orders")])) as daemon:
        exits(run(daemon, "dlq", "requeue", "billing"), 0)
        equal(sends(daemon)[0].ext["topic"], "orders")


@test
def without_a_topic_the_option_says_which():
    for retry_topic in (None, "%RETRY%billing", "%RETRY%others_orders"):
        with FakeDaemon(Store([letter(0, RETRY_TOPIC=retry_topic)])) as daemon:
            result = run(daemon, "dlq", "requeue", "billing")
            exits(result, 1)
            contains(result.stderr.decode(), "dead letter D0 does not say which topic it came from: --to TOPIC")
            equal(changes(daemon), [])
            exits(run(daemon, "dlq", "requeue", "billing", "--to", "elsewhere"), 0)
            equal(sends(daemon)[0].ext["topic"], "elsewhere")


@test
def the_marker_moves_behind_each_one_that_is_stored():
    with FakeDaemon(Store([letter(n) for n in range(5)], marker=1)) as daemon:
        exits(run(daemon, "dlq", "requeue", "billing"), 0)
        order = [request.body.decode() or request.ext["commitOffset"] for request in changes(daemon)]
        equal(order, ["body 1", "2", "body 2", "3", "body 3", "4", "body 4", "5"])
        moved = [request for request in daemon.requests if request.code == UPDATE_OFFSET][0].ext
        equal((moved["consumerGroup"], moved["topic"], moved["queueId"], moved["sidecar.broker"]),
              ("TOOLS_CONSUMER", "%DLQ%billing", "0", "broker-a"))


@test
def the_marker_stays_in_front_of_what_a_filter_leaves_out():
    store = Store([letter(0, TAGS="a"), letter(1, TAGS="a"), letter(2, TAGS="b"), letter(3, TAGS="a")])
    with FakeDaemon(store) as daemon:
        exits(run(daemon, "dlq", "requeue", "billing", "--tag", "a"), 0)
        equal(bodies(daemon), ["body 0", "body 1", "body 3"])
        equal(store.marker, 2)


@test
def what_was_requeued_before_is_passed_over_but_with_again():
    store = Store([letter(0), letter(1)], requeued=[("U0", "D0"), ("U1", "another")])
    with FakeDaemon(store) as daemon:
        result = run(daemon, "dlq", "requeue", "billing", "--json")
        exits(result, 0)
        equal([json.loads(line)["outcome"] for line in result.stdout.splitlines()], ["requeued before", "requeued"])
        equal(bodies(daemon), ["body 1"])
        equal(store.marker, 2)
        exits(run(daemon, "dlq", "requeue", "billing", "--all", "--again"), 0)
        equal(bodies(daemon), ["body 1", "body 0", "body 1"])


@test
def a_broker_that_cannot_say_whether_it_was_requeued_stops_the_run():
    def partly(request):
        if request.code == QUERY_MESSAGE:
            return answer(request, 0, ext={"sidecar.brokers": "2", "sidecar.answered": "1"}, body=b"[]")
        return None
    for says in (partly, lambda request: refused(request) if request.code == QUERY_MESSAGE else None):
        with FakeDaemon(Store([letter(0)], before=says)) as daemon:
            result = run(daemon, "dlq", "requeue", "billing")
            tap.check(result.returncode in (1, 3), f"the exit code {result.returncode}")
            contains(result.stderr.decode(), "--again sends it without asking")
            equal(changes(daemon), [])


@test
def a_send_that_fails_stops_the_run_which_says_how_far_it_came():
    def third(request):
        return refused(request) if request.code == SEND and request.body == b"body 2" else None
    store = Store([letter(n) for n in range(4)], before=third)
    with FakeDaemon(store) as daemon:
        result = run(daemon, "dlq", "requeue", "billing")
        exits(result, 3)
        equal(result.stdout, b"2 requeued; stopped with 2 still to look at: the same command goes on there\n")
        equal(store.marker, 2)
        store.before = None
        equal(run(daemon, "dlq", "requeue", "billing").stdout, b"2 requeued\n")
        equal(bodies(daemon), ["body 0", "body 1", "body 2", "body 2", "body 3"])


@test
def an_interrupt_ends_the_run_behind_the_message_that_it_is_at():
    process = None

    def second(request):
        if request.code == SEND and request.body == b"body 1":
            process.send_signal(signal.SIGINT)
        return None
    store = Store([letter(n) for n in range(4)], before=second)
    with FakeDaemon(store) as daemon:
        process = subprocess.Popen(command(daemon, "dlq", "requeue", "billing"), stdout=subprocess.PIPE)
        out = process.communicate(timeout=PATIENCE_S)[0]
        equal(process.returncode, 1)
        equal(out, b"2 requeued; stopped with 2 still to look at: the same command goes on there\n")
        equal(store.marker, 2)


@test
def a_terminal_shows_how_far_it_is():
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        tap.skip(f"no pseudo terminal here: {error}")
    with FakeDaemon(Store([letter(n) for n in range(3)])) as daemon:
        with subprocess.Popen(command(daemon, "dlq", "requeue", "billing"), stdout=subprocess.PIPE,
                              stderr=theirs) as process:
            process.communicate(timeout=PATIENCE_S)
    os.close(theirs)
    seen = os.read(ours, 4096).decode()
    os.close(ours)
    contains(seen, "\r2 of 3 looked at, 2 requeued\r3 of 3 looked at, 3 requeued")


@test
def what_cannot_be_decoded_is_shown_and_not_requeued():
    row = letter(0)
    del row["body"], row["encoding"]
    row.update(raw=base64.b64encode(b"\xff").decode(), reason="the body is corrupt")
    with FakeDaemon(Store([row])) as daemon:
        contains(run(daemon, "dlq", "show", "billing").stdout.decode(), "the body is corrupt")
        result = run(daemon, "dlq", "requeue", "billing")
        exits(result, 1)
        contains(result.stderr.decode(), "dead letter D0 cannot be decoded")
        equal(changes(daemon), [])


@test
def a_dry_run_changes_nothing():
    for action, says in (("requeue", "2 would be requeued"), ("purge", "2 would be purged")):
        with FakeDaemon(Store([letter(0), letter(1)])) as daemon:
            result = run(daemon, "dlq", action, "billing", "--dry-run")
            exits(result, 0)
            contains(result.stdout.decode(), says)
            equal(changes(daemon), [])


@test
def a_list_has_a_row_each_and_says_how_many_more_there_are():
    with FakeDaemon(Store([letter(n, KEYS=f"k{n}") for n in range(5)])) as daemon:
        result = run(daemon, "dlq", "list", "billing", "-n", "3")
        exits(result, 0)
        lines = result.stdout.decode().splitlines()
        equal([line.split()[6] for line in lines[1:-1]], ["D0", "D1", "D2"])
        equal(lines[-1], "# 2 more were not looked at (-n N)")
        for words in (["--id", "D3"], ["--id", "O3"], ["--id", "U3"], ["--key", "k3"], ["--since", "2003", "-n", "1"]):
            row = json.loads(run(daemon, "dlq", "list", "billing", "--json", *words).stdout)
            equal((row["offsetMsgId"], row["originTopic"]), ("D3", "orders"))


@test
def purge_stops_at_a_time_and_at_a_number():
    for words, marker in ([], 5), (["--until", "2003"], 3), (["-n", "2"], 2), (["--until", "2003", "-n", "9"], 3):
        store = Store([letter(n) for n in range(5)])
        with FakeDaemon(store) as daemon:
            result = run(daemon, "dlq", "purge", "billing", *words)
            exits(result, 0)
            equal(result.stdout.decode().split()[0], str(marker))
            equal(store.marker, marker)
            equal(sends(daemon), [])


@test
def a_marker_behind_the_end_is_of_a_store_that_was_lost():
    store = Store([letter(0)], marker=9)
    with FakeDaemon(store) as daemon:
        equal(run(daemon, "dlq", "requeue", "billing").stdout, b"1 requeued\n")
        equal(store.marker, 1)


@test
def a_topic_that_may_only_be_written_is_told_and_made_readable():
    with FakeDaemon(Store([letter(0)], perm=2)) as daemon:
        result = run(daemon, "dlq", "list", "billing")
        exits(result, 1)
        contains(result.stderr.decode(), "remotingctl dlq list billing --make-readable")
        equal(changes(daemon), [])
        exits(run(daemon, "dlq", "list", "billing", "--make-readable"), 0)
        ext = changes(daemon)[0].ext
        equal((ext["topic"], ext["perm"], ext["readQueueNums"], ext["sidecar.broker"]),
              ("%DLQ%billing", "6", "1", "broker-a"))


@test
def a_group_without_dead_letters_has_none():
    with FakeDaemon(lambda request: answer(request, NO_SUCH_TOPIC, remark="no topic")) as daemon:
        result = run(daemon, "dlq", "list", "billing")
        exits(result, 4)
        contains(result.stderr.decode(), "billing has no dead letters")
    with FakeDaemon(Store([letter(0)], marker=1)) as daemon:
        contains(run(daemon, "dlq", "list", "billing").stderr.decode(), "--all shows others")


@test
def wrong_usage_says_what_is_accepted():
    with FakeDaemon(Store([])) as daemon:
        for words, part in ((["bury", "g"], "list, show, requeue, purge"), (["list"], "something is missing"),
                            (["list", "g", "--dry-run"], "changes nothing"), (["list", "g", "--to", "t"], "requeue alone"),
                            (["purge", "g", "--key", "k"], "--until and -n alone"), (["purge", "g", "--all"], "--all"),
                            (["list", "g", "--since", "soon"], "--since 'soon' is no time")):
            result = run(daemon, "dlq", *words)
            exits(result, 2)
            contains(result.stderr.decode(), part)
        equal(daemon.requests, [])


tap.main()
