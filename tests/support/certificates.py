"""
Certificates for tests

An Authority is a CA of its own, in a directory that goes with the program; it signs certificates
with keys of their own. All of them are made when they are asked for, and last a day at most:

    authority = Authority()
    broker = authority.certificate("127.0.0.1")
    FakeBroker(tls=broker.server_context())
    settings = {"tls": {"enable": "yes", "ca_file": authority.file}}
"""

import atexit
import dataclasses
import ipaddress
import pathlib
import shutil
import ssl
import subprocess
import tempfile

DAYS = 1


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclasses.dataclass
class Certificate:
    file: pathlib.Path
    key_file: pathlib.Path  # PKCS#8, without a passphrase

    def server_context(self, client_authority=None, version=None):
        """
        With an Authority clients have to show a certificate of it. version: "1.2" or "1.3" only.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        if client_authority:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_authority.file)
        if version:
            only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
            context.minimum_version = context.maximum_version = only
        return context

    def client_context(self, authority):
        """The server's name is not looked at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_cert_chain(self.file, self.key_file)
        context.load_verify_locations(authority.file)
        return context

    def client_settings(self):
        return {"cert_file": self.file, "key_file": self.key_file}


class Authority:
    def __init__(self, name="Test CA"):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="remotingd-ca-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.n_made = 0
        self.file = self.directory / "ca.pem"
        self.key_file = self.directory / "ca.key"
        _openssl(
            *("req", "-x509", *self._new_key(self.key_file), "-out", self.file),
            *("-subj", f"/CN={name}", "-days", DAYS),
        )

    def _new_key(self, path):
        path.touch(0o600)
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path

    def certificate(self, *names, days=DAYS):
        """For these names and addresses. With days=-1 it expired yesterday."""
        self.n_made += 1
        stem = self.directory / f"{self.n_made}"
        file, key_file, request = (stem.with_suffix(end) for end in (".pem", ".key", ".csr"))
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={','.join(map(_alternative, names))}\n")
        _openssl(
            *("req", "-new", *self._new_key(key_file), "-out", request, "-subj", f"/CN={names[0]}"),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key_file),
            *("-days", days, "-extfile", extensions, "-out", file),
        )
        return Certificate(file, key_file)


def _alternative(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"


def with_passphrase(key_file, passphrase):
    """A copy of the key that needs it."""
    path = key_file.with_suffix(".encrypted")
    _openssl("pkey", "-in", key_file, "-aes256", "-passout", f"pass:{passphrase}", "-out", path)
    path.chmod(0o600)
    return path
