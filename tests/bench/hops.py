"""
The stub and the hops

What the benchmark starts: the stub server, and the hops between a caller's Unix socket and the
stub's TCP port: the byte relay, remotingd, HAProxy, nginx stream. "direct" and "direct-tcp" are no
hop at all. Every process is started in the foreground in a directory of its own, pinned by taskset,
and ended by its pid.
"""

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 60
STOP_SECONDS = 10
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

HAPROXY = """global
    nbthread 1
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind unix@{socket}
    server stub {stub}
"""

NGINX = """load_module {module};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections {files}; }}
stream {{
    server {{
        listen unix:{socket} backlog=4096;
        proxy_pass {stub};
        proxy_timeout 1h;
    }}
}}
"""

REMOTINGD = """[listener]
socket = {socket}
max_sessions = 20000
[nameserver]
addresses = {stub}
[log]
level = error
{more}"""


class HopError(Exception):
    """A process did not start; the text says which and what it printed."""


def wait_for_socket(path, process, log):
    """Returns when somebody accepts on the Unix socket."""
    end = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
                return
            except OSError:
                pass
        if process.poll() is not None or time.monotonic() > end:
            raise HopError(
                f"{process.args[0]} does not listen at {path}:\n{log.read_text()[-2000:]}"
            )
        time.sleep(0.005)


def file_limit():
    """How many files a process may open here; a hop needs two for each of its callers."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Process:
    """A pinned process in a directory of its own."""

    def __init__(self, cpus):
        self.cpus = cpus
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.log = self.directory / "log"
        self.process = None

    def execute(self, *command):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", self.cpus, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self._environment(),
            )

    @staticmethod
    def _environment():
        """Of every run the same: the upstream opaques, too, which are longer where they are negative."""
        others = {key: value for key, value in os.environ.items() if key != "NAMESRV_ADDR"}
        return {**others, "REMOTINGD_FIRST_GENERATION": "1"}

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Stub(Process):
    """tcp and socket are its two endpoints."""

    def __init__(self, programs, cpus, *options):
        super().__init__(cpus)
        self.command = [programs / "bench_stub", *options]
        self.socket = str(self.directory / "stub.sock")
        self.tcp = None

    def start(self):
        self.execute(*self.command, "127.0.0.1:0", self.socket)
        wait_for_socket(self.socket, self.process, self.log)
        self.tcp = self.log.read_text().split()[1]
        return self


class Hop(Process):
    """name, and the endpoint that callers connect to."""

    def __init__(self, name, cpus, stub):
        super().__init__(cpus)
        self.name = name
        self.stub = stub
        self.endpoint = str(self.directory / "hop.sock")

    def command(self):
        raise NotImplementedError

    def start(self):
        self.execute(*self.command())
        wait_for_socket(self.endpoint, self.process, self.log)
        return self

    def write(self, name, text, **fields):
        path = self.directory / name
        fields |= {"socket": self.endpoint, "stub": self.stub.tcp, "directory": self.directory}
        path.write_text(text.format(**fields))
        return path


class Direct(Hop):
    """No hop: the caller talks to the stub."""

    def __init__(self, name, cpus, stub):
        super().__init__(name, cpus, stub)
        self.endpoint = stub.tcp if name == "direct-tcp" else stub.socket

    def start(self):
        return self

    @property
    def pid(self):
        return None


class Relay(Hop):
    def __init__(self, programs, cpus, stub):
        super().__init__("relay", cpus, stub)
        self.program = programs / "bench_relay"

    def command(self):
        return [self.program, self.endpoint, self.stub.tcp]


class Remotingd(Hop):
    """settings is more text for the INI file; wrapper a command that executes what follows it."""

    def __init__(self, name, program, cpus, stub, settings="", wrapper=()):
        super().__init__(name, cpus, stub)
        self.program = program
        self.settings = settings
        self.wrapper = wrapper

    def configure(self):
        return self.write("remotingd.ini", REMOTINGD, more=self.settings)

    def command(self):
        return [*self.wrapper, self.program, "--config", self.configure()]


class Haproxy(Hop):
    def command(self):
        connections = (file_limit() - 100) // 2
        path = self.write("haproxy.cfg", HAPROXY, connections=connections)
        return ["haproxy", "-db", "-f", path]


class Nginx(Hop):
    def command(self):
        path = self.write("nginx.conf", NGINX, module=NGINX_STREAM, files=file_limit())
        return ["nginx", "-p", self.directory, "-c", path, "-e", self.directory / "error.log"]
