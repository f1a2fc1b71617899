#!/usr/bin/env python3
"""Starting: settings that are wrong, sockets that are left over"""

import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker
from remoting import GET_ROUTEINFO_BY_TOPIC, RELOAD
from tap import check, contains, equal, main, test

GET_STATUS = 30024
IS_ADDRESS_REACHABLE = 30004
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NAMESRV_ADDR"}


def run(daemon, *words):
    """The exit code and both outputs of one run of the binary that ends by itself."""
    done = subprocess.run(
        [daemon.binary, *words], capture_output=True, timeout=20, cwd=daemon.directory
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def answers(daemon):
    return daemon.client().call(GET_ROUTEINFO_BY_TOPIC, {"topic": "Orders"}).code == 0


@test
def the_socket_of_a_daemon_that_was_killed_does_not_stop_the_next_start():
    with FakeBroker() as broker:
        daemon = Daemon(nameservers=[broker.address])
        with daemon:
            for _ in range(5):
                check(answers(daemon), "it answers")
                daemon.kill()
                check(pathlib.Path(daemon.socket).exists(), "the socket is left over")
                daemon.start()
            check(answers(daemon), "it answers after the last start")


@test
def a_second_daemon_on_the_same_socket_is_refused_in_words_and_the_first_goes_on():
    with FakeBroker() as broker, Daemon(nameservers=[broker.address]) as daemon:
        code, _, err = run(daemon, "--config", str(daemon.config_path))
        check(code > 0, f"the second one ends with an exit code other than 0 (saw {code})")
        contains(err, daemon.socket, "its standard error")
        check(answers(daemon), "the first one answers")


@test
def mistakes_in_the_settings_are_named_with_file_and_line():
    mistakes = {
        "[listener]\nsockets = /x\n": ":2:",
        "[listener]\n\nmax_sessions = many\n": ":3:",
        "[nameserver]\naddresses = nowhere\n": ":2:",
        "[upstream]\nrequest_timeout = 3 parsecs\n": ":2:",
        "[pools]\nmax_idle = 5min\n": "pools",
        "[role web]\nusers = root;no-such-user\n": ":2:",
        "[listener]\nsocket_group = no-such-group\n": ":2:",
        "[listener web]\nrole = web\n": ":2:",
    }
    with Daemon(nameservers=["127.0.0.1:9876"]) as daemon:
        path = daemon.directory / "wrong.ini"
        for text, where in mistakes.items():
            path.write_text(text)
            for words in (("--check-config",), ()):
                code, _, err = run(daemon, *words, "--config", str(path))
                check(code > 0, f"the exit code for {text!r} is not 0 (saw {code})")
                contains(err, where, f"the standard error for {text!r}")
                contains(err, str(path), f"the standard error for {text!r}")


@test
def settings_without_a_nameserver_are_refused_in_words_where_they_are_checked():
    with Daemon(nameservers=["127.0.0.1:9876"]) as daemon:
        path = daemon.directory / "none.ini"
        path.write_text(f"[listener]\nsocket = {daemon.directory}/other.sock\n")
        code, _, err = run(daemon, "--check-config", "--config", str(path))
        equal(code, 78, "the exit code")
        contains(err, f"{path}: [nameserver] addresses: no nameserver is known", "standard error")


@test
def as_it_is_installed_without_a_nameserver_it_starts_is_down_and_says_what_to_do():
    with FakeBroker() as broker:
        daemon = Daemon(nameservers=[])
        with daemon:
            client = daemon.client()
            path, unnamed = daemon.config_path, daemon.config_path.read_text()
            contains(daemon.log(), "[nameserver] addresses: no nameserver is known", "the log")
            answer = client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "Orders"})
            equal((answer.error, answer.ext["sidecar.sent"]), ("no-nameserver", "no"), "a request")
            contains(answer.remark, "set [nameserver] addresses", "what it is told")
            answer = client.call(IS_ADDRESS_REACHABLE, {"addr": "nameserver"})
            equal(answer.error, "no-nameserver", f"whether one is reachable ({answer.remark})")
            (condition,) = client.call(GET_STATUS).json()["conditions"]
            equal(condition["condition"], "not-configured", "what is wrong")
            contains(condition["reason"], "[nameserver] addresses", "the reason")
            refused = client.call(RELOAD)
            contains(refused.remark, f"{path}: [nameserver] addresses", "a reload of the same")
            path.write_text(f"{unnamed}\n[nameserver]\naddresses = {broker.address}\n")
            equal(client.call(RELOAD).code, 0, "a reload that names one")
            check(answers(daemon), "it answers")
            path.write_text(unnamed)
            equal(client.call(RELOAD).error, "invalid", "a reload that takes it away")
            check(answers(daemon), "it goes on")


@test
def the_settings_that_the_readme_shows_are_accepted():
    """Blocks of indented lines, the first of which that is no comment is a section"""
    blocks = README.read_text().split("\n\n")
    shown = [block for block in blocks if re.match(r"(    #.*\n)*    \[[a-z]", block)]
    check(len(shown) > 3, f"there are some (saw {len(shown)})")
    with Daemon(nameservers=["127.0.0.1:9876"]) as daemon:
        path = daemon.directory / "readme.ini"
        path.write_text("\n".join(shown))
        code, _, err = run(daemon, "--check-config", "--config", str(path))
        equal((code, err), (0, ""), "the exit code and the standard error")


@test
def good_settings_pass_and_what_is_dumped_can_be_read_again():
    with FakeBroker() as broker, Daemon(nameservers=[broker.address]) as daemon:
        config = str(daemon.config_path)
        code, _, err = run(daemon, "--check-config", "--config", config)
        equal(code, 0, f"the exit code of --check-config (standard error: {err})")
        code, dumped, err = run(daemon, "--dump-config", "--config", config)
        equal(code, 0, f"the exit code of --dump-config (standard error: {err})")
        contains(dumped, daemon.socket, "the dump")
        contains(dumped, broker.address, "the dump")
        again = daemon.directory / "again.ini"
        again.write_text(dumped)
        code, _, err = run(daemon, "--check-config", "--config", str(again))
        equal(code, 0, f"the exit code for what was dumped (standard error: {err})")


main()
