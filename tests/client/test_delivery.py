"""remotingctl send --retry-for, --undelivered and --from against a fake daemon: what is tried again, what lands in the file.

REMOTINGCTL names the binary. Speaks TAP. Nothing here sleeps: tests wait for processes and for requests.
"""

import base64
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from fake_daemon import PATIENCE_S, FakeDaemon, answer, command, contains, equal, exits, refused, run, stored
from tap import test


def unknown(request):
    return answer(request, 10002, {"sidecar.error": "timeout", "sidecar.sent": "maybe", "sidecar.uniqKey": "U9"},
                  remark="10.0.0.7:10911 did not answer")


def illegal(request):
    return answer(request, 13, {"sidecar.addr": "10.0.0.7:10911"}, remark="the message is illegal")


def in_turn(*scripts):
    """The first request gets the first script, and so on; the last one stays."""
    left = list(scripts)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def by_body(**scripts):
    """The script for a body; those that are not named are stored."""
    return lambda request: scripts.get(request.body.decode(), stored)(request)


class Folder:
    """Where the file of the undelivered is."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name) / "undelivered"
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def letters(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def bodies(self):
        """[(body, sent)]"""
        return [(base64.b64decode(row["body"]).decode(), row["sent"]) for row in self.letters()]

    def write(self, *bodies, **more):
        rows = [{"topic": "t", "properties": {}, "body": base64.b64encode(body.encode()).decode(), "sent": "no", **more}
                for body in bodies]
        with open(self.path, "a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))


def bodies(daemon):
    return [request.body.decode() for request in daemon.requests]


@test
def what_may_pass_is_tried_again_in_its_order():
    with FakeDaemon(in_turn(refused, refused, stored)) as daemon:
        result = run(daemon, "send", "t", "--lines", "--retry-for", "1min", stdin=b"a\nb\n")
        exits(result, 0)
        equal(bodies(daemon), ["a", "a", "a", "b"])
        equal(result.stderr.count(b"refuses connections"), 1)
        contains(result.stderr, b"trying again for 60 s")


@test
def a_daemon_that_is_not_there_is_waited_for():
    with Folder() as folder:
        late = folder.path.with_name("socket")
        words = ["send", "t", "late", "--retry-for", "1min", "--socket", str(late)]
        process = subprocess.Popen([command_of(), *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        contains(process.stderr.readline(), b"no daemon listens")
        with FakeDaemon(stored) as daemon:
            os.symlink(daemon.path, late)
            out, errors = process.communicate(timeout=PATIENCE_S)
            tap.equal(process.returncode, 0, f"the exit code ({errors})")
            equal(bodies(daemon), ["late"])


def command_of():
    with FakeDaemon(stored) as daemon:
        return command(daemon)[0]


@test
def what_was_not_delivered_is_in_the_file_and_nothing_overtakes_it():
    with Folder() as folder, FakeDaemon(by_body(b=refused)) as daemon:
        words = ("--retry-for", "300ms", "--undelivered", str(folder.path), "--tag", "T", "--property", "n=1",
                 "--group", "G")
        exits(run(daemon, "send", "t", "--lines", *words, stdin=b"a\nb\nc\n"), 9)
        equal(folder.bodies(), [("b", "no"), ("c", "no")])
        equal(folder.letters()[1], {"topic": "t", "group": "G", "properties": {"TAGS": "T", "n": "1"},
                                    "body": base64.b64encode(b"c").decode(), "sent": "no"})
        equal("c" in bodies(daemon), False)
        equal(stat.S_IMODE(folder.path.stat().st_mode), 0o600)


@test
def the_file_is_there_when_all_was_delivered_and_is_added_to():
    with Folder() as folder, FakeDaemon(stored) as daemon:
        exits(run(daemon, "send", "t", "a", "--undelivered", str(folder.path)), 0)
        equal(folder.bodies(), [])
    with Folder() as folder, FakeDaemon(refused) as daemon:
        for body in ("a", "b"):
            exits(run(daemon, "send", "t", body, "--undelivered", str(folder.path)), 9)
        equal(folder.bodies(), [("a", "no"), ("b", "no")])
        # What a process that was killed left of its line does not spoil the next one.
        with open(folder.path, "a") as file:
            file.write('{"topic":"half')
        exits(run(daemon, "send", "t", "c", "--undelivered", str(folder.path)), 9)
        equal([line[:14] for line in folder.path.read_text().splitlines()][2:], ['{"topic":"half', '{"topic":"t","'])


@test
def what_was_perhaps_stored_is_not_sent_again():
    with Folder() as folder, FakeDaemon(by_body(b=unknown)) as daemon:
        words = ("--retry-for", "1min", "--undelivered", str(folder.path))
        result = run(daemon, "send", "t", "--lines", *words, stdin=b"a\nb\nc\n")
        exits(result, 10)
        equal(bodies(daemon), ["a", "b", "c"])
        equal((folder.bodies(), folder.letters()[0]["properties"]), ([("b", "maybe")], {"UNIQ_KEY": "U9"}))
        contains(result.stderr, b"sent 2, failed 1, perhaps stored 1")


@test
def at_least_once_sends_it_again_with_its_key():
    with FakeDaemon(in_turn(unknown, stored)) as daemon:
        exits(run(daemon, "send", "t", "a", "--retry-for", "1min", "--at-least-once"), 0)
        equal([request.ext for request in daemon.requests],
              [{"topic": "t", "sidecar.retry": "at-least-once"},
               {"topic": "t", "sidecar.retry": "at-least-once", "property.UNIQ_KEY": "U9"}])


@test
def a_daemon_that_goes_away_with_a_message_leaves_it_unknown():
    with Folder() as folder, FakeDaemon(in_turn(lambda r: "close", stored)) as daemon:
        words = ("--retry-for", "1min", "--undelivered", str(folder.path))
        exits(run(daemon, "send", "t", "--lines", *words, stdin=b"a\nb\n"), 10)
        equal((folder.bodies(), bodies(daemon)), ([("a", "maybe")], ["a", "b"]))


@test
def nothing_with_the_same_order_is_sent_behind_what_is_not_known():
    with Folder() as folder, FakeDaemon(by_body(a=unknown)) as daemon:
        words = ("--undelivered", str(folder.path), "--retry-for", "1min", "--sharding-key", "k")
        exits(run(daemon, "send", "t", "--lines", *words, stdin=b"a\nb\n"), 10)
        equal((folder.bodies(), bodies(daemon)), ([("a", "maybe"), ("b", "no")], ["a"]))
        # Nor by another run, until it may arrive twice; what has no key is sent.
        folder.write("c")
        exits(run(daemon, "send", "--from", str(folder.path)), 10)
        equal((folder.bodies(), bodies(daemon)), ([("a", "maybe"), ("b", "no")], ["a", "c"]))


@test
def what_is_refused_for_good_goes_to_the_file_and_the_others_go_on():
    with Folder() as folder, FakeDaemon(by_body(a=illegal)) as daemon:
        words = ("--undelivered", str(folder.path), "--retry-for", "1min", "--sharding-key", "k")
        exits(run(daemon, "send", "t", "--lines", *words, stdin=b"a\nb\n"), 9)
        equal((folder.bodies(), bodies(daemon)), ([("a", "no")], ["a", "b"]))


@test
def without_a_file_the_exit_code_is_the_first_failures():
    for script, code in ((refused, 3), (illegal, 1), (unknown, 3)):
        with FakeDaemon(script) as daemon:
            exits(run(daemon, "send", "t", "a", "--retry-for", "100ms"), code)


@test
def an_interrupt_ends_the_trying_and_what_is_left_goes_to_the_file():
    with Folder() as folder, FakeDaemon(refused) as daemon:
        words = ("send", "t", "--lines", "--retry-for", "1h", "--undelivered", str(folder.path))
        process = subprocess.Popen(command(daemon, *words), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"a\nb\n")
        process.stdin.flush()
        contains(process.stderr.readline(), b"refuses connections")
        contains(process.stderr.readline(), b"trying again")
        process.send_signal(signal.SIGTERM)
        # The input is still open: what is there is taken, and no more is waited for.
        tap.equal(process.wait(PATIENCE_S), 9, "the exit code")
        process.communicate()
        equal(folder.bodies(), [("a", "no"), ("b", "no")])


@test
def from_sends_what_is_in_the_file_and_empties_it():
    with Folder() as folder, FakeDaemon(stored) as daemon:
        folder.write("a", properties={"KEYS": "k"}, group="G", note="of somebody's")
        folder.write("b")
        exits(run(daemon, "send", "--from", str(folder.path)), 0)
        equal([(r.body, r.ext) for r in daemon.requests],
              [(b"a", {"topic": "t", "producerGroup": "G", "property.KEYS": "k"}), (b"b", {"topic": "t"})])
        equal((folder.letters(), os.listdir(folder.folder.name)), ([], ["undelivered"]))
        exits(run(daemon, "send", "--from", str(folder.path)), 0)
        exits(run(daemon, "send", "--from", str(folder.path) + ".absent"), 0)
        equal(len(daemon.requests), 2)


@test
def what_fails_again_stays_in_the_file():
    with Folder() as folder, FakeDaemon(by_body(b=illegal)) as daemon:
        for words in ((), ("--undelivered", str(folder.path))):
            folder.path.unlink(missing_ok=True)
            folder.write("a", "b", "c")
            os.chmod(folder.path, 0o640)
            exits(run(daemon, "send", "--from", str(folder.path), *words), 9)
            equal(folder.bodies(), [("b", "no")])
            equal(stat.S_IMODE(folder.path.stat().st_mode), 0o640)


@test
def what_fails_again_may_go_to_another_file():
    with Folder() as folder, Folder() as other, FakeDaemon(by_body(b=illegal)) as daemon:
        folder.write("a", "b", "c")
        exits(run(daemon, "send", "--from", str(folder.path), "--undelivered", str(other.path)), 9)
        equal((folder.bodies(), other.bodies()), ([], [("b", "no")]))


@test
def what_was_perhaps_stored_stays_until_it_may_arrive_twice():
    with Folder() as folder, FakeDaemon(stored) as daemon:
        folder.write("a", sent="maybe", properties={"UNIQ_KEY": "U1"})
        folder.write("b")
        exits(run(daemon, "send", "--from", str(folder.path)), 10)
        equal((bodies(daemon), folder.bodies()), (["b"], [("a", "maybe")]))
        exits(run(daemon, "send", "--from", str(folder.path), "--at-least-once"), 0)
        equal((daemon.requests[1].ext["property.UNIQ_KEY"], folder.bodies()), ("U1", []))


@test
def lines_that_are_no_messages_are_told_and_kept():
    rows = ["nonsense", "[]", '{"topic":"t"}', '{"topic":"t","body":"?"}', '{"body":"YQ=="}',
            '{"topic":"t","body":"YQ==","sent":"yes"}', '{"topic":"t","body":"YQ==","properties":{"a":1}}']
    with Folder() as folder, FakeDaemon(stored) as daemon:
        folder.path.write_text("".join(row + "\n" for row in rows) + "\n")
        folder.write("a")
        result = run(daemon, "send", "--from", str(folder.path))
        exits(result, 9)
        equal((bodies(daemon), folder.path.read_text().splitlines()), (["a"], rows))
        for n in range(len(rows)):
            contains(result.stderr, f"line {n + 1}: not sent, and kept".encode())


@test
def others_add_to_the_file_while_it_is_sent_and_nobody_else_sends_it():
    with Folder() as folder:
        def script(request):
            """While the first letter is on its way somebody else adds one, and a third process would send the file."""
            if request.body == b"a":
                with FakeDaemon(refused) as other:
                    exits(run(other, "send", "t", "added", "--undelivered", str(folder.path)), 9)
                    result = run(other, "send", "--from", str(folder.path))
                    exits(result, 9)
                    contains(result.stderr, b"another process is sending")
                    equal(bodies(other), ["added"])
            return illegal(request) if request.body == b"b" else stored(request)

        with FakeDaemon(script) as daemon:
            folder.write("a", "b", "c")
            exits(run(daemon, "send", "--from", str(folder.path)), 9)
            equal((bodies(daemon), folder.bodies()), (["a", "b", "c"], [("b", "no"), ("added", "no")]))


@test
def a_process_that_is_killed_leaves_the_file_whole():
    with Folder() as folder:
        killed = []

        def script(request):
            if request.body == b"b" and not killed:
                killed.append(process.kill())
                return "close"
            return stored(request)

        with FakeDaemon(script) as daemon:
            folder.write("a", "b")
            before = folder.path.read_text()
            process = subprocess.Popen(command(daemon, "send", "--from", str(folder.path)), stdout=subprocess.DEVNULL)
            process.wait(PATIENCE_S)
            equal(folder.path.read_text(), before)
            exits(run(daemon, "send", "--from", str(folder.path)), 0)
            equal((bodies(daemon), folder.bodies()), (["a", "b", "a", "b"], []))


@test
def a_link_stays_a_link():
    with Folder() as folder, FakeDaemon(stored) as daemon:
        folder.write("a")
        link = folder.path.with_name("link")
        link.symlink_to(folder.path)
        exits(run(daemon, "send", "--from", str(link)), 0)
        equal((link.is_symlink(), folder.bodies()), (True, []))


@test
def a_file_that_cannot_be_written_is_told_before_anything_is_sent():
    with FakeDaemon(stored) as daemon:
        result = run(daemon, "send", "t", "a", "--undelivered", "/nowhere/at/all")
        exits(result, 2)
        contains(result.stderr, b"/nowhere/at/all cannot be written")
        equal(daemon.requests, [])
        exits(run(daemon, "send", "--from", daemon.folder), 2)


@test
def a_full_disk_loses_a_message_aloud():
    if not os.path.exists("/dev/full"):
        tap.skip("there is no /dev/full")
    with FakeDaemon(refused) as daemon:
        result = run(daemon, "send", "t", "a", "--undelivered", "/dev/full")
        exits(result, 1)
        contains(result.stderr, b"cannot be written (No space left on device)")


@test
def wrong_usage_is_told():
    rows = [
        (("send", "t", "b", "--retry-for", "1s", "--oneway"), "not with --oneway"),
        (("send", "t", "b", "--undelivered", "f", "--transaction", "true", "--group", "g"), "not with --transaction"),
        (("send", "--from", "f", "--tag", "x"), "--from FILE has whole messages"),
        (("send", "--from", "f", "--lines"), "--from FILE has whole messages"),
        (("send", "t", "--from", "f"), "'t' is too much"),
        (("send", "t", "b", "--property", b"a=\xff"), "is not UTF-8"),
        (("send", b"t\xff", "b"), "is not UTF-8"),
    ]
    with FakeDaemon(stored) as daemon:
        for words, part in rows:
            result = run(daemon, *words)
            exits(result, 2)
            contains(result.stderr.decode(errors="replace"), part)


tap.main()
