"""remotingctl receive --exec against a fake daemon: what is asked for, what a command is given, what its end means.

REMOTINGCTL names the binary. Speaks TAP. Nothing here sleeps: tests wait for processes and for requests.
"""

import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from fake_daemon import PATIENCE_S, FakeDaemon, answer, command, contains, equal, message, refused
from tap import test

POP, ACK, CHANGE_INVISIBLE, SEND_BACK = 200050, 200051, 200053, 36
NOTHING = 210


def brings(*batches, then=None):
    """A script: each POP brings the next batch, then nothing; a lease that is extended has a new receipt each time.
    What `then` answers, or keeps back ("held"), goes before that."""
    left = list(batches)
    n_leases = 0

    def script(request):
        nonlocal n_leases
        said = then(request) if then else None
        if said:
            return None if said == "held" else said
        if request.code == POP:
            return answer(request, body=json.dumps(left.pop(0)).encode()) if left else answer(request, NOTHING)
        n_leases += request.code == CHANGE_INVISIBLE
        return answer(request, ext={"sidecar.receipt": f"lease-{n_leases}"})
    return script


class Worker:
    """A worker in a folder of its own."""

    def __init__(self, daemon, text, *words, **more):
        self.daemon = daemon
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        self.process = subprocess.Popen(command(daemon, "receive", "t", "g", "--exec", text, *words),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, cwd=self.path, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.folder.cleanup()

    def end(self, code=0):
        """What it wrote, and what it said."""
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        tap.equal(self.process.returncode, code, f"the exit code of the worker, which said {errors}")
        return out, errors

    def asked(self, *codes):
        return [request for request in list(self.daemon.requests) if request.code in codes]

    def wait_for(self, n, *codes):
        tap.wait_until(lambda: len(self.asked(*codes)) >= n, PATIENCE_S, f"{n} requests {codes}")
        return self.asked(*codes)

    def wait_for_file(self, name):
        tap.wait_until((self.path / name).exists, PATIENCE_S, f"the file {name}")

    def touch(self, name):
        (self.path / name).touch()


@contextlib.contextmanager
def worker(script, text, *words, **more):
    with FakeDaemon(script) as daemon, Worker(daemon, text, *words, **more) as started:
        yield started


UNTIL_GO = "touch began; while [ ! -e go ]; do sleep 0.02; done; "


def settlements(started):
    """What the daemon was told in the end: (code, receipt, invisibleTime)."""
    return [(r.code, r.ext["sidecar.receipt"], r.ext.get("invisibleTime"))
            for r in started.asked(ACK, CHANGE_INVISIBLE, SEND_BACK)]


@test
def it_asks_for_as_many_messages_as_it_has_places():
    batches = [[message("a", "R1"), message("b", "R2")], [message("c", "R3")]]
    text = 'read x; [ $x = b ] || exit 0; ' + UNTIL_GO
    with worker(brings(*batches), text, "-j", "2") as started:
        started.wait_for(3, POP)
        started.touch("go")
        started.process.send_signal(signal.SIGTERM)
        started.end()
        pops = [request.ext for request in started.asked(POP)]
        equal([ext["maxMsgNums"] for ext in pops[:3]], ["2", "1", "1"])
        equal(pops[0], {"topic": "t", "consumerGroup": "g", "maxMsgNums": "2", "pollTime": "5000",
                        "invisibleTime": "60000", "sidecar.answerFormat": "json", "sidecar.maxReconsume": "16"})


@test
def the_end_of_the_command_decides():
    rows = [
        ("exit 0", 0, (ACK, "R", None)),
        ("exit 65", 0, (SEND_BACK, "R", None)),
        ("exit 75", 0, (CHANGE_INVISIBLE, "R", "10000")),
        ("exit 1", 0, (CHANGE_INVISIBLE, "R", "10000")),
        ("exit 255", 0, (CHANGE_INVISIBLE, "R", "10000")),
        ("kill -9 $$", 0, (CHANGE_INVISIBLE, "R", "10000")),
        ("exit 1", 1, (CHANGE_INVISIBLE, "R", "20000")),
        ("exit 1", 3, (CHANGE_INVISIBLE, "R", "80000")),
        ("exit 1", 1000000, (CHANGE_INVISIBLE, "R", "7200000")),
    ]
    for text, times, expected in rows:
        with worker(brings([message("b", "R", reconsumeTimes=times)]), text, "-n", "1") as started:
            started.end()
            tap.equal(settlements(started), [expected], f"what {text} leads to")


@test
def only_what_fails_is_told_and_with_verbose_all():
    for words, expected in ((("-n", "1"), False), (("-n", "1", "--verbose"), True)):
        with worker(brings([message("b", "R", uniqKey="U7")]), "exit 0", *words) as started:
            equal("U7" in started.end()[1], expected)
    with worker(brings([message("b", "R", uniqKey="U7")]), "exit 3", "-n", "1") as started:
        told = started.end()[1]
        contains(told, "message U7: the command exited with 3")
        contains(told, "given back, it comes again in 10 s")
    with worker(brings([message("b", "R")]), "exit 3", "-n", "1") as started:
        contains(started.end()[1], "message broker-a queue 0 offset 5: the command")


@test
def a_command_that_cannot_be_run_ends_the_worker():
    for text in ("exit 126", "exit 127", "no-such-program-at-all"):
        batches = [[message("a", "R1")], [message("b", "R2")]]
        with worker(brings(*batches), text) as started:
            told = started.end(8)[1]
            contains(told, "cannot be run")
            equal(settlements(started), [(CHANGE_INVISIBLE, "R1", "1000")])


@test
def a_lease_is_extended_by_the_newest_receipt():
    with worker(brings([message("b", "R")]), UNTIL_GO, "-n", "1", "--invisible", "3s") as started:
        started.wait_for(3, CHANGE_INVISIBLE)
        started.touch("go")
        started.end()
        told = settlements(started)
        n = len(told) - 1
        equal(told[:n], [(CHANGE_INVISIBLE, receipt, "3000")
                         for receipt in ["R", *(f"lease-{i}" for i in range(1, n))]])
        equal(told[n], (ACK, f"lease-{n}", None))


@test
def a_lease_that_is_refused_is_told_once_and_the_command_goes_on():
    def refuses(request):
        if request.code == CHANGE_INVISIBLE:
            return answer(request, 13, {"sidecar.error": "invalid", "sidecar.sent": "no"}, remark="it is over")
        return None

    with worker(brings([message("b", "R")], then=refuses), UNTIL_GO, "-n", "1", "--invisible", "1s") as started:
        started.wait_for(1, CHANGE_INVISIBLE)
        started.touch("go")
        told = started.end()[1]
        equal(told.count("it may come twice"), 1)
        contains(told, "it is over")
        equal(settlements(started)[-1], (ACK, "R", None))


@test
def what_could_not_be_told_is_told_again():
    left = ["refused"] * 2

    def refuses(request):
        return refused(request) if request.code == ACK and left and left.pop() else None

    with worker(brings([message("b", "R")], then=refuses), "exit 0", "-n", "1") as started:
        contains(started.end()[1], "1 messages: 1 acknowledged")
        equal(settlements(started), [(ACK, "R", None)] * 3)


@test
def a_dead_letter_that_is_refused_is_given_back():
    def refuses(request):
        return answer(request, 16, remark="not you") if request.code == SEND_BACK else None

    with worker(brings([message("b", "R")], then=refuses), "exit 65", "-n", "1") as started:
        contains(started.end()[1], "not you")
        equal(settlements(started), [(SEND_BACK, "R", None), (CHANGE_INVISIBLE, "R", "10000")])


@test
def what_takes_too_long_is_ended_and_given_back():
    with worker(brings([message("b", "R")]), "sleep 1000 & sleep 1000", "-n", "1", "--time-limit",
                "200ms") as started:
        contains(started.end()[1], "by the time limit")
        equal(settlements(started), [(CHANGE_INVISIBLE, "R", "10000")])


@test
def the_grace_after_the_time_limit_is_for_all_of_the_group():
    text = "sh -c 'trap \"sleep 0.3; touch cleaned; exit\" TERM; touch began; while :; do sleep 0.02; done' & wait"
    with worker(brings([message("b", "R")]), text, "-n", "1", "--time-limit", "1s") as started:
        started.end()
        equal((started.path / "cleaned").exists(), True)


@test
def what_does_not_end_by_sigterm_is_killed_after_the_grace():
    text = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"
    with worker(brings([message("b", "R")]), text, "-n", "1", "--time-limit", "200ms") as started:
        began = time.monotonic()
        contains(started.end()[1], "by the time limit")
        equal(10 <= time.monotonic() - began < 20, True)
        equal(os.path.exists(f"/proc/{(started.path / 'pid').read_text().strip()}"), False)


@test
def what_a_command_leaves_behind_is_not_waited_for():
    text = "sleep 100 > /dev/null 2>&1 & echo $! > pid"
    with worker(brings([message("b", "R")]), text, "-n", "1") as started:
        started.end()
        equal(settlements(started), [(ACK, "R", None)])
        os.kill(int((started.path / "pid").read_text()), signal.SIGKILL)


@test
def a_worker_outlives_the_daemon():
    closed = []

    def closes(request):
        if request.code == CHANGE_INVISIBLE and not closed:
            closed.append(True)
            return "close"
        return None

    with worker(brings([message("b", "R")], then=closes), UNTIL_GO, "-n", "1", "--invisible", "3s") as started:
        started.wait_for(2, CHANGE_INVISIBLE)
        started.touch("go")
        told = started.end()[1]
        for part in ("went away", "whether its lease was extended is not known", "the daemon is back"):
            contains(told, part)
        equal(settlements(started)[-1], (ACK, "lease-1", None))


@test
def the_first_signal_takes_nothing_new_and_gives_back_what_comes():
    held = []

    def holds(request):
        if request.code == POP and request.ext["maxMsgNums"] == "1":
            held.append(request)
            return "held"
        return None

    with worker(brings([message("a", "R1")], then=holds), UNTIL_GO, "-j", "2") as started:
        tap.wait_until(lambda: held, PATIENCE_S, "a POP that waits")
        started.wait_for_file("began")
        started.process.send_signal(signal.SIGTERM)
        contains(started.process.stderr.readline(), "1 commands may finish")
        started.daemon.connection.sendall(answer(held[0], body=json.dumps([message("b", "R2")]).encode()))
        started.wait_for(1, CHANGE_INVISIBLE)
        started.touch("go")
        started.end()
        equal(settlements(started), [(CHANGE_INVISIBLE, "R2", "1000"), (ACK, "R1", None)])
        equal(len(held), 1)


@test
def the_second_signal_is_passed_on():
    text = "trap 'touch interrupted; exit 75' INT; touch began; while :; do sleep 0.02; done"
    with worker(brings([message("a", "R")]), text) as started:
        started.wait_for_file("began")
        for line in ("may finish", "exited with 75"):
            started.process.send_signal(signal.SIGINT)
            contains(started.process.stderr.readline(), line)
        started.end()
        equal((started.path / "interrupted").exists(), True)
        equal(settlements(started), [(CHANGE_INVISIBLE, "R", "10000")])


@test
def an_idle_worker_ends_at_once():
    with worker(brings(), "exit 0") as started:
        started.wait_for(1, POP)
        started.process.send_signal(signal.SIGTERM)
        contains(started.end()[1], "0 messages")


@test
def the_body_is_the_standard_input_byte_for_byte():
    body = bytes(range(256)) * 4096
    row = message("", "R", encoding="base64")
    row["body"] = base64.b64encode(body).decode()
    with worker(brings([row]), "cat > body", "-n", "1") as started:
        started.end()
        equal((started.path / "body").read_bytes() == body, True)


def environment_of(row, **inherited):
    """The variables that a command sees of a message."""
    with worker(brings([row]), "tr '\\0' '\\n' < /proc/$$/environ", "-n", "1",
                env=dict(os.environ, **inherited)) as started:
        lines = started.end()[0].splitlines()
        return dict(line.split("=", 1) for line in lines if line.startswith(("MQ_", "TRACEPARENT=")))


@test
def the_rest_of_the_message_is_in_the_environment():
    properties = {"UNIQ_KEY": "U1", "region": "eu", "traceparent": "00-1-2-3"}
    row = message("b", "R", uniqKey="U1", keys="k1 k2", tags="T", bornTimestamp=17, reconsumeTimes=2,
                  properties=properties)
    seen = environment_of(row, MQ_PROPERTY_inherited="x", MQ_HOST="mine", TRACEPARENT="old")
    equal(seen, {"MQ_TOPIC": "t", "MQ_GROUP": "g", "MQ_MSG_ID": "U1", "MQ_KEYS": "k1 k2", "MQ_TAGS": "T",
                 "MQ_RECONSUME_TIMES": "2", "MQ_BORN_TIMESTAMP": "17", "MQ_BROKER": "broker-a", "MQ_QUEUE_ID": "0",
                 "MQ_QUEUE_OFFSET": "5", "MQ_PROPERTY_UNIQ_KEY": "U1", "MQ_PROPERTY_region": "eu",
                 "MQ_PROPERTY_traceparent": "00-1-2-3", "TRACEPARENT": "00-1-2-3", "MQ_LEFT_OUT": "0",
                 "MQ_HOST": "mine"})


@test
def what_a_message_has_not_got_is_not_set():
    seen = environment_of(message("b", "R", properties={}), MQ_KEYS="inherited", TRACEPARENT="old")
    equal([name for name in ("MQ_KEYS", "MQ_TAGS", "MQ_MSG_ID", "TRACEPARENT") if name in seen], [])


@test
def names_become_names_of_variables_and_what_cannot_be_set_is_counted():
    properties = {"a-b": "1", "a_b": "2", "c.d": "3", "c d": "4", "nul": "x\0y", "=": "5", "ä": "6"}
    seen = environment_of(message("b", "R", properties=properties))
    equal({name: value for name, value in seen.items() if name.startswith("MQ_PROPERTY_")},
          {"MQ_PROPERTY_a_b": "2", "MQ_PROPERTY_c_d": "3", "MQ_PROPERTY__": "5", "MQ_PROPERTY___": "6"})
    equal(seen["MQ_LEFT_OUT"], "3")


@test
def the_environment_of_a_message_is_bounded():
    seen = environment_of(message("b", "R", properties={f"p{i}": "x" for i in range(3000)}))
    equal(len(seen) + int(seen["MQ_LEFT_OUT"]) > 3000, True)
    equal(len(seen) <= 1024, True)
    seen = environment_of(message("b", "R", properties={"large": "x" * 200000, "small": "y"}))
    equal((seen["MQ_LEFT_OUT"], "MQ_PROPERTY_large" in seen, seen["MQ_PROPERTY_small"]), ("1", False, "y"))


@test
def the_command_inherits_no_descriptor_and_no_disposition():
    def ignore():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])

    text = "ls /proc/$$/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/$$/status; ps -o pgid= -p $$ | grep -qw $$"
    with worker(brings([message("b", "R")]), text, "-n", "1", preexec_fn=ignore) as started:
        *files, _, blocked, _, ignored = started.end()[0].split()
        equal(files, ["0", "1", "2"])
        # Signals 32 and 33 are the C library's own, which ignores them in what it starts.
        equal((int(blocked, 16), int(ignored, 16) & ~(3 << 31)), (0, 0))
        equal(settlements(started), [(ACK, "R", None)])


@test
def messages_of_one_receipt_are_one_job():
    batch = [message("a", "R1"), message("b", "R1"), message("c", "R2")]
    with worker(brings(batch), "read x; echo $x >> seen", "-n", "3", "-j", "2") as started:
        contains(started.end()[1], "3 messages: 2 acknowledged")
        equal(sorted(settlements(started)), [(ACK, "R1", None), (ACK, "R2", None)])
        equal(sorted((started.path / "seen").read_text().split()), ["a", "b", "c"])
    with worker(brings(batch[:2]), 'read x; echo $x >> seen; [ $x = b ]', "-n", "2") as started:
        started.end()
        equal(settlements(started), [(CHANGE_INVISIBLE, "R1", "10000")])
        equal((started.path / "seen").read_text().split(), ["a"])


@test
def what_cannot_be_decoded_is_given_back_untouched():
    row = message(None, "R", reason="its compression is unknown")
    with worker(brings([row]), "touch began", "-n", "1") as started:
        contains(started.end()[1], "its compression is unknown")
        equal((settlements(started), (started.path / "began").exists()),
              ([(CHANGE_INVISIBLE, "R", "10000")], False))


@test
def a_topic_that_may_not_be_used_ends_the_worker():
    def forbids(request):
        if request.code == POP:
            return answer(request, 16, {"sidecar.error": "forbidden", "sidecar.sent": "no"}, remark="not you")
        return None

    with worker(brings(then=forbids), "exit 0") as started:
        contains(started.end(3)[1], "not you")


@test
def what_may_pass_is_told_once_and_asked_for_again():
    left = ["refused"] * 2

    def refuses(request):
        return refused(request) if request.code == POP and left and left.pop() else None

    with worker(brings([message("b", "R")], then=refuses), "exit 0", "-n", "1") as started:
        equal(started.end()[1].count("refuses connections"), 1)
        equal(len(started.asked(POP)), 3)


@test
def wrong_usage_is_told():
    rows = [
        (("receive", "t", "g", "-j", "2"), "are for --exec"),
        (("receive", "t", "g", "--exec", ""), "one is empty"),
        (("receive", "", "g", "--exec", "x"), "one is empty"),
        (("receive", "t", "g", "--exec", "x", "-j", "257"), "at most 256"),
        (("receive", "t", "g", "--exec", "x", "--json"), "not with --format, --json or --no-ack"),
        (("receive", "t", "g", "--exec", "x", "--no-ack"), "not with --format, --json or --no-ack"),
        (("receive", "t", "g", "--exec", "x", "--invisible", "10ms"), "at least 1s"),
        (("receive", "t", "g", "--exec", "x", "--retry-delay", "0"), "at least 1s"),
    ]
    with FakeDaemon(lambda r: None) as daemon:
        for words, part in rows:
            done = subprocess.run(command(daemon, *words), capture_output=True, text=True, timeout=PATIENCE_S)
            equal(done.returncode, 2)
            contains(done.stderr, part)


tap.main()
