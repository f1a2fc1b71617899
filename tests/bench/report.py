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
    ("share", "share", "{:.2f}"),
)

LEGEND = """\
CPU us: of the hop (of a peer: its whole process) per request; path us: of callers, hop and stub.
rate/relay: requests/s against the byte relay's; path/relay: the relay's path us against this one's,
which is the same ratio in the kernel's accounting, where other programs disturb it less; CPU/relay:
the hop's CPU against the relay's. syscalls: of the hop per request. share: how much of the time the
path ran."""


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


def _text(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
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
    previous = None
    for (shape, hop), cell in cells.items():
        if "rate" in cell:
            numbers = [
                form.format(cell[key]) if cell.get(key) else "" for _, key, form in COLUMNS
            ]
            rows.append([shape if shape != previous else "", hop, *numbers])
            previous = shape
        if _extra(cell):
            extras.append(f"{shape}  {hop}: {_extra(cell)}")
    return [*_text(rows), "", LEGEND, "", *extras]
