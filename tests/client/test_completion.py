"""What shells offer behind remotingctl: each shell itself is asked, where it is there.

REMOTINGCTL names the binary. Speaks TAP.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from tap import check, equal, skip, test

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "client" / "completions"
REMOTINGCTL = pathlib.Path(os.environ.get("REMOTINGCTL", "build/client/remotingctl")).resolve()
GLOBAL = ["--help", "--json", "--socket", "--version"]
LEVELS = ["debug", "error", "info", "warning"]


def commands():
    """The commands as the source of the table has them."""
    table = (ROOT / "client" / "remotingctl.c").read_text().split("commands[] = {")[1].split("};")[0]
    return sorted(name.replace("_", "-") for name in re.findall(r"&command_(\w+)", table))


def options(name):
    """The long options in the source of a command."""
    text = (ROOT / "client" / f"command_{name}.c").read_text()
    return sorted(GLOBAL + ["--" + option for option in re.findall(r'^    \{ "([a-z-]+)", \w+_argument', text, re.M)])


def run(*arguments, **environment):
    """The output's lines, sorted, of a program that finds remotingctl by its name; orders.txt lies in its folder."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "orders.txt").touch()
        env = dict(os.environ, PATH=f"{REMOTINGCTL.parent}:{os.environ['PATH']}", HOME=folder, **environment)
        result = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, timeout=50, env=env, cwd=folder)
    equal((result.returncode, result.stderr), (0, ""), f"how {arguments[0]} ended")
    return sorted(result.stdout.splitlines())


def complete(*words):
    return [line.split("\t")[0] for line in run(REMOTINGCTL, "--complete", *words)]


# What a shell has to offer behind these words, the last of which is the one that is written.
CASES = [
    (["sh"], ["show"]),
    (["show", "ro"], ["routes"]),
    (["--json", "log-level", ""], LEVELS),
    (["send", "orders", "--ta"], ["--tag"]),
]


@test
def every_command_comes_with_its_summary():
    lines = run(REMOTINGCTL, "--complete", "")
    equal([line.split("\t")[0] for line in lines], commands(), "the commands")
    for line in lines:
        check(len(line.split("\t")[1]) > 5, f"a summary in {line!r}")


@test
def every_option_of_a_command_comes():
    for name in ("send", "receive", "invoke", "peek", "bench", "offsets", "route", "reload"):
        equal(complete(name, "--"), options(name), f"the options of {name}")
    equal(complete("--"), GLOBAL, "the options in front of a command")
    equal(complete("peek", "-"), sorted(options("peek") + ["-n"]), "with those of one letter")


@test
def values_and_operands_are_left_to_the_shell():
    for words in (["--socket", ""], ["send", "--file", ""], ["send", ""], ["peek", "-n", ""], ["show", "routes", ""],
                  ["send", "orders", "--", "--"], ["bogus", ""], ["send", "--file", "=", ""]):
        equal(complete(*words), [], f"behind {words}")


@test
def a_value_is_no_command_and_no_operand():
    for words, expected in ((["--socket", "send", "sh"], ["show"]), (["--socket", "=", "/s", "sh"], ["show"]),
                            (["log-level", "--socket", "/s", "d"], ["debug"]), (["bench", "r"], ["receive"]),
                            (["--socket=/s", "nameservers", ""], ["set"])):
        equal(complete(*words), expected, f"behind {words}")


@test
def bash_completes():
    for words, expected in CASES:
        script = ('source "$SCRIPT"; COMP_WORDS=(remotingctl "$@"); COMP_CWORD=$#;'
                  'function=$(complete -p remotingctl | sed "s/.*-F \\([^ ]*\\).*/\\1/");'
                  '"$function" remotingctl "${!#}" "${COMP_WORDS[$#-1]}"; printf "%s\\n" "${COMPREPLY[@]}"')
        seen = run("bash", "--norc", "-c", script, "bash", *words, SCRIPT=str(SCRIPTS / "remotingctl.bash"))
        equal(seen, expected, f"what bash offers behind {words}")


@test
def zsh_completes():
    if not shutil.which("zsh"):
        skip("there is no zsh")
    for words, expected in CASES + [(["send", ""], ["FILES"])]:
        script = ('_describe() { print -rl -- ${(P)2%%:*} }; _files() { print FILES };'
                  'words=(remotingctl "$@"); CURRENT=$#words; source $SCRIPT')
        seen = run("zsh", "-f", "-c", script, "zsh", *words, SCRIPT=str(SCRIPTS / "_remotingctl"))
        equal(seen, expected, f"what zsh offers behind {words}")


@test
def fish_completes():
    if not shutil.which("fish"):
        skip("there is no fish")
    for words, expected in CASES + [(["send", "--file", "ord"], ["orders.txt"])]:
        seen = run("fish", "--no-config", "-c", 'source $SCRIPT; complete -C "$LINE"',
                   SCRIPT=str(SCRIPTS / "remotingctl.fish"), LINE=" ".join(["remotingctl", *words]))
        equal([line.split("\t")[0] for line in seen], expected, f"what fish offers behind {words}")


tap.main()
