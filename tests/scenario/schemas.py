#!/usr/bin/env python3
"""What remotingctl --json prints of a real daemon is what client/schemas says, field by field"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import schema
from daemon_process import ROOT, binary
from fake_broker import FakeBroker, Held
from remoting import GET_MAX_OFFSET, GET_ROUTEINFO_BY_TOPIC, HEART_BEAT, SEND_MESSAGE
from scenario import stage
from tap import check, equal, main, test, wait_until

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "client/schemas").glob("*.json")}
COMMANDS = {
    "status": ["status"],
    "health": ["health"],
    "errors": ["errors", "--all"],
    "top": ["top", "--count", "1", "--interval", "10ms"],
}
# Of the lines of a drain, which the command line cannot ask for once it has begun.
UNSEEN = {
    "top": {".status.drain.inFlightAtStart", ".status.drain.millisLeft"},
    "status": {".drain.inFlightAtStart", ".drain.millisLeft"},
    "stats": {".drain.inFlightAtStart", ".drain.millisLeft"},
}
HEARTBEAT = {
    "clientID": "a",
    "producerDataSet": [{"groupName": "shop"}],
    "consumerDataSet": [
        {
            "groupName": "billing",
            "consumeType": "CONSUME_PASSIVELY",
            "messageModel": "CLUSTERING",
            "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
            "subscriptionDataSet": [],
            "unitMode": False,
        }
    ],
}


def command_line(*arguments):
    return [binary("REMOTINGCTL", "build-test/client/remotingctl"), *arguments, "--json"]


def lines(daemon, *arguments):
    done = subprocess.run(
        [*command_line(*arguments), "--socket", daemon.socket],
        capture_output=True,
        text=True,
        timeout=30,
    )
    check(done.stdout, f"{arguments} prints something ({done.stderr})")
    return [json.loads(line) for line in done.stdout.splitlines()]


def settings(directory):
    key = pathlib.Path(directory) / "key"
    key.write_text("a secret that nobody sees")
    key.chmod(0o600)
    return {
        "acl brokers": {"access_key": "me", "secret_key_file": key, "addresses": "10.9.9.9:1"},
        "namespace": {"name": "space"},
        "hooks": {"static_fields": "zone=a"},
    }


def make_history(on, other):
    """Something of everything: groups, routes, a broker that is away, failures, a caller at work."""
    client = on.client()
    on.nameserver.route_to = [on.broker, other]
    equal(client.call(HEART_BEAT, body=json.dumps(HEARTBEAT).encode()).code, 0, "a heartbeat")
    equal(client.call(SEND_MESSAGE, {"topic": "orders"}, b"x").code, 0, "a send")
    client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "orders"})
    other.refuse()
    on.call(client, "x", {"sidecar.addr": other.address, "sidecar.timeoutMillis": "200"})
    held = Held()
    on.broker.on(GET_MAX_OFFSET, held)
    on.ask(client, "held", {"sidecar.timeoutMillis": "60000"})
    held.wait_for(1)
    return client


@test
def every_output_is_as_its_schema_says_and_every_field_was_seen():
    with tempfile.TemporaryDirectory() as directory, FakeBroker("broker-b") as other:
        with stage(settings(directory)) as on:
            make_history(on, other)
            for name, described in sorted(SCHEMAS.items()):
                if name in ("events", "explain", "tap"):
                    continue
                seen = set()
                for line in lines(on.daemon, *COMMANDS.get(name, ["show", name])):
                    text = json.dumps(line)
                    check("a secret that nobody sees" not in text, f"{name} shows no secret")
                    seen |= schema.check(line, described, name)
                seen = {path.removeprefix(name) for path in seen}
                missing = schema.paths(described) - seen - UNSEEN.get(name, set())
                missing = {path for path in missing if ".additional" not in path}
                equal(missing, set(), f"fields of {name} that no output has shown")


@test
def events_are_as_their_schema_says():
    with stage() as on:
        with subprocess.Popen(
            [*command_line("events", "--follow"), "--socket", on.daemon.socket],
            stdout=subprocess.PIPE,
            text=True,
        ) as following:
            operator = on.client()
            subscribed = lambda: any(  # noqa: E731
                row["pid"] == following.pid and row["requests"] > 0
                for row in operator.call(30014).json()["sessions"]
            )
            wait_until(subscribed, 10, "it listens")
            on.call(operator, "x")
            operator.call(11, {"topic": "a"})
            seen, kinds = set(), set()
            while not {"CONNECTED", "FAILURE"} <= kinds:
                line = json.loads(following.stdout.readline())
                kinds.add(line["event"])
                seen |= schema.check(line, SCHEMAS["events"], "")
            following.send_signal(signal.SIGINT)
        equal(schema.paths(SCHEMAS["events"]) - seen, set(), "fields that no event has shown")


@test
def a_drain_is_as_the_schema_says():
    with stage() as on:
        client, operator = on.client(), on.client()
        held = Held()
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held", {"sidecar.timeoutMillis": "20000"})
        connection, request = held.wait_for(1)[0]
        equal(operator.call(30012).code, 0, "a first answer")
        on.daemon.terminate()
        draining = lambda: operator.call(30012).json()["drain"]["state"] == "DRAINING"  # noqa: E731
        wait_until(draining, 10, "the drain")
        for name, code in {"status": 30024, "stats": 30012}.items():
            seen = schema.check(operator.call(code).json(), SCHEMAS[name], "")
            check(UNSEEN[name] <= seen, f"{name} shows how the drain goes")
        connection.echo(request)
        client.receive(opaque)
        equal(on.daemon.wait(), 0, "the exit code")


@test
def every_view_has_a_schema_and_every_schema_a_view():
    help_text = subprocess.run(
        [binary("REMOTINGCTL", "build-test/client/remotingctl"), "show", "nothing"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ},
    ).stderr
    named = help_text.split("cannot be shown: ")[1].split(". See")[0].split(", ")
    others = {"status", "health", "events", "errors", "top", "explain", "tap"}
    equal(set(named) | others, set(SCHEMAS), "the names of the schemas")


main()
