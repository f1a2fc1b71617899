"""
A bare Debian 12 below a directory, and who plays its service manager

DebianRoot is what debootstrap makes, with systemd's tools, for no Debian host is without them; it
is made once, into ~/.cache/remotingd, and unpacked for every use. Its network is that of this
host. Needs root.

Systemd stands behind a `systemctl` in there that hands every word of its command line over: what
maintainer scripts ask for is done here, to a daemon that is started as its unit says (user, group,
umask, files, runtime directory, descriptors that are kept). What the kernel does for a sandbox, and
dependencies of units, are not played.
"""

import os
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile
import threading

import tap
from service_manager import ServiceManager

CACHE = pathlib.Path("~/.cache/remotingd").expanduser()
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
# What the package manager, and not a package, writes; and what is no file of the system.
NOT_A_PACKAGES = (
    *("proc", "sys", "dev", "tmp", "var/lib/dpkg", "var/lib/apt", "var/cache", "var/log"),
    *("etc/ld.so.cache", "run/systemctl"),
)
SYSTEMCTL = """#!/bin/sh
# What is done to files is the real one's. The rest goes to who plays the service manager.
case " $* " in
*" --root="*) exec /bin/systemctl.files "$@" ;;
*" is-enabled "*) exec /bin/systemctl.files --root=/ "$@" ;;
esac
echo "$*" >/run/systemctl/asked
read -r code </run/systemctl/answer
exit "$code"
"""


def run(*command, seconds=300, **more):
    """The output of both kinds; fails where the exit code is not 0."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        **more,
    )
    tap.equal(done.returncode, 0, f"{' '.join(map(str, command))} said {done.stdout[-2000:]}")
    return done.stdout


class DebianRoot:
    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        archive = CACHE / "debian-12.tar"
        if not archive.exists():
            self._make(archive)
        self.path.mkdir()
        run("tar", "--extract", "--numeric-owner", "--file", archive, "--directory", self.path)
        run("mount", "-t", "proc", "proc", self.path / "proc")

    def _make(self, archive):
        CACHE.mkdir(parents=True, exist_ok=True)
        made = self.path.with_name("debian-12.new")
        tap.note(f"debootstrap, once, into {archive}")
        run("debootstrap", "--variant=minbase", "bookworm", made, MIRROR, seconds=900)
        environment = {"env": ENVIRONMENT, "seconds": 900}
        run("chroot", made, "apt-get", "-qq", "update", **environment)
        install = ("apt-get", "-qq", "install", "--no-install-recommends", "systemd")
        run("chroot", made, *install, **environment)
        part = archive.with_suffix(f".{os.getpid()}")
        run("tar", "--create", "--numeric-owner", "--file", part, "--directory", made, ".")
        part.rename(archive)
        shutil.rmtree(made)

    def take_down(self):
        run("umount", self.path / "proc")
        shutil.rmtree(self.path)

    def host_path(self, path):
        return self.path / str(path).lstrip("/")

    def run(self, *command, **more):
        return run("chroot", self.path, *command, env=ENVIRONMENT, **more)

    def try_run(self, *command, user=None, groups=()):
        """Exit code, standard output and standard error of what may fail; as user (a number)."""
        takes_on = []
        if user is not None:
            takes_on = ["setpriv", f"--reuid={user}", f"--regid={user}"]
            takes_on += [f"--groups={','.join(groups)}" if groups else "--clear-groups"]
        done = subprocess.run(
            ["chroot", str(self.path), *takes_on, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=ENVIRONMENT,
        )
        return done.returncode, done.stdout, done.stderr

    def id_of(self, database, name):
        """The number of a user (passwd) or group, or None."""
        code, line, _ = self.try_run("getent", database, name)
        return int(line.split(":")[2]) if code == 0 else None

    def files(self):
        """Every file and directory that packages may have made, by its path."""
        found = set()
        for folder, folders, names in os.walk(self.path):
            inside = pathlib.Path(folder).relative_to(self.path)
            folders[:] = [each for each in folders if str(inside / each) not in NOT_A_PACKAGES]
            found.update(str(inside / each) for each in (*folders, *names))
        return found - set(NOT_A_PACKAGES)


def unit_read(path):
    """The settings of a unit, each a list of its lines."""
    settings = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


class Systemd:
    """Plays it for remotingd.service and remotingd.socket of the root."""

    def __init__(self, root):
        self.root = root
        self.asked = []  # command lines of systemctl
        self.process = None
        self.log_path = root.path / "tmp/remotingd.log"
        self.manager = None
        tempfile.tempdir = str(root.path / "tmp")  # where the daemon finds it, too
        for path in ("run/systemd/system", "run/systemctl"):
            root.host_path(path).mkdir(parents=True)
        for name in ("asked", "answer"):
            os.mkfifo(root.host_path(f"run/systemctl/{name}"))
        # Maintainer scripts look nowhere else.
        program = root.host_path("bin/systemctl")
        program.rename(program.with_suffix(".files"))
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.stop()
        if self.manager:
            self.manager.__exit__()
        with open(self.root.host_path("run/systemctl/asked"), "w") as asked:
            asked.write("\n")
        self.thread.join()
        shutil.rmtree(self.root.host_path("run/systemctl"))

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _unit(self, name="remotingd.service"):
        return unit_read(self.root.host_path(f"lib/systemd/system/{name}"))

    # --- what systemctl was asked

    def _serve(self):
        while True:
            with open(self.root.host_path("run/systemctl/asked")) as asked:
                line = asked.read().strip()
            if not line:
                return
            self.asked.append(line)
            try:
                answer = self._do([word for word in line.split() if not word.startswith("-")])
            except Exception as error:
                tap.note(f"systemctl {line}: {error}")
                answer = "1"
            with open(self.root.host_path("run/systemctl/answer"), "w") as stream:
                stream.write(f"{answer}\n")

    def _do(self, words):
        verb, units = words[0], words[1:]
        if verb == "is-active":
            return "0" if units == ["remotingd.service"] and self.process else "3"
        for unit in units:
            name, _, kind = unit.partition(".")
            if name == "remotingd" and verb in ("start", "stop", "restart", "reload"):
                getattr(self, f"{verb}_socket" if kind == "socket" else verb)()
        return "0"

    # --- the units

    def start_socket(self):
        unit = self._unit("remotingd.socket")
        path = unit["ListenStream"][0]
        outside = self.root.host_path(path)
        if outside.exists():
            return
        outside.parent.mkdir(mode=0o755, exist_ok=True)
        self._prepare()
        self.manager.sockets.append(self._bound(path))
        os.chmod(outside, int(unit["SocketMode"][0], 8))
        os.chown(outside, 0, self.root.id_of("group", unit["SocketGroup"][0]))

    def stop_socket(self):
        for each in self.manager.sockets:
            each.close()
        self.manager.sockets.clear()

    def _bound(self, path):
        """A listening socket whose name is the one that the daemon knows: bound inside."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            os.chroot(self.root.path)
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path)
                bound.listen(1024)
                socket.send_fds(theirs, [b"."], [bound.fileno()])
            os._exit(0)
        theirs.close()
        with ours:
            descriptors = socket.recv_fds(ours, 1, 1)[1]
        os.waitpid(child, 0)
        return socket.socket(fileno=descriptors[0])

    def _prepare(self):
        if not self.manager:
            room = int(self._unit()["FileDescriptorStoreMax"][0])
            self.manager = ServiceManager(room=room)
            # The daemon is another user, and finds it from inside.
            os.chmod(self.manager.directory, 0o711)
            os.chmod(f"{self.manager.directory}/notify", 0o666)

    def start(self):
        if self.process:
            return
        self._prepare()
        while not self.manager.told.empty():  # what the daemon before said
            self.manager.told.get()
        unit = self._unit()
        uid = self.root.id_of("passwd", unit["User"][0])
        gid = self.root.id_of("group", unit["Group"][0])
        run_directory = self.root.host_path("run") / unit["RuntimeDirectory"][0]
        run_directory.mkdir(exist_ok=True)
        run_directory.chmod(int(unit["RuntimeDirectoryMode"][0], 8))
        os.chown(run_directory, uid, gid)
        inside = "/" + os.path.relpath(self.manager.directory, self.root.path)
        n_files, most = int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [
                    *self.manager.through(),
                    *("chroot", self.root.path, "env", f"NOTIFY_SOCKET={inside}/notify"),
                    *unit["Environment"],
                    *("prlimit", f"--nofile={min(n_files, most)}"),
                    *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
                    *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
                    *unit["ExecStart"][0].split(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                umask=int(unit["UMask"][0], 8),
                cwd="/",
            )
        try:
            self.manager.wait_for("READY=1")
        except AssertionError:
            tap.note(f"the log of remotingd ends with:\n{self.log[-2000:]}")
            raise

    def _end(self):
        code = None
        if self.process:
            self.process.terminate()
            code = self.process.wait(60)
            self.process = None
        return code

    def stop(self):
        self._end()
        if self.manager:
            self.manager.forget_all()

    def restart(self):
        code = self._end()
        if code:
            raise AssertionError(f"the daemon before ended with {code}")
        self.start()

    def reload(self):
        for line in self._unit()["ExecReload"]:
            self.root.run(*line.replace("$MAINPID", str(self.process.pid)).split())


def needs_packages(*programs):
    """Skips a test where it cannot be run."""
    if os.getuid() != 0:
        tap.skip("a root directory of its own needs root")
    missing = [each for each in programs if not shutil.which(each)]
    if missing:
        tap.skip(f"{', '.join(missing)} is missing: tests/support/install_packages.sh packages")
