#!/usr/bin/env python3
"""
The packages under a systemd that is the first process of its machine: run.py starts this there

What the stories of tests/scenario play with a manager of their own (NOTIFY_SOCKET, LISTEN_FDS, the
descriptor store, the watchdog) is done here by systemd: units, sandbox, journal and all.
"""

import grp
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import FakeBroker, answers, in_turn
from remoting import (
    ACK_MESSAGE,
    CHANGE_MESSAGE_INVISIBLETIME,
    GET_MAX_OFFSET,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    stored_message,
)
from restart_load import RestartLoad
from tap import check, contains, equal, less, main, note, test, wait_until

PACKAGES = sorted(pathlib.Path("/packages").glob("*.deb"))
CONFIG = pathlib.Path("/etc/remotingd/remotingd.ini")
SOCKET = "/run/remotingd/remotingd.sock"
EXPOSURE_MAX = 1.2
PATIENCE = 100  # emulation is slow

nameserver = FakeBroker("nameserver")
broker = FakeBroker("broker-a")
nameserver.route_to = [broker]


def run(*command, status=0, **more):
    """What it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=180, **more
    )
    said = done.stdout + done.stderr
    if status is not None:
        equal(done.returncode, status, f"{' '.join(map(str, command))}: {said[-600:]}")
    return said


def shown(unit, name):
    return run("systemctl", "show", "--value", "-p", name, unit).strip()


def main_pid(unit="remotingd.service"):
    return int(shown(unit, "MainPID"))


def journal(*more):
    run("journalctl", "--sync")
    return run("journalctl", "--no-pager", "-u", "remotingd.service", *more)


def configuration(path, **more):
    sections = {
        "nameserver": {"addresses": nameserver.address},
        "upstream": {"allow_addresses": "127.0.0.0/8"},
        **more,
    }
    lines = []
    for section, settings in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in settings.items())]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def is_served(path=SOCKET, token="served"):
    with remoting.Client(path, timeout=PATIENCE) as client:
        answer = client.call(GET_MAX_OFFSET, {"token": token, "sidecar.addr": broker.address})
        equal((answer.error, answer.ext.get("echo.token")), (None, token), f"{answer.remark}")


def setting(section, key):
    """What the daemon says that it goes by."""
    rows = json.loads(run("remotingctl", "show", "config", "--json"))["settings"]
    return [row["value"] for row in rows if (row["section"], row["key"]) == (section, key)][0]


def drop_in(unit, text):
    """Settings beside the unit's own; an empty text takes them away."""
    folder = pathlib.Path(f"/run/systemd/system/{unit}.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "story.conf").write_text(text)
    run("systemctl", "daemon-reload")


@test
def the_machine_is_run_by_systemd():
    equal(pathlib.Path("/proc/1/comm").read_text().strip(), "systemd", "the first process")
    note(run("systemctl", "--version").splitlines()[0])


@test
def the_packages_install_and_make_the_user_the_group_and_the_units():
    run("dpkg", "--install", *PACKAGES)
    equal(pwd.getpwnam("remotingd").pw_gid, grp.getgrnam("remotingd").gr_gid, "its group")
    contains(run("systemctl", "is-enabled", "remotingd.service"), "enabled", "the service")
    check(CONFIG.exists(), "the configuration")


@test
def with_a_nameserver_in_its_file_the_service_is_ready_and_serves():
    configuration(CONFIG)
    run("systemctl", "reset-failed", "remotingd.service", status=None)
    run("systemctl", "restart", "remotingd.service")
    equal(shown("remotingd.service", "ActiveState"), "active", "its state")
    is_served()
    status = shown("remotingd.service", "StatusText")
    check(status, "a status text")
    contains(run("remotingctl", "health"), "healthy", "what the tool says")
    note(f"systemctl status says: {status}")


@test
def it_runs_as_its_user_without_capabilities_and_sees_little():
    status = pathlib.Path(f"/proc/{main_pid()}/status").read_text()
    uid = pwd.getpwnam("remotingd").pw_uid
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    equal(fields["Uid"].split(), [str(uid)] * 4, "its user")
    equal(int(fields["CapBnd"], 16), 0, "capabilities that it could get")
    equal(fields["NoNewPrivs"], "1", "NoNewPrivs")
    equal(fields["Seccomp"], "2", "Seccomp: a filter")
    said = run("systemd-analyze", "security", "--no-pager", "remotingd.service")
    exposure = float(said.split("Overall exposure level for remotingd.service: ")[1].split()[0])
    less(exposure, EXPOSURE_MAX + 0.01, "exposure")
    note(f"exposure level {exposure}")


@test
def members_of_the_group_may_connect_and_others_are_told_which_group():
    run("useradd", "--create-home", "--groups", "remotingd", "member")
    run("useradd", "--create-home", "stranger")
    ping = ["remotingctl", "ping"]
    run("runuser", "-u", "member", "--", *ping)
    said = run("runuser", "-u", "stranger", "--", *ping, status=5)
    contains(said, "remotingd", "the group that is named")
    contains(said, "usermod", "what to do")


@test
def its_lines_are_in_the_journal_with_fields_of_their_own():
    run("systemctl", "restart", "remotingd.service")
    rows = [json.loads(line) for line in journal("-o", "json").splitlines()]
    own = [row for row in rows if row.get("SYSLOG_IDENTIFIER") == "remotingd"]
    check(own, "lines of the daemon")
    equal({row.get("_SYSTEMD_UNIT") for row in own}, {"remotingd.service"}, "their unit")
    fields = set().union(*own) - {name for name in set().union(*own) if name.startswith("_")}
    check(any("REMOTINGD" in name for name in fields), f"native fields among {sorted(fields)}")


@test
def a_planned_restart_under_load_refuses_loses_and_ends_nothing():
    connect = lambda: remoting.Client(SOCKET, timeout=PATIENCE)  # noqa: E731
    with RestartLoad(connect, broker.address, n_busy=4, n_idle=100) as load:
        pids, longest = {main_pid()}, 0.0
        for _ in range(5):
            load.wait_for_more(20)
            began = time.monotonic()
            run("systemctl", "restart", "remotingd.service")
            longest = max(longest, time.monotonic() - began)
            pids.add(main_pid())
        load.stop()
        load.ask_idle()
        equal(load.failures[:3], [], f"failures of {load.answered} requests")
        equal(len(pids), 6, "daemons")
        note(f"{load.answered} requests, 5 restarts of at most {longest:.1f} s, 100 idle callers")


@test
def a_reload_takes_new_settings_and_a_wrong_file_fails_it_with_its_line():
    pid = main_pid()
    configuration(CONFIG, log={"level": "debug"})
    run("systemctl", "reload", "remotingd.service")
    wait_until(lambda: setting("log", "level") == "debug", PATIENCE, "the new level")
    CONFIG.write_text(CONFIG.read_text() + "[send]\nretries = many\n")
    run("systemctl", "reload", "remotingd.service", status=1)
    contains(journal("-n", "20"), f"{CONFIG}:", "the journal names the file and the line")
    is_served()
    equal((main_pid(), shown("remotingd.service", "ActiveState")), (pid, "active"), "the daemon")
    configuration(CONFIG)
    run("systemctl", "reload", "remotingd.service")


@test
def an_upgrade_of_the_package_under_load_loses_nothing():
    connect = lambda: remoting.Client(SOCKET, timeout=PATIENCE)  # noqa: E731
    pid = main_pid()
    with RestartLoad(connect, broker.address, n_busy=2, n_idle=20) as load:
        load.wait_for_more(20)
        run("dpkg", "--install", *PACKAGES)
        wait_until(lambda: main_pid() not in (0, pid), PATIENCE, "the next daemon")
        load.wait_for_more(20)
        load.stop()
        load.ask_idle()
        equal(load.failures[:3], [], f"failures of {load.answered} requests")
        note(f"{load.answered} requests")
    contains(CONFIG.read_text(), nameserver.address, "the operator's file is as it was")


@test
def what_was_killed_is_started_again():
    pid = main_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: main_pid() not in (0, pid), PATIENCE, "the next daemon")
    wait_until(
        lambda: shown("remotingd.service", "ActiveState") == "active", PATIENCE, "it is ready"
    )
    is_served()


@test
def a_daemon_that_hangs_is_replaced_by_the_watchdog():
    drop_in("remotingd.service", "[Service]\nWatchdogSec=3s\n")
    run("systemctl", "restart", "remotingd.service")
    pid = main_pid()
    time.sleep(5)  # longer than the watchdog's time: it is a daemon that works
    equal(main_pid(), pid, "the daemon that gives signs")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: main_pid() not in (0, pid), PATIENCE, "the next daemon")
    contains(journal("--grep", "watchdog"), "Watchdog timeout", "the journal")
    drop_in("remotingd.service", "")
    run("systemctl", "restart", "remotingd.service")
    is_served()


@test
def a_wrong_configuration_is_not_started_again_and_again():
    CONFIG.write_text("[nameserver]\naddresses = nowhere\n")
    run("systemctl", "restart", "remotingd.service", status=1)
    equal(shown("remotingd.service", "ActiveState"), "failed", "its state")
    equal(shown("remotingd.service", "ExecMainStatus"), "78", "its exit status")
    equal(shown("remotingd.service", "NRestarts"), "0", "further starts")
    configuration(CONFIG)
    run("systemctl", "reset-failed", "remotingd.service")
    run("systemctl", "start", "remotingd.service")
    is_served()


@test
def the_socket_unit_holds_the_socket_while_the_service_is_away():
    run("systemctl", "stop", "remotingd.service")
    run("systemctl", "start", "remotingd.socket")
    equal(shown("remotingd.service", "ActiveState"), "inactive", "the service before a caller")
    is_served(token="first")
    equal(shown("remotingd.service", "ActiveState"), "active", "the service behind it")
    status = os.stat(SOCKET)
    equal(grp.getgrgid(status.st_gid).gr_name, "remotingd", "the socket's group")
    equal(status.st_mode & 0o777, 0o660, "the socket's mode")
    run("systemctl", "stop", "remotingd.service", "remotingd.socket")
    run("systemctl", "start", "remotingd.service")
    is_served(token="by itself")


@test
def a_second_daemon_is_an_instance_with_a_file_of_its_own():
    path = "/run/remotingd/blue/remotingd.sock"
    configuration("/etc/remotingd/blue.ini", listener={"socket": path})
    run("systemctl", "start", "remotingd@blue.service")
    is_served(path, "blue")
    is_served(token="beside it")
    run("systemctl", "stop", "remotingd@blue.service")
    try:
        remoting.Client(path).close()
        is_refused = False
    except ConnectionRefusedError:
        is_refused = True
    check(is_refused, "nobody takes calls any more")


def an_order():
    """What a broker answers to a POP that finds one."""
    ext = {
        "popTime": str(int(time.time() * 1000)),
        "invisibleTime": "60000",
        "reviveQid": "3",
        "startOffsetInfo": "0 0 0",
        "msgOffsetInfo": "0 0 0",
    }
    return answers(ext=ext, body=stored_message("Orders", b"an order"))


@test
def a_worker_has_a_command_run_for_each_message_as_a_user_of_its_own():
    broker.on(POP_MESSAGE, in_turn(an_order(), answers(POLLING_TIMEOUT)))
    broker.on(ACK_MESSAGE, answers())
    command = 'cat > body; id -u > user; echo "$MQ_TOPIC $GROUP" > names'
    description = pathlib.Path("/etc/remotingd/workers/story.env")
    description.write_text(
        f"TOPIC=Orders\nGROUP=story\nCOMMAND='{command}'\nOPTIONS=--wait 0 --verbose\n"
    )
    run("systemctl", "start", "remoting-worker@story.service")
    broker.wait_for(1, ACK_MESSAGE, timeout=PATIENCE)
    folder = pathlib.Path("/var/lib/remoting-worker/story")
    equal((folder / "body").read_text(), "an order", "the body")
    equal((folder / "names").read_text(), "Orders story\n", "topic and group")
    check(int((folder / "user").read_text()) > 60000, "its user is there while it runs alone")
    run("systemctl", "restart", "remotingd.service")
    equal(shown("remoting-worker@story.service", "ActiveState"), "active", "its state")
    run("systemctl", "stop", "remoting-worker@story.service")
    equal(shown("remoting-worker@story.service", "Result"), "success", "how it ended")


@test
def a_worker_whose_command_is_missing_is_not_started_again_and_again():
    unit = "remoting-worker@missing.service"
    broker.on(POP_MESSAGE, an_order())
    given_back = answers(ext={"popTime": "1", "invisibleTime": "1000", "reviveQid": "3"})
    broker.on(CHANGE_MESSAGE_INVISIBLETIME, given_back)
    pathlib.Path("/etc/remotingd/workers/missing.env").write_text(
        "TOPIC=Orders\nGROUP=story\nCOMMAND=/no/such/program\n"
    )
    run("systemctl", "start", unit)
    wait_until(lambda: shown(unit, "ActiveState") == "failed", PATIENCE, "it gives up")
    equal(shown(unit, "ExecMainStatus"), "8", "its exit code")
    equal(shown(unit, "NRestarts"), "0", "how often it was started again")
    equal(len(broker.seen(CHANGE_MESSAGE_INVISIBLETIME)), 1, "messages that were given back")


@test
def secrets_come_as_credentials_of_the_unit():
    secret = pathlib.Path("/root/secret")
    secret.write_text("access-of-mine\n")
    secret.chmod(0o600)
    configuration(CONFIG, **{"acl mine": {"access_key": "reader", "secret_key_file": "secret"}})
    drop_in("remotingd.service", f"[Service]\nLoadCredential=secret:{secret}\n")
    run("systemctl", "restart", "remotingd.service")
    with remoting.Client(SOCKET, timeout=PATIENCE) as client:
        # By its name: addresses that only a caller names are not signed for.
        answer = client.call(GET_MAX_OFFSET, {"topic": "Any", "sidecar.broker": broker.name})
        equal(answer.error, None, f"the answer (remark: {answer.remark})")
    check("Signature" in broker.seen(GET_MAX_OFFSET)[-1].ext, "it is signed")
    configuration(CONFIG)
    drop_in("remotingd.service", "")
    run("systemctl", "restart", "remotingd.service")


@test
def what_is_purged_leaves_nothing():
    names = [run("dpkg-deb", "--field", package, "Package").strip() for package in PACKAGES]
    run("dpkg", "--purge", *names)
    for path in (CONFIG, "/usr/bin/remotingd", "/run/remotingd"):
        check(not os.path.exists(path), f"{path} is gone")
    equal(run("systemctl", "is-active", "remotingd.service", status=None).strip(), "inactive", "it")
    equal(run("pgrep", "-x", "remotingd", status=None).strip(), "", "processes")


main()
