"""
Peers

The clients that remotingd replaces, in-process: one program each below peers/, with the client's
version pinned, built here from its registry when it is asked for (the Rust client takes minutes).
They talk to the stub's TCP port with the requests of the callers, all through one client and so one
connection, as many requests in flight as the shape says: what 1:W is through a hop.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import build
import measure

sys.path.insert(0, str(build.ROOT / "tests" / "support"))
import java_program  # noqa: E402
import rocketmq_cluster  # noqa: E402

SOURCES = build.ROOT / "tests/bench/peers"
TARGET = build.BUILD / "peers"
JAVA_WARM_UP_SECONDS = 5.0


class PeerError(Exception):
    """A peer does not build; the text is what its compiler said."""


def _run(command, directory, **environment):
    if not shutil.which(command[0]):
        raise PeerError(f"{command[0]} is needed to build a peer, and is not here")
    result = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise PeerError(f"{command[0]} failed in {directory}:\n{result.stderr[-3000:]}")


def _rust():
    # The crate uses features that only nightly compilers allow.
    _run(
        ["cargo", "build", "--release", "--locked", "--target-dir", TARGET / "rust"],
        SOURCES / "rust",
        RUSTC_BOOTSTRAP="1",
    )
    return [TARGET / "rust" / "release" / "bench-peer"]


def _go():
    _run(["go", "build", "-o", TARGET / "go", "."], SOURCES / "go", CGO_ENABLED="0")
    return [TARGET / "go"]


def java(program):
    """The command of one of the classes in peers/java that have a main()."""
    sources = sorted((SOURCES / "java").glob("*.java"))
    try:
        return java_program.command(sources, TARGET / "java", program)
    except java_program.BuildError as error:
        raise PeerError(str(error)) from None


BUILDERS = {"rust": _rust, "java": lambda: java("Peer"), "go": _go}


class Peer:
    """A client's program, built. It has no process of its own between measurements."""

    pid = None

    def __init__(self, name, cpus):
        self.name = name
        self.cpus = cpus
        TARGET.mkdir(parents=True, exist_ok=True)
        self.command = BUILDERS[name]()

    @staticmethod
    def takes(shape):
        """A client is one caller with a JSON header."""
        return shape.kind == "closed" and shape.callers == 1 and shape.form == "json"

    def throughput(self, bench, shape):
        """As measure.Bench.throughput(); the CPU is the whole process's, callers included."""
        warm_up = JAVA_WARM_UP_SECONDS if self.name == "java" else 0.3
        before = measure.cpu_seconds(bench.stub.pid)
        result = measure.run_program(
            [
                *("taskset", "-c", self.cpus, *self.command, bench.stub.tcp),
                *(shape.in_flight, shape.body, warm_up, bench.seconds),
            ]
        )
        stub = measure.cpu_seconds(bench.stub.pid) - before
        raw = json.loads(result.stdout.strip().splitlines()[-1])
        cpu_us = raw["cpu_s"] / max(raw["requests"], 1) * 1e6
        stub_us = stub / max(raw["total"], 1) * 1e6
        return {
            "rate": raw["rate"],
            "p50_us": raw["p50_us"],
            "p99_us": raw["p99_us"],
            "cpu_us": cpu_us,
            "path_us": cpu_us + stub_us,
        }


def versions():
    """What is pinned, as the files say it."""

    def first(path, pattern):
        return re.search(pattern, (SOURCES / path).read_text()).group(1)

    return {
        "rust": "rocketmq-remoting " + first("rust/Cargo.toml", r'rocketmq-remoting = "=(.*)"'),
        "java": f"NettyRemotingClient {rocketmq_cluster.VERSION}",
        "go": "rocketmq-client-go " + first("go/go.mod", r"rocketmq-client-go/v2 (v\S+)"),
    }
