#!/usr/bin/env python3
"""
tests/faults.md as a test: every fault has a row, and every test that a row names exists

It speaks TAP, a line for each row: "not ok" names the file or the test that is not there, and a
row without any test is skipped, so that it is never taken for passed. SOURCE_ROOT is the tree.
"""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ.get("SOURCE_ROOT") or pathlib.Path(__file__).resolve().parents[1])
N_ROWS = 46
ROW = re.compile(r"(\d+)\. (.+)")
TEST = re.compile(r"\s+- ([\w./]+)(?:: (\w+))?$")
SHORT = re.compile(r"\s+- Short: (.+)")
# How a test is begun in the files that have any.
BEGIN = {".py": r"\n@test(?:\(.*\))?(?:\n@.*)*\ndef %s\(", ".c": r"\nSTART_TEST\(\s*%s\)"}


def rows(text):
    """[(number, behaviour, [(file, test or None)], [what is short], [what is wrong])]"""
    found = []
    for line in text.splitlines():
        row, test, short = ROW.match(line), TEST.match(line), SHORT.match(line)
        if row:
            found.append((int(row[1]), row[2], [], [], []))
        elif found and test:
            found[-1][2].append((test[1], test[2]))
        elif found and short:
            found[-1][3].append(short[1])
        elif found and line.startswith(" "):
            found[-1][4].append(f"'{line.strip()}' is no test, as in '- FILE: TEST'")
    return found


def problem(file, test):
    """Why this is no test, or None."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return f"tests/{file} does not exist"
    if test is None:
        return None
    begin = BEGIN.get(path.suffix, BEGIN[".py"])
    return None if re.search(begin % test, path.read_text()) else f"tests/{file} has no {test}"


def main():
    found = rows((ROOT / "tests" / "faults.md").read_text())
    n_failed = 0
    for number, (row, behaviour, tests, short, problems) in enumerate(found, 1):
        problems += [text for test in tests if (text := problem(*test))]
        if row != number:
            problems.append(f"row {row} stands where row {number} is due")
        if not tests and not short:
            problems.append("it names no test, and does not say what is short")
        skipped = "" if tests or problems else f" # SKIP {'; '.join(short)}"
        print(f"{'not ok' if problems else 'ok'} {number} - {behaviour}{skipped}")
        for text in problems:
            print(f"# {text}")
        n_failed += bool(problems)
    if len(found) != N_ROWS:
        print(f"# {len(found)} rows, expected {N_ROWS}")
        n_failed += 1
    print(f"1..{max(len(found), N_ROWS)}")
    sys.exit(1 if n_failed else 0)


main()
