#!/usr/bin/env python3
"""The log: fields of their own in the journal, nothing that waits for it, nothing that fills it"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from daemon_process import Daemon
from fake_broker import FakeBroker
from remoting import GET_MAX_OFFSET
from scenario import stage
from tap import check, contains, equal, less, main, test, wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
N_BAD = 300


class Journal:
    """Plays the journal: a socket that takes datagrams of KEY=value lines."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="journal-")
        self.path = f"{self.directory}/socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.entries = []
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory)

    def _read(self):
        while True:
            lines = self.socket.recv(65536).decode().splitlines()
            self.entries.append(dict(line.split("=", 1) for line in lines))

    def find(self, **fields):
        return [entry for entry in self.entries if fields.items() <= entry.items()]


class JournalDaemon(Daemon):
    """One that logs to a journal, whose messages stand in for the log that a Daemon looks into."""

    def __init__(self, journal, *arguments, **more):
        self.journal = journal
        through = ["env", f"REMOTINGD_JOURNAL_SOCKET={journal.path}"]
        super().__init__(*arguments, through=through, **more)

    def log(self):
        kept = "\n".join(entry["MESSAGE"] for entry in list(self.journal.entries))
        return super().log() + kept


@test
def in_the_journal_every_key_is_a_field():
    with Journal() as journal, FakeBroker() as nameserver:
        settings = {"log": {"target": "journal", "level": "debug"}}
        with JournalDaemon(journal, [nameserver.address], settings) as daemon:
            client = daemon.client()
            ext = {"sidecar.addr": "nowhere", "sidecar.traceparent": TRACE}
            answer = client.call(GET_MAX_OFFSET, ext)
            number = answer.ext["sidecar.requestId"]
            found = wait_until(lambda: journal.find(REMOTINGD_REQUEST=number), 10, "the failure")
            entry = found[0]
            equal(entry["REMOTINGD_ERROR"], "invalid", "the field of the error")
            equal(entry["REMOTINGD_TRACE"], TRACE, "the field of the trace")
            equal(entry["REMOTINGD_PID"], str(os.getpid()), "the field of the caller")
            equal((entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]), ("6", "remotingd"), "the rest")
            contains(entry["MESSAGE"], f"request={number} ", "the line")
            check(journal.find(PRIORITY="7"), "debug has its own priority")
            equal(pathlib.Path(daemon.log_path).read_text(), "", "standard error")


@test
def a_journal_that_takes_nothing_delays_nobody():
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        full.bind(path)
        full.settimeout(0.01)
        with FakeBroker() as nameserver:
            settings = {"log": {"target": "journal", "level": "debug"}}
            daemon = Daemon(
                [nameserver.address], settings, through=["env", f"REMOTINGD_JOURNAL_SOCKET={path}"]
            )
            with started(daemon):
                began = time.monotonic()
                for _ in range(50):
                    with remoting.Client(daemon.socket) as client:
                        answer = client.call(30012)
                        equal(answer.code, 0, "an answer")
                less(time.monotonic() - began, 10, "seconds for 50 callers")
                check(answer.json()["logLinesDropped"] > 0, "lines were dropped and counted")
        full.close()


class started:
    """The daemon, when callers can connect, whatever it logs."""

    def __init__(self, daemon, stderr=subprocess.DEVNULL):
        self.daemon = daemon
        self.stderr = stderr

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.daemon.through, self.daemon.binary, "--config", str(self.daemon.config_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.stderr,
        )
        wait_until(self._answers, 20, "it takes callers")
        return self.process

    def _answers(self):
        try:
            remoting.Client(self.daemon.socket).close()
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def __exit__(self, *_):
        self.process.terminate()
        try:
            equal(self.process.wait(30), 0, "the exit code")
        finally:
            self.process.kill()
            shutil.rmtree(self.daemon.directory)


def dropped(path):
    """remotingd_log_lines_dropped_total, as the metrics at this socket say it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        text = b""
        while part := connection.recv(65536):
            text += part
    return int(re.search(rb"\nremotingd_log_lines_dropped_total (\d+)\n", text)[1])


@test
def a_pipe_that_nobody_reads_delays_nobody_and_what_is_lost_is_counted():
    with FakeBroker() as nameserver, tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/metrics.sock"
        settings = {"log": {"level": "debug"}, "metrics": {"listen": path}}
        daemon = Daemon([nameserver.address], settings)
        with started(daemon, subprocess.PIPE):
            began = time.monotonic()
            while dropped(path) == 0:
                less(time.monotonic() - began, 40, "seconds until the pipe is full")
                for _ in range(100):
                    with remoting.Client(daemon.socket) as client:
                        equal(client.call(30012).code, 0, "an answer")
            check(dropped(path) > 0, "lines are dropped and counted")


@test
def what_repeats_does_not_fill_the_log_and_is_counted():
    with stage() as on:
        for _ in range(N_BAD):
            with remoting.Client(on.daemon.socket) as client:
                client.send_bytes(b"GET / HTTP/1.1\r\n\r\n" * 4)
                client.wait_for_end()
        n_lines = on.daemon.log().count("protocol error")
        check(n_lines > 0, "it is logged")

        def told():
            with remoting.Client(on.daemon.socket) as client:
                client.send_bytes(b"GET / HTTP/1.1\r\n\r\n" * 4)
                client.wait_for_end()
            log = on.daemon.log()
            n_left_out = sum(int(n) for n in re.findall(r'left_out=(\d+) of="%s protocol', log))
            return n_left_out + log.count("protocol error problem") >= N_BAD

        wait_until(told, 20, "all are logged or counted")


@test
def one_cause_does_not_keep_others_out_of_the_log():
    with stage() as on:
        client = on.client()
        numbers = [client.send(GET_MAX_OFFSET, {"sidecar.addr": "nowhere"}) for _ in range(100)]
        client.gather(numbers)
        on.broker.refuse()
        answer = on.call(client, "x", {"sidecar.timeoutMillis": "200"})
        number = answer.ext["sidecar.requestId"]
        contains(on.daemon.log(), f"request={number} ", "the log")
        less(on.daemon.log().count("error=invalid"), 31, "lines of what repeats")


main()
