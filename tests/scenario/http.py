#!/usr/bin/env python3
"""The HTTP door: what is sent by it, what it refuses, and what it cannot be made to do"""

import contextlib
import json
import os
import pathlib
import socket
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from http_client import HttpClient
from remoting import SEND_MESSAGE
from scenario import TOPIC, stage
from tap import check, contains, equal, main, test

MESSAGES = f"/v1/topics/{TOPIC}/messages"


@contextlib.contextmanager
def http_stage(http=None, **more):
    """The stage with an HTTP socket, and the path of that."""
    settings = {section: dict(keys) for section, keys in more.pop("settings", {}).items()}
    with tempfile.TemporaryDirectory(prefix="remotingd-") as directory:
        os.chmod(directory, 0o755)
        path = str(pathlib.Path(directory) / "http.sock")
        settings["http"] = {"socket": path, **(http or {})}
        with stage(settings, **more) as on:
            yield on, path


@test
def a_message_is_one_line_of_curl_away():
    with http_stage() as (on, path):
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--unix-socket", path, "-d", "hello"]
            + ["-H", "X-Mq-Tags: new", f"http://localhost{MESSAGES}"],
            capture_output=True,
            timeout=20,
        )
        equal((done.returncode, done.stderr), (0, b""), "the exit code of curl")
        seen = on.broker.wait_for(1, SEND_MESSAGE)[0]
        equal(seen.body, b"hello", "the body at the broker")
        contains(seen.ext["properties"], "TAGS\1new\2", "its properties")
        msg_id = json.loads(done.stdout)["msgId"]
        contains(seen.ext["properties"], f"UNIQ_KEY\1{msg_id}\2", "its properties")


main()
