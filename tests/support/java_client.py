"""
Java's own client for stories against a real cluster

JavaClient.java is compiled once a story, and run as a process of its
own, which says in lines what it sees. close() has it shut down as an application does: its groups
are unregistered and its offsets committed.
"""

import atexit
import pathlib
import shutil
import subprocess
import tempfile
import threading

import java_program
import rocketmq_cluster
import tap

SOURCE = pathlib.Path(__file__).resolve().parent / "JavaClient.java"
JVM = [
    "-Xms32m",
    "-Xmx96m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    "-Dcom.rocketmq.remoting.client.connect.timeout=20000",
]
START_SECONDS = 60

_command = None


def _compile():
    global _command
    if _command is None:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-java-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        options = (*JVM, f"-Duser.home={directory}")
        _command = java_program.command([SOURCE], directory, "JavaClient", *options)
        # What it logs would stand between the lines that it says.
        silent = rocketmq_cluster.LOGBACK.replace('level="ERROR"', 'level="OFF"')
        (directory / "logback.xml").write_text(silent)
    return _command


class JavaClient:
    def __init__(self, mode, *arguments):
        self.lines = []
        self.process = subprocess.Popen(
            [*_compile(), mode, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for("ready", START_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self, word):
        """The rest of each line so far that begins with the word."""
        return [line[len(word) :].strip() for line in list(self.lines) if line.startswith(word)]

    def wait_for(self, word, timeout=30.0, n=1):
        def there():
            return len(self.said(word)) >= n or self.process.poll() is not None

        tap.wait_until(there, timeout, f"{n} lines '{word}' of Java's client")
        tap.check(len(self.said(word)) >= n, f"Java's client lives (its lines: {self.lines[:3]})")
        return self.said(word)

    def close(self, timeout=30):
        if self.process.poll() is None:
            try:
                self.say("")
                self.process.wait(timeout)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()
        self.reader.join(5)

    def kill(self):
        self.process.kill()
        self.process.wait()
