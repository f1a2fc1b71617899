"""
Java's own client for stories against a real cluster

JavaClient.java is compiled once a run against the jars of the cluster, and run as a process of its
own, which says in lines what it sees. close() has it shut down as an application does: its groups
are unregistered and its offsets committed.
"""

import atexit
import pathlib
import shutil
import subprocess
import tempfile
import threading

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
]
START_SECONDS = 60

_classes = None


def _compile():
    global _classes
    if _classes is None:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-java-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        jars = f"{rocketmq_cluster.fetch()}/*"
        subprocess.run(
            ["javac", "-nowarn", "-cp", jars, "-d", directory, SOURCE],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        (directory / "logback.xml").write_text(
            rocketmq_cluster.LOGBACK.replace('level="ERROR"', 'level="OFF"')
        )
        _classes = (directory, jars)
    return _classes


class JavaClient:
    def __init__(self, mode, *arguments):
        directory, jars = _compile()
        self.lines = []
        self.process = subprocess.Popen(
            [
                "java",
                *JVM,
                f"-Duser.home={directory}",
                f"-Drmq.logback.configurationFile={directory}/logback.xml",
                "-cp",
                f"{directory}:{jars}",
                "JavaClient",
                mode,
                *map(str, arguments),
            ],
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
        tap.check(len(self.said(word)) >= n, f"Java's client lives (its lines: {self.lines[-20:]})")
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
