#!/usr/bin/env python3
"""
Line coverage of the tree, by folder

    coverage.py ROOT BUILD      reads what the programs built in BUILD have counted, with gcovr

The last two lines are what is wanted of protocol/ and of the tree. The exit code is 0 if both have
it.
"""

import json
import subprocess
import sys

FOLDERS = (
    *("protocol/", "config/", "daemon/core/", "daemon/loop/", "daemon/upstream/"),
    *("daemon/completion/", "daemon/session/", "daemon/admin/", "daemon/", "client/"),
)
WANTED_OF_PROTOCOL = 95.0
WANTED_OF_TREE = 85.0


def read(root, build):
    """(lines, lines covered) of every source."""
    done = subprocess.run(
        ["gcovr", "--root", root, "--json-summary", "--exclude", "tests/", "--exclude", "build"]
        + ["--exclude", "client/examples", build],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return {
        row["filename"]: (row["line_total"], row["line_covered"])
        for row in json.loads(done.stdout)["files"]
        if row["line_total"]
    }


def percent(rows):
    lines, covered = (sum(column) for column in zip(*rows)) if rows else (0, 0)
    return 100.0 * covered / lines if lines else 0.0


def main():
    files = read(*sys.argv[1:])
    left = dict(files)
    for folder in FOLDERS:
        inside = {name: left.pop(name) for name in list(left) if name.startswith(folder)}
        wanted = WANTED_OF_PROTOCOL if folder == "protocol/" else WANTED_OF_TREE
        print(f"{folder:30} {percent(list(inside.values())):6.1f} %")
        for name, row in sorted(inside.items()):
            if percent([row]) < wanted:
                print(f"  {name:40} {percent([row]):6.1f} %  {row[0] - row[1]} lines not run")
    protocol = percent([row for name, row in files.items() if name.startswith("protocol/")])
    tree = percent(list(files.values()))
    print(f"protocol/ {protocol:.1f} % of lines (at least {WANTED_OF_PROTOCOL:.0f})")
    print(f"the tree  {tree:.1f} % of lines (at least {WANTED_OF_TREE:.0f})")
    sys.exit(0 if protocol >= WANTED_OF_PROTOCOL and tree >= WANTED_OF_TREE else 1)


if __name__ == "__main__":
    main()
