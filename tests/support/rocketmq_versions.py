#!/usr/bin/env python3
"""
The stories of tests/rocketmq against several versions of Apache RocketMQ

    rocketmq_versions.py COUNTS [--only VERSION] STORY...

Runs each story against a cluster of each version, one cluster at a time, as tap_results.py runs it,
and prints the table of the README: what of RocketMQ works with which version. A cell is what the
tests say that are marked with @uses (rocketmq_story.py): "yes" where all of them passed, "FAILED"
where one did not, "-" where the version has not got it and none was run.
"""

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import rocketmq_cluster
import tap_results
from rocketmq_story import FEATURES, USES

VERSIONS = (rocketmq_cluster.VERSION, "5.3.3", "5.1.4", "4.9.7")
STORY_SECONDS = 300
PASSED, FAILED, NOT_RUN = "yes", "FAILED", "-"


def outcomes(text):
    """(features, outcome) of each test of a story that says what it uses."""
    features = []
    for line in text.splitlines():
        result = tap_results.RESULT.match(line)
        if line.startswith(f"# {USES}"):
            features = line[len(f"# {USES}") :].split("; ")
        elif result:
            if "# SKIP" in line:
                yield features, NOT_RUN
            else:
                yield features, PASSED if result.group(1) == "ok" else FAILED
            features = []


def run_story(counts_path, story, cells):
    began = time.monotonic()
    text, code = tap_results.run(story, STORY_SECONDS)
    why = f"not finished after {STORY_SECONDS} s" if code is None else f"exit code {code}"
    counts, problem = tap_results.count(text, code == 0, why)
    counts.add_to(counts_path)
    path = pathlib.Path(story)
    name = f"{path.parent.name}/{path.stem}"
    tap_results.show(name, counts, problem, text, time.monotonic() - began)
    for features, outcome in outcomes(text):
        for feature in features:
            cells.setdefault(feature, set()).add(outcome)


def run_version(counts_path, version, stories):
    """{feature: outcomes} of all stories."""
    print(f"-- RocketMQ {version}", flush=True)
    os.environ["ROCKETMQ_VERSION"] = version
    cells = {}
    directory = pathlib.Path(tempfile.mkdtemp(prefix="rocketmq-"))
    try:
        rocketmq_cluster.Cluster(2, 2, directory).start().keep_running()
        os.environ["ROCKETMQ_CLUSTER"] = str(directory)
        for story in stories:
            run_story(counts_path, story, cells)
    except rocketmq_cluster.ClusterError as error:
        print(f"  not ok - RocketMQ {version} did not start\n{error}", flush=True)
        tap_results.Counts(failed=1).add_to(counts_path)
    finally:
        # Stories start members again: the file knows who runs now.
        if (directory / "cluster.json").exists():
            rocketmq_cluster.Cluster.attach(directory).stop()
        shutil.rmtree(directory, ignore_errors=True)
    return cells


def cell(seen):
    # A test of two features that was not run for want of one says nothing about the other.
    for outcome in (FAILED, PASSED):
        if outcome in seen:
            return outcome
    return NOT_RUN


def print_table(by_version):
    print(f"| | {' | '.join(by_version)} |")
    print("|---|" + "---|" * len(by_version))
    for feature in FEATURES:
        row = [cell(cells.get(feature, set())) for cells in by_version.values()]
        print(f"| {feature} | {' | '.join(row)} |")


def main():
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(143))
    counts_path, *stories = sys.argv[1:]
    versions = VERSIONS
    if stories[:1] == ["--only"]:
        versions, stories = (stories[1],), stories[2:]
    by_version = {version: run_version(counts_path, version, stories) for version in versions}
    print_table(by_version)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
