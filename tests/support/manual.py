#!/usr/bin/env python3
"""
The parts of the man pages that the programs know better: settings and commands

remotingd.ini(5) has every setting as config/remotingd.ini has it (a test of config/ keeps that the dump
of the settings table), remotingctl(1) every command as its --help
tells it. Both stand in the pages between two comments, and a test compares them with what this
makes of that file and of the program REMOTINGCTL.

    tests/support/manual.py        writes both parts into the pages anew
"""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BEGIN = '.\\" Made by tests/support/manual.py from here on.\n'
END = '.\\" Made by tests/support/manual.py up to here.\n'


def escape(text):
    """One line of text as roff takes it for nothing but text."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    text = text.replace("`", "\\(ga").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def sentences(text):
    """Prose, a sentence a line, as mandoc's linter wants it, and lines that fit its width."""
    lines = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(text.split())):
        line = ""
        for word in sentence.split(" "):
            if line and len(escape(line + " " + word)) > 78:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return [escape(line) for line in lines]


def literal(lines):
    return [".Bd -literal -offset indent", *map(escape, lines), ".Ed"]


def command_part(text):
    """A help, without its first line, which names the command."""
    page = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines = paragraph.split("\n")
        while lines:
            is_indented = lines[0].startswith("  ")
            n = next((i for i, line in enumerate(lines) if line.startswith("  ") != is_indented), len(lines))
            block, lines = lines[:n], lines[n:]
            if is_indented:
                page += literal([line[2:] for line in block])
            else:
                page += [".Pp", *sentences(" ".join(block))]
    return page


def run(program, *arguments):
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, check=True, timeout=30, text=True).stdout


def command_synopses(remotingctl):
    """What the overall help lists: [synopsis], such as "send TOPIC [BODY]"."""
    listed = run(remotingctl, "--help").split("tells more):\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}|(?<=\])\s(?=[a-z])", line.strip())[0] for line in listed.split("\n")]


def commands(remotingctl):
    page = []
    for name in [synopsis.split()[0] for synopsis in command_synopses(remotingctl)]:
        synopsis, text = run(remotingctl, name, "--help").split("\n", 1)
        # A help may have several forms of the command at its top.
        forms = [synopsis]
        while text and not text.startswith("\n"):
            form, text = text.split("\n", 1)
            forms.append(form)
        page += [f".Ss {name}", *literal(forms), *command_part(text)]
    return "\n".join(page) + "\n"


def settings(sample):
    """Of the sample file: [(section, what is said of it, [(key, what is said, example)])]."""
    sections = []
    said = []
    for line in sample.split("\n"):
        section = re.fullmatch(r"#?\[([^]]+)\]", line)
        setting = re.fullmatch(r"[;#](\w+) =\s*(.*)", line)
        if section:
            # What comes in front of a section that may stand more than once is about it.
            sections.append((section[1], said if line.startswith("#") else [], []))
            said = []
        elif setting:
            sections[-1][2].append((setting[1], said, setting[2]))
            said = []
        elif line.startswith("#"):
            said.append(line.lstrip("# "))
        elif said and sections and not sections[-1][2]:
            sections[-1][1].extend(said)
            said = []
        else:
            said = []
    return sections


def quoted(what, value, bounds=None):
    """"Default: 'value' (bounds)." as lines of mdoc."""
    if value == "none":
        return [f"{what}: none."]
    if bounds is None:
        return [f"{what}:", f".Ql {escape(value)} ."]
    return [f"{what}:", f".Ql {escape(value)}", f"{escape(bounds)}."]


def settings_part(sample):
    page = []
    for section, about, rows in settings(sample):
        page.append(f".Ss Section {section}")
        if about:
            page += sentences(" ".join(about))
        page.append(".Bl -tag -width Ds")
        for key, said, example in rows:
            page.append(f".It Ic {key}")
            default = ""
            for text in said:
                given = re.fullmatch(r"Default: (\S+)(?: (\(.*\)))?", text)
                if given:
                    default = given[1]
                    page += quoted("Default", default, given[2])
                else:
                    page += sentences(text)
            if example and example != default:
                page += quoted("Example", example)
        page.append(".El")
    return "\n".join(page) + "\n"


def split(page):
    """(what stands in front of the part, the part, what follows it)"""
    head, rest = page.split(BEGIN)
    part, tail = rest.split(END)
    return head + BEGIN, part, END + tail


def parts():
    """[(page, what its part has to be)]"""
    remotingctl = os.environ.get("REMOTINGCTL", "build/client/remotingctl")
    sample = (ROOT / "config" / "remotingd.ini").read_text()
    return [
        (ROOT / "client" / "remotingctl.1", commands(remotingctl)),
        (ROOT / "config" / "remotingd.ini.5", settings_part(sample)),
    ]


def main():
    for path, part in parts():
        head, _, tail = split(path.read_text())
        path.write_text(head + part + tail)


if __name__ == "__main__":
    main()
