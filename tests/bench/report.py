"""
Report

Medians of the rounds, ratios, one table. A ratio is the median of the rounds' ratios, each taken
between two measurements of the same round; nothing is compared across runs.
"""

import platform
import re
import shutil
import statistics
import subprocess

COLUMNS = (
    # heading, key, format
    ("requests/s", "rate", "{:,.0f}"),
    ("p50 us", "p50_us", "{:,.1f}"),
    ("p99 us", "p99_us", "{:,.1f}"),
    ("CPU us", "cpu_us", "{:.3f}"),
    ("path us", "path_us", "{:.3f}"),
    ("rate/relay", "rate_to_relay", "{:.3f}"),
    ("path/relay", "path_to_relay", "{:.3f}"),
    ("CPU/relay", "cpu_to_relay", "{:.3f}"),
    ("syscalls", "syscalls", "{:.3f}"),
    ("others", "others", "{:.2f}"),
)

# What is told of a daemon beside each other one.
BESIDE = {
    "rate": "requests/s",
    "p50_us": "p50",
    "p99_us": "p99",
    "cpu_us": "CPU",
    "path_us": "path",
}

LEGEND = """\
CPU us: of the hop (of a peer: its whole process) per request; path us: of callers, hop and stub.
rate/relay: requests/s against the byte relay's; path/relay: the relay's path us against this one's,
which is the same ratio in the kernel's accounting, where other programs disturb it less; CPU/relay:
the hop's CPU against the relay's. syscalls: of the hop per request. others: how much of the CPU
other programs took meanwhile; where that is much, trust path/relay."""


def version(*command):
    """The first line that a program says of its version, or None."""
    if not shutil.which(command[0]):
        return None
    result = subprocess.run(command, capture_output=True, text=True)
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[0] if lines else None


def about(root):
    """Where and what was measured."""
    commit = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    with open("/proc/cpuinfo") as file:
        models = re.findall(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    with open("/proc/loadavg") as file:
        load = file.read().split()[0]
    return {
        "machine": f"{len(models)} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "load average before": load,
        "commit": commit or "unknown",
        "compiler": version("cc", "--version"),
        "libevent": version("pkg-config", "--modversion", "libevent"),
        "haproxy": version("haproxy", "-v"),
        "nginx": version("nginx", "-v"),
    }


def add_ratios(rounds):
    """rounds: [{(shape, hop): sample}]; completes the samples."""
    for samples in rounds:
        for (shape, _), sample in samples.items():
            relay = samples.get((shape, "relay"))
            if not relay or "rate" not in sample:
                continue
            sample["rate_to_relay"] = sample["rate"] / relay["rate"]
            sample["path_to_relay"] = relay["path_us"] / sample["path_us"]
            if sample["cpu_us"] and relay["cpu_us"]:
                sample["cpu_to_relay"] = sample["cpu_us"] / relay["cpu_us"]


def medians(rounds):
    """{(shape, hop): {key: median over the rounds}}, in the order of the first round."""
    cells = {}
    for samples in rounds:
        for cell, sample in samples.items():
            for key, value in sample.items():
                cells.setdefault(cell, {}).setdefault(key, []).append(value)
    return {
        cell: {key: statistics.median(values) for key, values in keys.items()}
        for cell, keys in cells.items()
    }


def beside(rounds, daemons):
    """
    {(shape, daemon, other): {key: ratio of the daemon's to the other's}}, medians of the rounds'
    ratios.
    """
    ratios = {}
    for samples in rounds:
        for (shape, daemon), sample in samples.items():
            if daemon not in daemons or "rate" not in sample:
                continue
            for (other_shape, other), second in samples.items():
                if other_shape != shape or other == daemon:
                    continue
                cell = ratios.setdefault((shape, daemon, other), {})
                for key in BESIDE:
                    if sample[key] and second[key]:
                        cell.setdefault(key, []).append(sample[key] / second[key])
    return {
        cell: {key: statistics.median(values) for key, values in keys.items()}
        for cell, keys in ratios.items()
    }


def aligned(rows, n_names):
    """Lines: names to the left, numbers to the right; a first name is not said twice."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    previous = None
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:n_names], widths)]
        if row[0] == previous:
            cells[0] = " " * widths[0]
        previous = row[0]
        cells += [cell.rjust(width) for cell, width in zip(row[n_names:], widths[n_names:])]
        lines.append("  ".join(cells).rstrip())
    return lines


def _extra(cell):
    """What only some shapes have, in words."""
    words = []
    if "rss_each" in cell:
        words.append(f"RSS {cell['rss_each']:,.0f} B per idle caller")
        words.append(f"PSS {cell['pss_each']:,.0f} B")
        words.append(f"64 busy beside them: {cell['rate_beside']:.3f} of the requests/s without")
        words.append(f"{cell['path_beside']:.3f} by CPU")
    if "answered_us" in cell:
        words.append(f"first answer after {cell['answered_us'] / 1e3:.2f} ms")
        words.append(f"connected after {cell['connected_us'] / 1e3:.2f} ms")
        words.append(f"the fastest {cell['fastest_us'] / 1e3:.2f} ms")
    if "rss_last" in cell:
        words.append(
            f"RSS {cell['rss_first'] / 1e6:.2f} MB at first, {cell['rss_quarter'] / 1e6:.2f} MB "
            f"after 250,000 requests, {cell['rss_last'] / 1e6:.2f} MB after 1,000,000 "
            f"(PSS {cell['pss_last'] / 1e6:.2f} MB)"
        )
    return "; ".join(words)


def table(cells):
    """The lines of the table."""
    rows = [["shape", "hop", *(heading for heading, _, _ in COLUMNS)]]
    extras = []
    for (shape, hop), cell in cells.items():
        if "rate" in cell:
            numbers = [
                form.format(cell[key]) if cell.get(key) else "" for _, key, form in COLUMNS
            ]
            rows.append([shape, hop, *numbers])
        if _extra(cell):
            extras.append(f"{shape}  {hop}: {_extra(cell)}")
    lines = [*aligned(rows, 2), "", LEGEND] if len(rows) > 1 else []
    return [*lines, *([""] if lines and extras else []), *extras]


def beside_table(cells):
    """The lines of what beside() said, or none."""
    if not cells:
        return []
    rows = [["shape", "daemon", "beside", *(f"{heading} x" for heading in BESIDE.values())]]
    for (shape, daemon, other), cell in cells.items():
        numbers = [f"{cell[key]:.3f}" if key in cell else "" for key in BESIDE]
        rows.append([shape, daemon, other, *numbers])
    return [*aligned(rows, 3), "", "The daemon's figure divided by the other's."]
