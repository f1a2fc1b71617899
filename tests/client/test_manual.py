"""The man pages beside the code: whole, without a word from mandoc's linter, and true.

REMOTINGCTL names the binary. Speaks TAP.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import manual
import tap
from tap import check, contains, equal, skip, test

ROOT = manual.ROOT
PAGES = ["daemon/remotingd.8", "client/remotingctl.1", "config/remotingd.ini.5", "client/remotingd-protocol.7",
         "systemd/remoting-worker@.service.8"]
# What mandoc says of pages that are not installed yet, or that have no revision of a BSD.
EXPECTED = ("referenced manual not found", "Mdocdate")


def text_of(path):
    """Of a page, or of what it is about."""
    return (ROOT / path).read_text()


def items(text):
    """The first words of a page's list items."""
    return re.findall(r"^\.It (?:[A-Z][a-z] )?(\S+)", text, re.M)


def section(text, name):
    return text.split(f".Sh {name}\n")[1].split("\n.Sh ")[0]


@test
def the_linter_of_mandoc_finds_nothing():
    if not shutil.which("mandoc"):
        skip("there is no mandoc")
    for path in PAGES:
        told = subprocess.run(["mandoc", "-T", "lint", "-W", "all", str(ROOT / path)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30).stdout
        lines = [line for line in told.splitlines() if not any(text in line for text in EXPECTED)]
        equal(lines, [], f"what the linter says of {path}")


@test
def every_page_has_its_sections_and_an_example():
    for path in PAGES:
        text = text_of(path)
        for name in ("NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"):
            contains(text, f".Sh {name}\n", path)
        contains(section(text, "EXAMPLES"), ".Bd -literal", f"the examples of {path}")


@test
def settings_and_commands_stand_there_as_the_programs_tell_them():
    for path, expected in manual.parts():
        _, part, _ = manual.split(path.read_text())
        for seen, wanted in zip(part.splitlines(), expected.splitlines()):
            equal(seen, wanted, f"{path.name} (tests/support/manual.py writes it anew)")
        equal(part, expected, f"the part of {path.name}")


@test
def every_row_of_the_settings_table_is_in_its_page():
    table = text_of("config/setting.c").split("const struct setting settings[] = {")[1].split("};")[0]
    rows = re.findall(r"^    (?:NAMED_)?(?:(?:CHOICE|TEXT|LIST)\(\w+, |[A-Z]+\()(\w+), (\w+),", table, re.M)
    equal(len(rows), table.count(".sentence = "), "the rows that were read")
    told = []
    for part in section(text_of("config/remotingd.ini.5"), "SETTINGS").split(".Ss Section ")[1:]:
        told += [(part.split()[0], key) for key in items(part)]
    equal(told, rows, "the settings of the page")


@test
def every_option_of_every_command_is_in_its_page():
    text = text_of("client/remotingctl.1").replace("\\-", "-")
    n = 0
    for path in sorted((ROOT / "client").glob("command_*.c")):
        for option in re.findall(r'^    \{ "([a-z-]+)", (?:no|required|optional)_argument', path.read_text(), re.M):
            contains(text, f"--{option}", f"an option of {path.name}")
            n += 1
    check(n > 20, f"options were found: {n}")


@test
def every_command_of_the_table_is_in_its_page():
    table = text_of("client/remotingctl.c").split("commands[] = {")[1].split("};")[0]
    names = [name.replace("_", "-") for name in re.findall(r"&command_(\w+)", table)]
    check(len(names) > 10, f"the table was read: {len(names)} rows")
    told = re.findall(r"^\.Ss (\S+)$", section(text_of("client/remotingctl.1"), "COMMANDS"), re.M)
    equal(told, names, "the commands")


@test
def every_exit_code_is_in_its_page():
    for path, code in (("client/remotingctl.1", "client/command.h"), ("daemon/remotingd.8", "daemon/main.c")):
        numbers = re.findall(r"=\s*(\d+),", text_of(code).split("enum exit_code {")[1].split("};")[0])
        check(len(numbers) >= 4, f"{code} has exit codes")
        equal(items(section(text_of(path), "EXIT STATUS")), numbers, f"the exit codes of {path}")


@test
def every_option_of_the_daemon_is_in_its_page():
    options = re.findall(r'\{ "([a-z-]+)", (?:no|required)_argument', text_of("daemon/main.c"))
    check(len(options) >= 5, "the options were found")
    for option in options:
        contains(text_of("daemon/remotingd.8"), f"-{option}", "remotingd.8")


@test
def every_failure_has_its_word_and_code_and_meaning():
    codes = dict(re.findall(r"\b(RESPONSE_\w+) = (\d+)", text_of("protocol/code.h")))
    rows = re.findall(r'\{ "([a-z-]+)", (\w+) \}', text_of("daemon/core/failure.c"))
    equal(len(rows), 12, "the failures of the daemon")
    errors = text_of("client/remotingd-protocol.7").split(".Ss Failures\n")[1].split("\n.Sh ")[0]
    told = re.findall(r"^\.It Ic (\S+) Pq (\d+)\n([A-Z][^\n]+)", errors, re.M)
    equal(sorted({name for name, _ in rows}), sorted(name for name, _, _ in told), "the words")
    first = {}
    for name, code in rows:
        first.setdefault(name, codes[code])
        contains(errors, codes[code], f"the codes of {name}")
    equal(first, {name: code for name, code, _ in told}, "the codes")


@test
def every_field_of_the_daemons_own_is_in_its_page():
    table = text_of("client/PROTOCOL.md").split("## Fields of the daemon's own")[1].split("\n## ")[0]
    fields = re.findall(r"`(sidecar\.\w+)`", "\n".join(re.findall(r"^\| (`sidecar[^|]*)\|", table, re.M)))
    check(len(fields) > 10, "the table was read")
    for field in fields:
        contains(text_of("client/remotingd-protocol.7"), f".It Li {field}\n", "remotingd-protocol.7")


tap.main()
