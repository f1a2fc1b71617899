#!/usr/bin/env python3
"""
Runs TAP programs and counts what they report

    tap_results.py run COUNTS [--timeout SECONDS] PROGRAM...  runs each and shows what failed
    tap_results.py meson COUNTS TESTLOG.JSON                  counts what meson test wrote down
    tap_results.py total COUNTS                               the closing line; the exit code is 0
                                                              if nothing failed, something passed

Counts are added to the file COUNTS.

A program that crashes, does not end in time, prints no plan or fewer tests than planned has failed,
whatever it printed.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

RESULT = re.compile(r"^\s*(not ok|ok)\b(.*)$")
PLAN = re.compile(r"^\s*1\.\.(\d+)")


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed" + (
            f", {self.skipped} skipped" if self.skipped else ""
        )

    def add_to(self, path):
        with open(path, "a") as file:
            file.write(f"{self.passed} {self.failed} {self.skipped}\n")


def count(text, ended_well, why):
    """(counts, what is wrong with the whole) of one program's output."""
    counts = Counts()
    planned = None
    n_seen = 0
    for line in text.splitlines():
        plan = PLAN.match(line)
        result = RESULT.match(line)
        if plan and planned is None:
            planned = int(plan.group(1))
        elif result:
            n_seen += 1
            if re.search(r"#\s*SKIP", result.group(2), re.IGNORECASE):
                counts.skipped += 1
            elif result.group(1) == "ok":
                counts.passed += 1
            else:
                counts.failed += 1
    problem = None
    if planned is None:
        problem = f"no TAP plan ({why})"
    elif n_seen != planned:
        problem = f"{n_seen} of {planned} tests reported ({why})"
    elif not ended_well and not counts.failed:
        problem = why
    if problem:
        counts.failed += 1
    return counts, problem


def failures(text):
    """The lines of what failed: each "not ok" and the comments below it."""
    lines = []
    inside = False
    for line in text.splitlines():
        result = RESULT.match(line)
        if result:
            inside = result.group(1) == "not ok"
        if inside:
            lines.append(line)
    return lines


def run(program, timeout):
    """
    (output, exit code, or None when it was killed) of one program, which has a process group of its
    own.
    """
    command = [sys.executable, program] if program.endswith(".py") else [program]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=timeout)
        return output.decode(errors="replace"), child.returncode
    except subprocess.TimeoutExpired:
        # It may still take its own processes down.
        child.send_signal(signal.SIGTERM)
        try:
            output, _ = child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
        return output.decode(errors="replace"), None
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def show(name, counts, problem, text, seconds):
    print(f"  {name}: {counts} ({seconds:.1f} s)", flush=True)
    if not counts.failed:
        return
    lines = failures(text)
    if problem:
        lines += [
            f"# {problem}; its output ends with:",
            *(f"# {line}" for line in text.splitlines()[-15:]),
        ]
    for line in lines[:200]:
        print(f"    {line}", flush=True)


def run_all(counts_path, programs, timeout):
    for program in programs:
        began = time.monotonic()
        text, code = run(program, timeout)
        why = f"not finished after {timeout:.0f} s" if code is None else f"exit code {code}"
        counts, problem = count(text, code == 0, why)
        counts.add_to(counts_path)
        path = pathlib.Path(program)
        show(f"{path.parent.name}/{path.stem}", counts, problem, text, time.monotonic() - began)


def read_meson(counts_path, log_path):
    for line in pathlib.Path(log_path).read_text().splitlines():
        row = json.loads(line)
        text = row.get("stdout") or ""
        ended_well = row["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
        why = f"{row['result']}, exit code {row.get('returncode')}"
        counts, problem = count(text, ended_well, why)
        counts.add_to(counts_path)
        if counts.failed:
            show(
                row["name"],
                counts,
                problem,
                text + "\n" + (row.get("stderr") or ""),
                row.get("duration") or 0,
            )


def total(counts_path):
    rows = [
        [int(word) for word in line.split()]
        for line in pathlib.Path(counts_path).read_text().splitlines()
    ]
    counts = Counts(*(sum(column) for column in zip(*rows))) if rows else Counts()
    print(counts)
    return 0 if counts.passed and not counts.failed else 1


def main():
    what, counts_path, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(143))
    if what == "run":
        timeout = 180.0
        if rest[:1] == ["--timeout"]:
            timeout = float(rest[1])
            rest = rest[2:]
        run_all(counts_path, rest, timeout)
    elif what == "meson":
        read_meson(counts_path, rest[0])
    elif what == "total":
        sys.exit(total(counts_path))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
