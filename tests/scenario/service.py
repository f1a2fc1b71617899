#!/usr/bin/env python3
"""The daemon and its service manager: ready, signs of life, a line for people, the sandbox"""

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import ROOT, Daemon, binary
from fake_broker import FakeBroker, Held
from remoting import GET_MAX_OFFSET
from scenario import is_own, stage
from service_manager import ServiceManager
from tap import check, contains, equal, less, main, skip, test, wait_until

UNIT = ROOT / "systemd" / "remotingd.service"
WORKER = ROOT / "systemd" / "remoting-worker@.service"
# Workers run what others wrote: interpreters, with a network.
MOST_EXPOSURE = {UNIT: 1.2, WORKER: 1.4}


@contextlib.contextmanager
def service(watchdog_us=0, settings=None):
    with ServiceManager(watchdog_us) as manager:
        with stage(settings, through=manager.through()) as on:
            yield on, manager


@test
def it_is_ready_when_callers_can_connect_and_not_before():
    with service() as (on, manager):
        first = manager.hears(20)
        equal(first[0], "READY=1", "what is told first")
        contains(first[1], "STATUS=", "the line for people")
        contains(first[1], "0 callers, 0 requests in flight", "the line for people")
        is_own(on.call(on.client(), "first"), "first")


@test
def a_start_that_fails_is_never_ready():
    with ServiceManager() as manager, FakeBroker() as broker:
        daemon = Daemon(nameservers=[broker.address])
        daemon.config_path.write_text("[listener]\nsocket = /nowhere/at/all.sock\n")
        done = subprocess.run(
            [*manager.through(), daemon.binary, "--config", str(daemon.config_path)],
            capture_output=True,
            timeout=20,
        )
        shutil.rmtree(daemon.directory)
        check(done.returncode > 0, f"it ends with a failure (saw {done.returncode})")
        equal(manager.hears(0.05), None, "what is told")


@test
def signs_of_life_come_from_the_loop_and_stop_with_it():
    with service(watchdog_us=900_000) as (on, manager):
        for _ in range(5):
            manager.wait_for("WATCHDOG=1", timeout=10)
        on.daemon.process.send_signal(signal.SIGSTOP)
        while manager.hears(0.2) is not None:
            pass
        equal(manager.hears(1.0), None, "what a daemon that is stopped tells")
        on.daemon.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", timeout=10)


@test
def without_a_watchdog_there_are_no_signs_of_life():
    with service() as (_, manager):
        manager.hears(20)
        while lines := manager.hears(6.0):
            check("WATCHDOG=1" not in lines, f"no sign of life (saw {lines})")


@test
def the_line_for_people_says_what_goes_on():
    with service(watchdog_us=600_000) as (on, manager):
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        on.ask(client, "held", {"sidecar.timeoutMillis": "20000"})
        held.wait_for(1)
        manager.wait_for("STATUS=healthy: 1 callers, 1 requests in flight, 1 of 1 nameservers.*")
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(), "held")
        manager.wait_for("STATUS=healthy: 1 callers, 0 requests in flight.*")


@test
def a_drain_is_told_and_signs_of_life_go_on_until_its_end():
    with service(watchdog_us=600_000) as (on, manager):
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        client = on.client()
        on.ask(client, "held", {"sidecar.timeoutMillis": "20000"})
        held.wait_for(1)
        on.daemon.terminate()
        manager.wait_for("STOPPING=1")
        for _ in range(3):
            manager.wait_for("WATCHDOG=1", timeout=10)
        connection, request = held.waiting[0]
        connection.echo(request)
        is_own(client.receive(), "held")
        equal(on.daemon.wait(), 0, "the exit code")


def systemd_analyze(*words):
    if not shutil.which("systemd-analyze"):
        skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    ).stdout


@test
def the_units_leave_their_services_little_to_do_harm_with():
    for unit, most in MOST_EXPOSURE.items():
        said = systemd_analyze("security", "--offline=true", "--no-pager", unit)
        found = re.search(r"Overall exposure level for remoting\S+\.service: ([0-9.]+)", said)
        check(found, f"systemd-analyze tells a level: {said[-300:]}")
        less(float(found.group(1)), most + 0.05, f"the exposure of {unit.name}")


@test
def the_service_manager_has_nothing_to_say_against_the_unit_of_workers():
    program = binary("REMOTINGCTL", "build-test/client/remotingctl")
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / WORKER.name
        unit.write_text(WORKER.read_text().replace("/usr/bin/remotingctl", program))
        equal(systemd_analyze("verify", "--man=no", unit), "", "what it says")


@test
def the_unit_of_further_daemons_differs_in_names_alone():
    template = (UNIT.parent / "remotingd@.service").read_text()
    lines = [line for line in template.splitlines() if line]
    first = next(n for n, line in enumerate(lines) if line == "[Unit]")
    check(all(line.startswith("#") for line in lines[:first]), "only a comment is before it")
    plain = "\n".join(lines[first:]).replace(" sidecar %i", " sidecar").replace("/%i.ini", "/I.ini")
    plain = plain.replace("remotingd-%i", "remotingd").replace("remotingd/%i", "remotingd")
    expected = [line for line in UNIT.read_text().splitlines() if line]
    expected = "\n".join(expected).replace("/remotingd.ini", "/I.ini")
    equal(plain.splitlines(), expected.splitlines(), "the template without its instance")


@test
def the_units_program_and_its_arguments_are_understood():
    unit = UNIT.read_text()
    command = re.search(r"^ExecStart=/usr/bin/remotingd (.*)$", unit, re.MULTILINE)
    check(command, "ExecStart= starts remotingd")
    with FakeBroker() as broker:
        daemon = Daemon(nameservers=[broker.address])
        daemon.start()
        words = command.group(1).replace("/etc/remotingd/remotingd.ini", str(daemon.config_path))
        done = subprocess.run(
            [daemon.binary, *words.split(), "--check-config"], capture_output=True, timeout=20
        )
        daemon.kill()
        shutil.rmtree(daemon.directory)
    equal(done.returncode, 0, f"the exit code ({done.stderr})")
    contains(unit, "RestartPreventExitStatus=64 78", "the unit: wrong settings are not tried again")


@test
def a_reload_is_told_when_it_begins_and_when_it_ends():
    with service() as (on, manager):
        manager.wait_for("READY=1")
        on.daemon.process.send_signal(signal.SIGHUP)
        told = manager.wait_for("RELOADING=1")[-1]
        check(told[1].startswith("MONOTONIC_USEC="), f"when it began: {told}")
        manager.wait_for("READY=1")
        contains(on.daemon.log(), "reload done", "the log")


main()
