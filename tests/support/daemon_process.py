"""
The real remotingd, for tests

Starts the binary named by REMOTINGD (default: build-test/daemon/remotingd of this tree) with an INI
of its own in a directory of its own, waits until it says that it listens, and stops it with
SIGTERM. The end asserts what every test wants to know: no open file more than at the start once the
callers are gone, no more connections to an address than it may have, exit code 0, nothing in the
log from a sanitizer, no socket left behind.

    with Daemon(nameservers=[broker.address]) as daemon:
        client = daemon.client()
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import remoting
import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 40
# An address has connections for requests and as many for long polls, and one to be called back on.
CLASSES = 2
CONTROL = 1
SANITIZER_WORDS = (
    "AddressSanitizer",
    "LeakSanitizer",
    "UndefinedBehaviorSanitizer",
    "runtime error:",
)


def binary(variable, default):
    """The path of a program that was built, from the environment or the test build."""
    path = pathlib.Path(os.environ.get(variable) or ROOT / default)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: build it, or name it with {variable}")
    return str(path.resolve())  # the daemon starts in a directory of its own


class Daemon:
    """
    settings: {"section": {"key": value}}, laid over a socket path and the nameservers (a list; None
    leaves them out). clean says whether the end is to be asserted; a story that ends the daemon in
    its own way asserts what it expects itself. through is a command that ends by executing the
    arguments behind it, in the same process; asan_options are added to those of every test.
    """

    def __init__(self, nameservers=None, settings=None, clean=True, through=(), asan_options=""):
        self.binary = binary("REMOTINGD", "build-test/daemon/remotingd")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-"))
        self.socket = str(self.directory / "remotingd.sock")
        self.log_path = self.directory / "log"
        self.config_path = self.directory / "remotingd.ini"
        self.clean = clean
        self.owns_socket = True  # no service manager listens for it
        self.through = list(through)
        self.asan_options = asan_options
        pool = (settings or {}).get("pool", {})
        self.most_connections = CLASSES * int(pool.get("connections_per_address", 1)) + CONTROL
        self.process = None
        self.clients = []
        self.base_files = 0
        self.write_config(nameservers, settings or {})

    def write_config(self, nameservers, settings):
        """The file that it reads at its start, and when it is told to reload."""
        sections = {"listener": {"socket": self.socket}, "log": {"level": "debug"}}
        if nameservers:
            sections["nameserver"] = {"addresses": ";".join(nameservers)}
        for section, keys in settings.items():
            sections.setdefault(section, {}).update(keys)
        lines = []
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
        self.config_path.write_text("\n".join(lines))

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        try:
            if kind is None and self.clean:
                self._end_well()
            elif kind is not None:
                tap.note(f"the log of remotingd ends with:\n{self.log()[-6000:]}")
        finally:
            self._close_clients()
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        environment = {key: value for key, value in os.environ.items() if key != "NAMESRV_ADDR"}
        environment["ASAN_OPTIONS"] = f"exitcode=99:abort_on_error=0:{self.asan_options}"
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [*self.through, self.binary, "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.directory,
            )
        end = time.monotonic() + START_SECONDS
        while f"listening socket={self.socket}" not in self.log():
            if self.process.poll() is not None:
                self._fail_start(f"ended at its start with {self.process.returncode}")
            if time.monotonic() > end:
                self._fail_start(
                    f"does not say 'listening socket={self.socket}' within {START_SECONDS} s"
                )
            time.sleep(0.003)
        self.base_files = self.files()
        return self

    def _fail_start(self, why):
        self.kill()
        log = self.log()
        shutil.rmtree(self.directory, ignore_errors=True)
        raise AssertionError(f"remotingd {why}:\n{log}")

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def client(self, **more):
        """A connection that is closed when the daemon goes."""
        client = remoting.Client(self.socket, **more)
        self.clients.append(client)
        return client

    def refuses(self):
        """True when nobody accepts on the socket any more."""
        try:
            remoting.Client(self.socket).close()
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        return False

    def terminate(self):
        """SIGTERM, without waiting for what follows."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=STOP_SECONDS):
        """
        The exit code. What is still running after that long is killed, and the test has failed.
        """
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"remotingd still ran after {timeout} s") from None

    def ended_well(self):
        """Asserts what a good end looks like, after wait()."""
        log = self.log()
        words = [word for word in SANITIZER_WORDS if word in log]
        if words or self.process.returncode != 0:
            tap.note(f"the log of remotingd ends with:\n{log[-8000:]}")
        tap.equal(words, [], "what sanitizers said in the log of remotingd")
        tap.equal(self.process.returncode, 0, "the exit code of remotingd")
        if self.owns_socket:
            tap.check(not os.path.exists(self.socket), "remotingd removes its socket when it stops")

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def files(self):
        """The number of its open files that are not connections to nameservers or brokers."""
        inodes = self._socket_inodes()
        n_tcp = sum(1 for row in self._tcp_rows() if row[9] in inodes)
        return len(os.listdir(f"/proc/{self.pid}/fd")) - n_tcp

    def resident_bytes(self):
        pages = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def upstreams(self):
        """[(remote port, local port)] of its established TCP connections, sorted."""
        inodes = self._socket_inodes()
        rows = [row for row in self._tcp_rows() if row[3] == "01" and row[9] in inodes]
        return sorted(
            (int(row[2].rpartition(":")[2], 16), int(row[1].rpartition(":")[2], 16)) for row in rows
        )

    def upstreams_to(self, address):
        port = remoting.parse_address(address)[1]
        return [row for row in self.upstreams() if row[0] == port]

    def returns_to_base(self):
        """Asserts that without callers nothing is left open that was not open before."""
        self._close_clients()
        what = f"without callers no more than the {self.base_files} files of the start are open"
        tap.wait_until(lambda: self.files() <= self.base_files, 10, what)
        ports = [row[0] for row in self.upstreams()]
        most = self.most_connections
        many = {port: ports.count(port) for port in ports if ports.count(port) > most}
        tap.equal(many, {}, f"remote ports with more than {most} connections")

    def _end_well(self):
        if self.process.poll() is None:
            self.returns_to_base()
            self.terminate()
        self.wait()
        self.ended_well()

    def _close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def _socket_inodes(self):
        inodes = set()
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{self.pid}/fd/{fd}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        return inodes

    def _tcp_rows(self):
        """
        The kernel's table is read piece by piece while it changes: a connection may stand in it
        twice, and is one nevertheless.
        """
        rows = {}
        for table in ("tcp", "tcp6"):
            try:
                text = pathlib.Path(f"/proc/{self.pid}/net/{table}").read_text()
            except OSError:
                continue
            for row in (line.split() for line in text.splitlines()[1:]):
                rows[row[1], row[2], row[9]] = row
        return list(rows.values())
