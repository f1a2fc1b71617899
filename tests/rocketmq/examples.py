#!/usr/bin/env python3
"""
The examples of client/examples, each in its language, against a real cluster

Each sends, receives and acknowledges. A language that is not installed here is skipped, and counts
as not run. The one in C is built against an installed library, found by pkg-config.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import ROOT, binary
from rocketmq_story import daemon, new_topic, receive, uses
from tap import check, contains, equal, main, skip, test

EXAMPLES = ROOT / "client" / "examples"
LINES_MAX = 60


def run(*command, timeout=100, **more):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout, **more
    )
    equal(done.returncode, 0, f"the exit code of {command[0]} (standard error: {done.stderr})")
    return done.stdout


def sends_receives_and_acknowledges(name, *command, env=None):
    topic = new_topic()
    with daemon() as running:
        out = run(*command, running.socket, topic, "readers", env=env)
        lines = out.splitlines()
        equal(len(lines), 2, f"the lines that it printed: {out}")
        contains(lines[0], "sent to broker-", "the first line")
        equal(lines[1], f"received: hello from {name}", "the second line")
        again = receive(running.client(), topic, "readers", poll_millis=0)
        equal(again, [], "what was acknowledged does not wait")
        (stored,) = receive(running.client(), topic, "others")
        equal(stored["body"], f"hello from {name}", "the body as another group sees it")
        equal(stored["keys"], "hello-1", "its key")


def program(name):
    path = shutil.which(name)
    if path is None:
        skip(f"{name} is not installed")
    return path


@test(deadline=150)
@uses("POP, ACK, receipts")
def python():
    sends_receives_and_acknowledges(
        "Python", sys.executable, EXAMPLES / "python" / "hello.py"
    )


@test(deadline=150)
@uses("POP, ACK, receipts")
def php():
    sends_receives_and_acknowledges("PHP", program("php"), EXAMPLES / "php" / "hello.php")


@test(deadline=150)
@uses("POP, ACK, receipts")
def ruby():
    sends_receives_and_acknowledges("Ruby", program("ruby"), EXAMPLES / "ruby" / "hello.rb")


@test(deadline=150)
@uses("POP, ACK, receipts")
def node():
    sends_receives_and_acknowledges("Node", program("node"), EXAMPLES / "node" / "hello.mjs")


@test(deadline=150)
@uses("POP, ACK, receipts")
def perl():
    sends_receives_and_acknowledges("Perl", program("perl"), EXAMPLES / "perl" / "hello.pl")


# Where nobody compiled with it before, Go compiles its standard library first.
@test(deadline=280)
@uses("POP, ACK, receipts")
def go():
    with tempfile.TemporaryDirectory() as directory:
        built = pathlib.Path(directory) / "hello"
        run(program("go"), "build", "-o", built, EXAMPLES / "go" / "hello.go", timeout=240)
        sends_receives_and_acknowledges("Go", built)


@test(deadline=150)
@uses("POP, ACK, receipts")
def shell():
    tools = pathlib.Path(binary("REMOTINGCTL", "build-test/client/remotingctl")).parent
    path = {"PATH": f"{tools}:/usr/bin:/bin"}
    sends_receives_and_acknowledges(
        "the shell", "/bin/sh", EXAMPLES / "shell" / "hello.sh", env=path
    )


def find_one(directory, name):
    found = sorted(pathlib.Path(directory).rglob(name))
    equal(len(found), 1, f"files called {name} in the installed tree: {found}")
    return found[0]


@test(deadline=150)
@uses("POP, ACK, receipts")
def c_with_an_installed_library():
    build = pathlib.Path(binary("REMOTINGCTL", "build-test/client/remotingctl")).parents[1]
    with tempfile.TemporaryDirectory() as directory:
        run("meson", "install", "-C", build, "--no-rebuild", "--destdir", directory)
        library = find_one(directory, "libremotingclient.so.0")
        check(library.is_symlink(), "the soname is a link to the library of one version")
        description = find_one(directory, "remotingclient.pc")
        found = {
            **os.environ,
            "PKG_CONFIG_PATH": str(description.parent),
            "PKG_CONFIG_SYSROOT_DIR": directory,
        }
        flags = run("pkg-config", "--cflags", "--libs", "remotingclient", env=found).split()
        # A library that was built with sanitizers wants a program that has them.
        if b"__asan_init" in library.read_bytes():
            flags.append("-fsanitize=address,undefined")
        built = f"{directory}/hello"
        warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-std=c11"]
        run("cc", *warnings, EXAMPLES / "c" / "hello.c", "-o", built, *flags)
        sends_receives_and_acknowledges(
            "C", built, env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
        )


@test
def every_example_is_short():
    for path in sorted(EXAMPLES.glob("*/*")):
        n = len(path.read_text().splitlines())
        check(n <= LINES_MAX, f"{path.relative_to(ROOT)} has at most {LINES_MAX} lines, not {n}")


main()
