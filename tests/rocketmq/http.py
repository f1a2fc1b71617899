#!/usr/bin/env python3
"""The HTTP door against a real cluster: every line of its page, and many at once beside others"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from daemon_process import ROOT
from http_client import HttpClient
from remoting import SEND_MESSAGE
from rocketmq_story import daemon, new_topic, receive_all, succeeded, uses
from tap import check, equal, less, main, skip, test

PAGE = ROOT / "client" / "HTTP.md"
SOCKET = "/run/remotingd/http.sock"
PROMPT = "    $ "
# Messages of each sender below; HTTP_MESSAGES=10000 makes them 100,000 and more in all.
N_EACH = int(os.environ.get("HTTP_MESSAGES", "250"))
N_CURLS = N_PHPS = 4
N_REMOTING = 2
PHP_SENDER = r"""
[$_, $path, $topic, $name, $n] = $argv;
$stream = stream_socket_client("unix://$path");
for ($i = 0; $i < $n; $i++) {
    $body = "$name $i";
    fwrite($stream, "POST /v1/topics/$topic/messages HTTP/1.1\r\nHost: mq\r\n"
        . "Content-Length: " . strlen($body) . "\r\n\r\n$body");
    $status = fgets($stream);
    $length = 0;
    while (($line = rtrim(fgets($stream))) !== "") {
        if (stripos($line, "content-length:") === 0) {
            $length = (int) substr($line, 15);
        }
    }
    stream_get_contents($stream, $length);
    if (!str_starts_with($status, "HTTP/1.1 200 ")) {
        exit(1);
    }
}
"""


@contextlib.contextmanager
def http_daemon():
    """The daemon before the cluster, and the path of its HTTP socket."""
    with tempfile.TemporaryDirectory(prefix="remotingd-") as directory:
        path = str(pathlib.Path(directory) / "http.sock")
        with daemon(settings={"http": {"socket": path}}) as running:
            yield running, path


def commands_of_page():
    """[(command, the lines that follow it)] of the page, in its order."""
    rows = []
    is_output = False
    for line in PAGE.read_text().splitlines():
        if line.startswith(PROMPT):
            rows.append((line[len(PROMPT) :], []))
            is_output = True
        elif is_output and line.startswith("    "):
            rows[-1][1].append(line[4:])
        else:
            is_output = False
    return rows


def is_as_printed(seen, printed):
    """Whether it is what the page shows, where ... stands for anything."""
    pattern = ".*".join(re.escape(part) for part in printed.split("..."))
    return re.fullmatch(pattern, seen, re.DOTALL) is not None


@test(deadline=120)
@uses("POP, ACK, receipts")
def every_command_of_the_page_does_what_the_page_shows():
    rows = commands_of_page()
    less(12, len(rows), "commands of the page")
    topic = new_topic("orders")
    with http_daemon() as (running, path), tempfile.TemporaryDirectory() as directory:
        for command, printed in rows:
            if command.startswith("php ") and not shutil.which("php"):
                continue
            command = command.replace(SOCKET, path).replace("/orders/", f"/{topic}/")
            command = re.sub(r"/routes/orders$", f"/routes/{topic}", command)
            done = subprocess.run(
                ["bash", "-c", command], cwd=directory, capture_output=True, text=True, timeout=60
            )
            equal((done.returncode, done.stderr), (0, ""), f"the end of: {command}")
            expected = "\n".join(printed)
            check(
                is_as_printed(done.stdout.strip(), expected),
                f"{command}\n  printed {done.stdout!r}\n  the page shows {expected!r}",
            )


def curl_sends(path, topic, name, n):
    """One process, n requests, one connection: a configuration with a section for each."""
    sections = [
        f'url = "http://mq/v1/topics/{topic}/messages"\nunix-socket = "{path}"\n'
        f'data = "{name} {i}"\noutput = "/dev/null"\nfail\nsilent\n'
        for i in range(n)
    ]
    lines = "next\n".join(sections).encode()
    command = ["curl", "--fail-early", "-K", "-"]
    done = subprocess.run(command, input=lines, capture_output=True)
    return done.returncode


def php_sends(path, topic, name, n):
    done = subprocess.run(["php", "-r", PHP_SENDER, path, topic, name, str(n)])
    return done.returncode


def remoting_sends(running, topic, name, n):
    with remoting.Client(running.socket) as client:
        for i in range(n):
            succeeded(client.call(SEND_MESSAGE, {"topic": topic}, f"{name} {i}".encode()))
    return 0


class Receiver(threading.Thread):
    """Receives and acknowledges by HTTP until the bodies are all here, or its time is over."""

    def __init__(self, path, topic, missing, seen):
        super().__init__(daemon=True)
        self.client = HttpClient(path)
        self.target = f"/v1/topics/{topic}/groups/http-many/receive?wait=1s&max=32"
        self.missing = missing
        self.seen = seen
        self.error = None

    def run(self):
        try:
            while self.missing:
                rows = self.client.call("POST", self.target)
                equal(rows.status, 200, f"a receive ({rows.body[:200]!r})")
                if rows.json():
                    acks = self.client.call("POST", "/v1/ack", rows.body).json()
                    equal({row["code"] for row in acks}, {0}, "the rows of the ack")
                for row in rows.json():
                    self.missing.discard(row["body"])
                    self.seen.append(row["body"])
        except Exception as error:  # told by the thread that waits
            self.error = error


@test(deadline=150 + N_EACH // 20)
@uses("POP, ACK, receipts")
def nothing_is_lost_of_what_many_send_and_receive_beside_remoting_callers():
    if not shutil.which("php"):
        skip("php is not installed")
    topic = new_topic()
    names = [f"curl-{n}" for n in range(N_CURLS)] + [f"php-{n}" for n in range(N_PHPS)]
    names += [f"remoting-{n}" for n in range(N_REMOTING)]
    everything = {f"{name} {i}" for name in names for i in range(N_EACH)}
    with http_daemon() as (running, path):
        codes, missing, seen = {}, set(everything), []
        receivers = [Receiver(path, topic, missing, seen) for _ in range(4)]

        def run(name):
            kind = name.split("-")[0]
            if kind == "curl":
                codes[name] = curl_sends(path, topic, name, N_EACH)
            elif kind == "php":
                codes[name] = php_sends(path, topic, name, N_EACH)
            else:
                codes[name] = remoting_sends(running, topic, name, N_EACH)

        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in [*threads, *receivers]:
            thread.start()
        for thread in threads:
            thread.join()
        equal(codes, {name: 0 for name in names}, "the exit codes of the senders")
        for receiver in receivers:
            receiver.join()
            equal(receiver.error, None, "what a receiver met")
            receiver.client.close()
        equal(set(seen), everything, "the bodies received")


@test
@uses("timers", "POP, ACK, receipts")
def what_is_sent_by_http_is_received_by_remoting_with_all_that_was_said():
    topic = new_topic()
    fields = {"X-Mq-Tags": "t", "X-Mq-Keys": "k1 k2", "X-Mq-Property-Shop": "Köln"}
    with http_daemon() as (running, path), HttpClient(path) as client:
        answer = client.call("POST", f"/v1/topics/{topic}/messages", "gr\u00fcn".encode(), fields)
        equal(answer.status, 200, f"the status ({answer.body!r})")
        (row,) = receive_all(running.client(), topic, "http-1", 1)
        equal((row["body"], row["tags"], row["keys"]), ("gr\u00fcn", "t", "k1 k2"), "the message")
        equal(row["properties"]["Shop"], "Köln", "its property")
        equal(row["uniqKey"], answer.json()["msgId"], "its id")
        equal(row["offsetMsgId"], answer.json()["offsetMsgId"], "its place")


@test(deadline=90)
@uses("POP, ACK, receipts")
def what_is_given_back_comes_again_after_its_delay():
    topic = new_topic()
    target = f"/v1/topics/{topic}/groups/http-2/receive?wait=20s"
    with http_daemon() as (running, path), HttpClient(path) as client:
        equal(client.call("POST", f"/v1/topics/{topic}/messages", b"x").status, 200, "the send")
        first = client.call("POST", target)
        equal(len(first.json()), 1, "messages")
        rows = client.call("POST", "/v1/nack", first.body, {"X-Mq-Delay": "2s"}).json()
        equal((rows[0]["code"], "newReceipt" in rows[0]), (0, True), "the nack")
        again = client.call("POST", target)
        equal([row["body"] for row in again.json()], ["x"], "what comes again")
        equal(client.call("POST", "/v1/ack", again.body).json()[0]["code"], 0, "the ack")
        equal(json.loads(again.body)[0]["topic"], topic, "its topic")


main()
