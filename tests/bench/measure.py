"""
Measurements

One measurement is one run of bench_load through one hop; its result is a dict of plain numbers. CPU
is the scheduler's accounting: of the hop, and of the whole path (callers, hop, stub), which on one
CPU is what throughput comes from, and which other programs of the machine disturb least. `others` is
how much of the CPUs other programs (and the host of a virtual machine) took meanwhile: a measurement
that they disturbed is made again, a few times, and the quietest counts.
"""

import json
import pathlib
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import time

PATIENCE = 120
SYSCALL_SECONDS = 0.4
OTHERS_MOST = 0.05
ATTEMPTS = 4
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STARTS = 10
MEMORY_STEPS = 4
MEMORY_REQUESTS = 1_000_000


class MeasureError(Exception):
    """A run failed; the text is what its program said."""


def run_program(command):
    """Its result; MeasureError with what it said when it failed."""
    result = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if result.returncode != 0:
        raise MeasureError(f"{' '.join(map(str, command))}:\n{result.stderr[-2000:]}")
    return result


class Bench:
    """Where the programs are, the stub, and the CPUs of the callers."""

    def __init__(self, programs, cpus, stub, seconds):
        self.programs = programs
        self.cpus = cpus
        self.stub = stub
        self.seconds = seconds

    def load(self, hop, arguments):
        """The command of the callers; with a bare header the daemon has to find the stub."""
        return [
            *("taskset", "-c", self.cpus, self.programs / "bench_load"),
            *(["--addr", self.stub.tcp] if "--bare" not in arguments else []),
            *(["--cpu", hop.pid] if hop.pid else []),
            *("--cpu", self.stub.pid),
            *arguments,
            hop.endpoint,
        ]

    def throughput(self, hop, shape):
        """Requests a second, latencies, CPU per request."""
        timing = ["--seconds", self.seconds, "--warm-up", min(0.3, self.seconds)]
        raw = json.loads(run_program(self.load(hop, shape.load_arguments() + timing)).stdout)
        n = max(raw["requests"], 1)
        cpu = raw["cpu_s"]
        return {
            "rate": raw["rate"],
            "p50_us": raw["p50_us"],
            "p99_us": raw["p99_us"],
            "cpu_us": cpu[0] / n * 1e6 if hop.pid else 0.0,
            "path_us": sum(cpu) / n * 1e6,
        }

    def undisturbed(self, hop, function):
        """
        The sample that function() takes, with "others"; taken again while others take more than
        OTHERS_MOST of the CPUs.
        """
        quietest = None
        for _ in range(ATTEMPTS):
            before = self._times(hop)
            sample = function()
            wall, busy, own = (b - a for a, b in zip(before, self._times(hop)))
            sample["others"] = max(0.0, busy - own) / (wall * self._n_cpus(hop))
            if quietest is None or sample["others"] < quietest["others"]:
                quietest = sample
            if quietest["others"] <= OTHERS_MOST:
                break
        return quietest

    def _n_cpus(self, hop):
        return len({self.cpus, hop.cpus})

    def _times(self, hop):
        """Seconds: of the clock, of all that ran on the CPUs, of what belongs to the measurement."""
        busy = 0.0
        with open("/proc/stat") as file:
            rows = [line.split() for line in file if line.startswith("cpu")]
        for name, *ticks in rows:
            if name in {f"cpu{self.cpus}", f"cpu{hop.cpus}"}:
                # user nice system idle iowait irq softirq steal; guests are in user
                busy += sum(map(int, ticks[:8])) - int(ticks[3]) - int(ticks[4])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = children.ru_utime + children.ru_stime + cpu_seconds(self.stub.pid)
        own += cpu_seconds(hop.pid) if hop.pid else 0.0
        return time.monotonic(), busy / TICKS_PER_SECOND, own

    def syscalls(self, hop, shape):
        """System calls of the hop per request: perf's count, or strace's where perf may not."""
        timing = ["--seconds", SYSCALL_SECONDS, "--warm-up", 0]
        load = self.load(hop, shape.load_arguments() + timing)
        if shutil.which("perf"):
            perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", hop.pid, "--"]
            try:
                result = run_program(perf + load)
                count = re.search(r"^(\d+),.*raw_syscalls", result.stderr, re.MULTILINE)
                if count:
                    return int(count.group(1)) / max(json.loads(result.stdout)["requests"], 1)
            except MeasureError:
                pass  # no tracing rights
        return self._syscalls_by_strace(hop, load)

    def _syscalls_by_strace(self, hop, load):
        strace = subprocess.Popen(
            ["strace", "-c", "-f", "-p", str(hop.pid)], stderr=subprocess.PIPE, text=True
        )
        try:
            strace.stderr.readline()  # "attached"
            n = max(json.loads(run_program(load).stdout)["requests"], 1)
        finally:
            strace.send_signal(2)
            report = strace.communicate(timeout=PATIENCE)[1]
        total = re.search(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s.*total$", report, re.MULTILINE)
        if not total:
            raise MeasureError(f"strace counted nothing:\n{report[-1000:]}")
        return int(total.group(1)) / n

    def idle(self, hop, shape):
        """What idle callers cost in memory, and what 64 busy ones do beside them and without."""
        self.throughput(hop, shape)  # a daemon that has just started is no measure
        without = self.undisturbed(hop, lambda: self.throughput(hop, shape))
        before = memory(hop.pid)
        callers = []
        try:
            for _ in range(shape.idle):
                caller = socket.socket(socket.AF_UNIX)
                callers.append(caller)
                caller.connect(hop.endpoint)
            # Who is answered now connected behind them all.
            run_program(self.load(hop, ["--requests", 1]))
            after = memory(hop.pid)
            beside = self.undisturbed(hop, lambda: self.throughput(hop, shape))
        finally:
            for caller in callers:
                caller.close()
        return {
            **beside,
            "rss_each": (after["rss"] - before["rss"]) / shape.idle,
            "pss_each": (after["pss"] - before["pss"]) / shape.idle,
            "rate_beside": beside["rate"] / without["rate"],
            "path_beside": without["path_us"] / beside["path_us"],
        }

    def memory(self, hop, shape):
        """Resident memory at the start and after each quarter of a million requests."""
        run_program(self.load(hop, ["--requests", 1]))
        seen = [memory(hop.pid)]
        for _ in range(MEMORY_STEPS):
            n = MEMORY_REQUESTS // MEMORY_STEPS
            run_program(self.load(hop, [*shape.load_arguments(), "--requests", n]))
            seen.append(memory(hop.pid))
        return {
            "rss_first": seen[0]["rss"],
            "rss_quarter": seen[1]["rss"],
            "rss_last": seen[-1]["rss"],
            "pss_last": seen[-1]["pss"],
        }

    def start(self, hop):
        """From exec to the first answer, of daemons that are started for it one after the other."""
        command = [
            *("taskset", "-c", hop.cpus, self.programs / "bench_start"),
            *(hop.endpoint, self.stub.tcp),
            *hop.command(),
        ]
        raw = [json.loads(run_program(command).stdout) for _ in range(STARTS)]
        return {
            "connected_us": statistics.median(start["connected_us"] for start in raw),
            "answered_us": statistics.median(start["answered_us"] for start in raw),
            "fastest_us": min(start["answered_us"] for start in raw),
        }


def cpu_seconds(pid):
    """What the process and its threads have spent."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory(pid):
    """Bytes: {"rss", "pss"}."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {
        name.lower(): int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE).group(1)) * 1024
        for name in ("Rss", "Pss")
    }
