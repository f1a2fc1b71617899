"""remotingctl, run against a daemon as one would by hand"""

import subprocess

from daemon_process import binary
from tap import equal


class Run:
    """One run of remotingctl: its exit code and what it wrote."""

    def __init__(self, running, *words, standard_input=b""):
        command = [binary("REMOTINGCTL", "build-test/client/remotingctl"), *words]
        done = subprocess.run(
            command,
            input=standard_input,
            capture_output=True,
            timeout=40,
            env={"REMOTINGD_SOCKET": running.socket, "PATH": "/usr/bin:/bin"},
        )
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def succeeded(self):
        equal(self.code, 0, f"the exit code (standard error: {self.err})")
        return self
