"""
Build

The daemon and the programs of the benchmark in build-bench/: meson's release build (gcc -O3,
_FORTIFY_SOURCE=3, the tree's hardening, LTO of the daemon, no sanitizer), whatever else is built in
the tree.
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build-bench"
OPTIONS = ("--buildtype=release", "-Dbench=true")


def build(group):
    """
    Installs what the group of packages lacks, and builds. Returns the directory of the programs and
    the daemon; ends the program with the compiler's words when it does not build.
    """
    install = ROOT / "tests/support/install_packages.sh"
    subprocess.run([install, group], check=True, stdout=sys.stderr)
    ready = (BUILD / "build.ninja").exists()
    commands = [
        ["meson", "configure", BUILD, *OPTIONS]
        if ready
        else ["meson", "setup", BUILD, ROOT, *OPTIONS],
        ["ninja", "-C", BUILD],
    ]
    for command in commands:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"{result.stdout[-3000:]}{result.stderr[-1000:]}")
    return BUILD / "tests" / "bench", BUILD / "daemon" / "remotingd"
