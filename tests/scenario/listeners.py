#!/usr/bin/env python3
"""Several sockets: where they are, who gets to them, and what becomes of the files"""

import contextlib
import ctypes
import grp
import os
import pathlib
import select
import socket
import stat
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from other_user import OtherUser, needs_root
from remoting import GET_ROUTEINFO_BY_TOPIC, GET_STATS, SYSTEM_BUSY, Client
from scenario import TOPIC, is_failure, stage
from tap import check, contains, equal, less, main, test, wait_until

GROUP = grp.getgrgid(min(row.gr_gid for row in grp.getgrall() if row.gr_gid > 0)).gr_name
IN_CREATE, IN_MOVED_TO, IN_ATTRIB = 0x100, 0x80, 0x4


def answers(client):
    with client:
        return client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC}).code == 0


def fails_to_start(daemon, text):
    """The standard error of a daemon that cannot listen with these settings."""
    path = daemon.directory / "other.ini"
    path.write_text(f"[nameserver]\naddresses = 127.0.0.1:1\n{text}")
    done = subprocess.run(
        [daemon.binary, "--config", str(path)], capture_output=True, timeout=20, cwd="/"
    )
    check(done.returncode > 0, f"it does not start (exit code {done.returncode})")
    return done.stderr.decode()


@contextlib.contextmanager
def two_sockets(**second):
    """The stage, and the path of a second socket in a directory that is not there yet."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(temporary())
        path = str(directory / "web" / "remotingd.sock")
        settings = {"listener": {"socket_mode": "0666"}, "listener web": {"socket": path, **second}}
        on = stack.enter_context(stage(settings))
        on.daemon.directory.chmod(0o755)
        yield on, path


@contextlib.contextmanager
def temporary():
    """A directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="remotingd-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@test
def each_listener_has_a_socket_with_a_mode_and_a_group_of_its_own():
    with two_sockets(socket_mode="0640", socket_group=GROUP) as (on, path):
        first, second = os.stat(on.daemon.socket), os.stat(path)
        equal(stat.S_IMODE(first.st_mode), 0o666, "the mode of the first")
        equal(stat.S_IMODE(second.st_mode), 0o640, "the mode of the second")
        equal(grp.getgrgid(second.st_gid).gr_name, GROUP, "the group of the second")
        check(answers(on.client()), "callers of the first are answered")
        check(answers(Client(path)), "callers of the second are answered")
        contains(on.daemon.log(), f"listening socket={path} ", "the log")
        contains(on.daemon.log(), " listener=web", "the log")


@test
def a_missing_directory_is_made_and_stays_and_the_sockets_are_removed():
    with temporary() as directory:
        path = directory / "web" / "remotingd.sock"
        with stage({"listener web": {"socket": str(path)}}):
            equal(stat.S_IMODE(path.parent.stat().st_mode), 0o755, "the mode of the directory")
            check(path.exists(), "the socket is there")
        equal(os.listdir(path.parent), [], "what is left in the directory")


@test
def the_mode_decides_who_gets_to_which_socket():
    needs_root()
    with two_sockets(socket_mode="0600") as (on, path):
        with OtherUser(on.daemon.socket) as client:
            equal(client.call(GET_STATS).code, 0, "the answer on the open socket")
        try:
            OtherUser(path)
            check(False, "another user does not get to the other one")
        except PermissionError:
            check(True, "another user does not get to the other one")


@test
def a_drain_closes_every_socket():
    with two_sockets() as (on, path):
        on.daemon.terminate()
        on.daemon.wait()
        check(not os.path.exists(path), "the second socket is removed")
        check(on.daemon.refuses(), "the first one too")


@test
def the_callers_of_one_socket_cannot_use_up_the_places_of_another():
    with two_sockets(max_sessions="2") as (on, path):
        with Client(path) as one, Client(path) as two, Client(path) as three:
            equal((one.call(GET_STATS).code, two.call(GET_STATS).code), (0, 0), "the first two")
            answer = three.call(GET_STATS)
            is_failure(answer, "overloaded", SYSTEM_BUSY, "no", "the third")
            contains(answer.remark, "[listener web] max_sessions", "the remark")
            check(answers(on.client()), "a caller of the other socket is answered")
        wait_until(lambda: on.client().call(GET_STATS).json()["sessions"] < 9, 5, "they leave")
        check(answers(Client(path)), "there is room again")


def watch(directory):
    """An inotify descriptor for what appears in the directory, or changes its mode or group."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    check(descriptor >= 0, "inotify is there")
    libc.inotify_add_watch(
        descriptor, str(directory).encode(), IN_CREATE | IN_MOVED_TO | IN_ATTRIB
    )
    return descriptor


def events_of(descriptor):
    """[(mask, name)] of what happened so far."""
    rows = []
    while select.select([descriptor], [], [], 0)[0]:
        data = os.read(descriptor, 65536)
        while data:
            _, mask, _, n = struct.unpack("iIII", data[:16])
            rows.append((mask, data[16 : 16 + n].rstrip(b"\0").decode()))
            data = data[16 + n :]
    return rows


@test
def a_socket_appears_with_its_mode_and_group_and_is_listened_on():
    """It is moved in complete: nothing is created at its path, and nothing changed there."""
    with temporary() as directory:
        path = directory / "remotingd.sock"
        descriptor = watch(directory)
        settings = {"socket": str(path), "socket_mode": "0666", "socket_group": GROUP}
        with stage({"listener web": settings}):
            rows = [mask for mask, name in events_of(descriptor) if name == path.name]
            equal(rows, [IN_MOVED_TO], "what happened at the path")
            equal(os.listdir(directory), [path.name], "what is in the directory")
            equal(stat.S_IMODE(path.stat().st_mode), 0o666, "the mode")
        os.close(descriptor)


@test
def the_socket_of_a_dead_daemon_is_replaced_without_a_moment_in_which_there_is_none():
    with temporary() as directory:
        path = directory / "remotingd.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        inode = path.stat().st_ino
        descriptor = watch(directory)
        with stage({"listener web": {"socket": str(path)}}):
            check(path.stat().st_ino != inode, "it is another file")
            rows = [mask for mask, name in events_of(descriptor) if name == path.name]
            equal(rows, [IN_MOVED_TO], "what happened at the path")
            check(answers(Client(str(path))), "callers are answered")
        os.close(descriptor)


@test
def the_socket_of_a_living_daemon_is_not_touched():
    with two_sockets() as (on, path):
        inode = os.stat(path).st_ino
        text = f"[listener]\nsocket = {on.daemon.directory}/x.sock\n[listener b]\nsocket = {path}\n"
        err = fails_to_start(on.daemon, text)
        contains(err, f"another process listens on {path}", "the standard error")
        contains(err, "[listener b] socket", "the standard error")
        equal(os.stat(path).st_ino, inode, "the file of the socket")
        check(answers(Client(path)), "its callers are answered")
        check(not os.path.exists(f"{on.daemon.directory}/x.sock"), "the other socket is removed")
        left = [name for name in os.listdir(os.path.dirname(path)) if name != "remotingd.sock"]
        equal(left, [], "what the second daemon left behind")


@test
def what_cannot_be_made_is_named_with_its_reason():
    with stage() as on:
        directory = on.daemon.directory
        (directory / "file").write_text("mine")
        (directory / "folder").mkdir()
        cases = {
            f"{directory}/no/such/x.sock": f"cannot make the directory {directory}/no/such: ",
            f"{directory}/file/x.sock": "cannot listen on",
            f"{directory}/file": "exists and is no socket: move it away",
            f"{directory}/folder": "exists and is no socket",
        }
        for path, words in cases.items():
            err = fails_to_start(on.daemon, f"[listener]\nsocket = {path}\n")
            contains(err, words, f"the standard error for {path}")
            contains(err, path.replace("/x.sock", ""), f"the standard error for {path}")
        equal((directory / "file").read_text(), "mine", "the file that was in the way")
        path = f"{str(directory):d<104}/x"
        err = fails_to_start(on.daemon, f"[listener]\nsocket = {path}\n")
        contains(err, "too long a name", f"the standard error for {path}")
        less(len(os.listdir(directory)), 7, "files that are left")


main()
