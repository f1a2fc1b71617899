"""What `meson install` leaves behind: every file where its readers look for it, and no other one.

REMOTINGCTL names the binary, whose build directory is installed. Speaks TAP.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

import tap
from tap import contains, equal, test

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("REMOTINGCTL", "build/client/remotingctl")).resolve().parents[1]

# Below the prefix, where {bindir} and others are meson's options.
FILES = """
{bindir}/remotingctl
{bindir}/remotingd
{includedir}/remotingclient.h
{libdir}/libremotingclient.a
{libdir}/libremotingclient.so
{libdir}/libremotingclient.so.0
{libdir}/libremotingclient.so.0.1.0
{libdir}/pkgconfig/remotingclient.pc
lib/systemd/system/remoting-worker@.service
lib/systemd/system/remotingd.service
lib/systemd/system/remotingd.socket
lib/systemd/system/remotingd@.service
lib/sysusers.d/remotingd.conf
lib/tmpfiles.d/remotingd.conf
{datadir}/bash-completion/completions/remotingctl
{datadir}/doc/remotingd/CHANGELOG.md
{datadir}/doc/remotingd/HTTP.md
{datadir}/doc/remotingd/OPERATING.md
{datadir}/doc/remotingd/PROTOCOL.md
{datadir}/doc/remotingd/README.md
{datadir}/doc/remotingd/examples/monitoring/alerts.yml
{datadir}/doc/remotingd/examples/monitoring/dashboard.json
{datadir}/doc/remotingd/examples/remotingd.ini
{datadir}/doc/remotingd/examples/worker.env
{datadir}/fish/vendor_completions.d/remotingctl.fish
{datadir}/zsh/site-functions/_remotingctl
{mandir}/man1/remotingctl.1
{mandir}/man5/remotingd.ini.5
{mandir}/man7/remotingd-protocol.7
{mandir}/man8/remoting-worker@.service.8
{mandir}/man8/remotingd.8
"""


def run(*arguments, **environment):
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, timeout=100, env=dict(os.environ, **environment))
    equal(result.returncode, 0, f"the exit code of {arguments[0]}, which said {result.stdout[-600:]}")
    return result.stdout


def build_options():
    rows = json.loads(run("meson", "introspect", "--buildoptions", str(BUILD)))
    return {row["name"]: row["value"] for row in rows}


class Installed:
    """The tree as `meson install` puts it into a directory that stands for the root."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.options = build_options()
        self.root = pathlib.Path(self.folder.name) / self.options["prefix"].lstrip("/")
        run("meson", "install", "-C", str(BUILD), "--no-rebuild", DESTDIR=self.folder.name)
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def text_of(self, path):
        return (self.root / path).read_text()


@test(deadline=120)
def every_file_is_where_its_readers_look_and_there_is_no_other_one():
    schemas = [f"{{datadir}}/remotingd/schemas/{path.name}" for path in (ROOT / "client/schemas").glob("*.json")]
    with Installed() as installed:
        top = pathlib.Path(installed.folder.name)
        seen = sorted(str(path.relative_to(installed.root)) if path.is_relative_to(installed.root) else str(path)
                      for path in top.rglob("*") if not path.is_dir())
        expected = sorted(line.format(**installed.options) for line in FILES.split() + schemas)
        equal([path for path in seen if path not in expected], [], "what nobody expects")
        equal([path for path in expected if path not in seen], [], "what is missing")


@test(deadline=120)
def the_units_start_the_programs_that_were_installed():
    units = {"remotingd.service": ["remotingd"] * 2, "remotingd@.service": ["remotingd"] * 2,
             "remoting-worker@.service": ["remotingctl"]}
    with Installed() as installed:
        folder = f"{installed.options['prefix']}/{installed.options['bindir']}"
        for unit, programs in units.items():
            text = installed.text_of(f"lib/systemd/system/{unit}")
            seen = re.findall(r"^Exec\w+=(\S*remoting\w+) ", text, re.M)
            equal(seen, [f"{folder}/{program}" for program in programs], f"what {unit} starts")
            source = (ROOT / "systemd" / unit).read_text()
            equal(text.replace(f"={folder}/remoting", "=/usr/bin/remoting"), source, f"all else in {unit}")


@test(deadline=120)
def a_program_finds_the_library_by_pkg_config():
    with Installed() as installed:
        folder = installed.root / installed.options["libdir"] / "pkgconfig"
        told = run("pkg-config", "--cflags", "--libs", "remotingclient", PKG_CONFIG_PATH=str(folder),
                   PKG_CONFIG_SYSROOT_DIR=installed.folder.name, PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1",
                   PKG_CONFIG_ALLOW_SYSTEM_LIBS="1")
        contains(told, "-lremotingclient", "what pkg-config tells")
        contains(told, f"-I{installed.root / installed.options['includedir']}", "where the header is")
        version = re.search(r"version: '([0-9.]+)'", (ROOT / "meson.build").read_text())[1]
        contains(installed.text_of(f"{installed.options['libdir']}/pkgconfig/remotingclient.pc"),
                 f"Version: {version}", "its version")


STATIC_PROGRAM = """
#include <remotingclient.h>
int main(int argc, char **argv)
{
    struct remotingclient *client = 0;
    return remotingclient_new(argv[argc - 1], &client) == 0;
}
"""


@test(deadline=120)
def a_program_links_the_static_library_and_what_it_needs_statically():
    folder = run("pkg-config", "--variable=libdir", "jansson").strip()
    with Installed() as installed:
        source = pathlib.Path(installed.folder.name) / "program.c"
        source.write_text(STATIC_PROGRAM)
        program = source.with_suffix("")
        sanitizers = installed.options["b_sanitize"]
        run("cc", str(source), f"-I{installed.root / installed.options['includedir']}", "-o", str(program),
            *([f"-fsanitize={sanitizers}"] if sanitizers != "none" else []),
            # Every member, as programs may need any of them: no name may be there twice.
            "-Wl,--whole-archive", str(installed.root / installed.options["libdir"] / "libremotingclient.a"),
            f"{folder}/libjansson.a", "-Wl,--no-whole-archive", "-lm")
        run(str(program), "/nowhere/remotingd.sock")


tap.main()
