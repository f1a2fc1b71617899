"""
A DNS server on a loopback address of its own, and a daemon that asks it

    with FakeResolver() as resolver:
        resolver.names["broker.test"] = ["127.0.0.1"]
        with stage(through=resolver.through()):

Answers A and AAAA questions from `names`: a list of addresses, or one of NXDOMAIN, SERVFAIL and
SILENCE; names that are not there do not exist. The daemon sees an /etc/resolv.conf of its own, in a
mount namespace; where that or port 53 is not to be had, the test is skipped.
"""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import tap

NXDOMAIN = 3
SERVFAIL = 2
SILENCE = None

A = 1
AAAA = 28


class FakeResolver:
    def __init__(self):
        self.names = {}
        self.questions = []
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-resolver-"))
        # Any address of 127.0.0.0/8 will do: one that other tests at the same time do not take.
        pid = os.getpid()
        self.host = f"127.53.{pid >> 8 & 255}.{pid & 255 or 1}"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.bind((self.host, 53))
        except OSError as error:
            self._clean_up()
            tap.skip(f"port 53 of {self.host} is not to be had: {error}")
        self.socket.settimeout(0.05)
        self.is_over = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.is_over = True
        self.thread.join()
        self._clean_up()

    def _clean_up(self):
        self.socket.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def through(self):
        """The command through which a daemon is started that asks this resolver."""
        path = self.directory / "resolv.conf"
        path.write_text(f"nameserver {self.host}\n")
        script = f'mount --bind {path} /etc/resolv.conf && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh"]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError) as error:
            tap.skip(f"no mount namespace with an /etc/resolv.conf of its own: {error}")
        return command

    def asked_for(self, name):
        return [question for question in self.questions if question[0] == name]

    def _serve(self):
        while not self.is_over:
            try:
                data, sender = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(data)
            if answer:
                self.socket.sendto(answer, sender)

    def _answer(self, data):
        labels = []
        at = 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        name = ".".join(labels)
        kind = struct.unpack_from(">H", data, at + 1)[0]
        question = data[12 : at + 5]
        self.questions.append((name, kind))
        known = self.names.get(name, NXDOMAIN)
        if known is SILENCE:
            return None
        if isinstance(known, int):
            return data[:2] + struct.pack(">HHHHH", 0x8180 | known, 1, 0, 0, 0) + question
        records = b""
        n = 0
        for address in known:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if kind == (AAAA if ":" in address else A):
                packed = socket.inet_pton(family, address)
                records += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
                n += 1
        return data[:2] + struct.pack(">HHHHH", 0x8180, 1, n, 0, 0) + question + records
