#!/usr/bin/env python3
"""Nameservers and brokers behind TLS"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from certificates import Authority
from remoting import SEND_MESSAGE
from scenario import TOPIC, is_own, stage
from tap import check, contains, equal, main, test

authority = Authority()
server = authority.certificate("127.0.0.1")


def settings(**more):
    return {"tls": {"enable": "yes", "ca_file": authority.file, **more}}


@test
def requests_and_answers_go_through_tls_in_both_versions():
    for version in ("1.2", "1.3"):
        with stage(settings(), tls=server.server_context(version=version)) as on:
            client = on.client()
            is_own(on.call(client, version), version)
            answer = client.call(SEND_MESSAGE, {"topic": TOPIC}, b"one")
            equal((answer.code, answer.error), (0, None), f"a send ({answer.remark})")
            contains(on.daemon.log(), f"tls=TLSv{version}", "the log")


main()
