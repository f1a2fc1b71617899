"""What the stories about TLS share: a CA and a server's certificate, made for them"""

from certificates import Authority
from scenario import stage

VERSIONS = ("1.2", "1.3")

authority = Authority()
server = authority.certificate("127.0.0.1")
client_authority = Authority("Client CA")
ours = client_authority.certificate("remotingd")


def settings(**more):
    return {"tls": {"enable": "yes", "ca_file": authority.file, **more}}


def secured(version=None, **more):
    """A stage behind TLS; the version is the only one that its servers speak."""
    return stage(settings(**more), tls=server.server_context(version=version))
