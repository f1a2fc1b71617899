#!/usr/bin/env python3
"""Metrics: their form, their bounds, who serves them, and that dashboards name none that is not there"""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import ROOT, Daemon
from fake_broker import FakeBroker
from remoting import GET_BROKER_CLUSTER_INFO, GET_ROUTEINFO_BY_TOPIC, RELOAD, SEND_MESSAGE
from scenario import is_own, stage
from tap import check, contains, equal, less, main, skip, test, wait_until

OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"
MOST_SERIES = 300
NAME = r"[a-z][a-z0-9_]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:{NAME}="(?:[^"\\\n]|\\["\\n])*",?)+)\}})? (\S+)')


@contextlib.contextmanager
def served(settings=None, **more):
    """A stage whose metrics are at a Unix socket: (stage, path)."""
    with tempfile.TemporaryDirectory(prefix="metrics-") as directory:
        path = f"{directory}/metrics.sock"
        settings = {**(settings or {}), "metrics": {"listen": path}}
        with stage(settings, **more) as on:
            yield on, path


def connected(where):
    if isinstance(where, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(where)
        return connection
    return socket.create_connection(("127.0.0.1", where), 20)


def exchange(where, request):
    """All that comes back for these bytes."""
    with connected(where) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode()


def get(where, path="/metrics", accept="*/*"):
    """(status, content type, body)"""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
    header, _, body = exchange(where, request.encode()).partition("\r\n\r\n")
    length = re.search(r"(?i)content-length: (\d+)", header)
    equal(int(length[1]), len(body.encode()), "the length of the body")
    return int(header.split()[1]), re.search(r"(?i)content-type: (.*)", header)[1], body


def series(text):
    """{(name, labels): value}; asserts the form of every line, and that families are not mixed."""
    seen, families, family, kind = {}, set(), None, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            check(family not in families, f"{family} stands once")
            check(line.endswith("."), f"a help is a sentence ({line})")
            families.add(family)
        elif line.startswith("# TYPE "):
            equal(line.split()[2], family, "TYPE follows its HELP")
            kind = line.split()[3]
        elif line != "# EOF":
            found = SAMPLE.fullmatch(line)
            check(found, f"'{line}' is a sample")
            name, labels, value = found.groups()
            base = family.removesuffix("_total")
            allowed = {
                "counter": {f"{base}_total"},
                "gauge": {family},
                "histogram": {f"{family}_bucket", f"{family}_sum", f"{family}_count"},
            }[kind]
            check(name in allowed, f"{name} belongs to the {kind} {family}")
            check((name, labels) not in seen, f"{line} stands once")
            seen[name, labels] = float(value)
    return seen


def value(where, name, labels=None):
    return series(get(where)[2])[name, labels]


def brokers(n):
    """Brokers that routes can name, and that nobody has to listen for."""
    return [
        types.SimpleNamespace(name=f"broker-{i}", address=f"127.0.0.1:{i + 1}", n_queues=4)
        for i in range(n)
    ]


@test
def both_forms_are_well_formed_and_say_the_same():
    with served() as (on, path):
        is_own(on.call(on.client(), "x"), "x")
        status, kind, modern = get(path, accept=OPENMETRICS)
        equal(status, 200, "the status")
        contains(kind, "application/openmetrics-text; version=1.0.0", "the content type")
        check(modern.endswith("\n# EOF\n"), "it ends as OpenMetrics wants it")
        status, kind, old = get(path)
        contains(kind, "text/plain; version=0.0.4", "the content type of old scrapers")
        check("# EOF" not in old, "the old form has no end")
        equal(set(series(modern)), set(series(old)), "the series of both")


@test
def promtool_finds_nothing_to_say():
    promtool = shutil.which("promtool")
    if not promtool:
        skip("promtool is not installed")
    with served() as (on, path):
        is_own(on.call(on.client(), "x"), "x")
        for text in (get(path)[2],):
            done = subprocess.run(
                [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
            )
            equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
    done = subprocess.run(
        [promtool, "check", "rules", str(ROOT / "monitoring/alerts.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    equal(done.returncode, 0, f"promtool check rules ({done.stdout}{done.stderr})")


@test
def forty_brokers_stay_below_three_hundred_series_and_more_are_summed_up():
    with served() as (on, path):
        on.nameserver.route_to = brokers(40)
        client = on.client()
        equal(client.call(GET_BROKER_CLUSTER_INFO).code, 0, "the cluster")
        seen = series(get(path)[2])
        less(len(seen), MOST_SERIES + 1, "series with 40 brokers")
        equal(sum(name == "remotingd_broker_up" for name, _ in seen), 40, "brokers with a series")
        on.nameserver.route_to = brokers(1000)
        equal(client.call(GET_BROKER_CLUSTER_INFO).code, 0, "a larger cluster")
        seen = series(get(path)[2])
        less(len(seen), MOST_SERIES + 4, "series with 1000 brokers")
        equal(seen["remotingd_broker_up", 'broker="others"'], 960, "brokers that are summed up")


@test
def requests_and_failures_by_cause_are_counted():
    with served() as (on, path):
        client = on.client()
        is_own(on.call(client, "x"), "x")
        equal(on.call(client, "y", {"sidecar.addr": "nowhere"}).error, "invalid", "a failure")
        on.broker.refuse()
        on.call(client, "z", {"sidecar.timeoutMillis": "200"})
        seen = series(get(path)[2])
        equal(seen["remotingd_requests_total", None], 3, "requests")
        equal(seen["remotingd_failures_total", 'cause="invalid"'], 1, "invalid ones")
        equal(seen["remotingd_failures_total", 'cause="unreachable"'], 1, "unreachable ones")
        equal(seen["remotingd_failures_total", 'cause="timeout"'], 0, "timeouts")
        equal(seen["remotingd_response_seconds_count", 'class="normal"'] >= 1, True, "responses")
        check(seen["remotingd_received_bytes_total", 'side="caller"'] > 100, "bytes of callers")
        check(seen["remotingd_turn_seconds_count", None] > 1, "turns of the loop")


@test
def counters_never_fall_when_connections_close():
    with served() as (on, path):
        client = on.client()
        is_own(on.call(client, "x"), "x")
        before = series(get(path)[2])
        client.close()
        on.broker.close_connections()
        other = on.client()
        is_own(on.call(other, "y"), "y")
        after = series(get(path)[2])
        fallen = [key for key in before if key[0].endswith("_total") and after[key] < before[key]]
        equal(fallen, [], "counters that have fallen")


@test
def readiness_is_the_health():
    with served({"nameserver": {"probe_interval": "100ms"}}) as (on, path):
        equal(get(path, "/readyz")[::2], (200, "healthy\n"), "a daemon that works")
        on.nameserver.refuse()
        asked = on.client().call(GET_ROUTEINFO_BY_TOPIC, {"topic": "x"})
        equal(asked.error, "no-nameserver", "a question for a route")
        wait_until(lambda: get(path, "/readyz")[0] == 503, 10, "down")
        contains(get(path, "/readyz")[2], "down: no nameserver", "why")
        equal(value(path, "remotingd_health_state", 'state="down"'), 1, "the same as a metric")


@test
def a_tcp_address_is_served_and_nothing_but_reading_is():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with stage({"metrics": {"listen": f"127.0.0.1:{port}"}}):
        equal(get(port)[0], 200, "the status")
        equal(get(port, "/")[0], 404, "another path")
        for bad in ("POST /metrics HTTP/1.1\r\n\r\n", "DELETE / HTTP/1.1\r\n\r\n", "\r\n\r\n"):
            contains(exchange(port, bad.encode()), " 405 ", f"the answer to {bad!r}")
        head = exchange(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
        check(head.endswith("\r\n\r\n"), "HEAD has no body")
        contains(exchange(port, b"GET /" + b"x" * (8192 - 5)), " 431 ", "a header without end")


@test
def scrapers_that_stay_are_few_and_cut_off():
    with served() as (on, path):
        idle = [connected(path) for _ in range(8)]
        # All are taken before one more comes.
        wait_until(lambda: on.daemon.files() >= on.daemon.base_files + 8, 10, "eight connections")
        with connected(path) as one_more:
            equal(one_more.recv(1), b"", "what one more is told")
        is_own(on.call(on.client(), "x"), "x")
        equal(idle[0].recv(1), b"", "what an idle one is told in the end")
        for connection in idle:
            connection.close()
        wait_until(lambda: get_or_none(path), 10, "others are served again")


def get_or_none(path):
    try:
        return get(path)[0] == 200
    except (OSError, IndexError, TypeError):
        return False


@test
def a_textfile_is_whole_and_goes_with_the_daemon():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "remotingd.prom"
        with stage({"metrics": {"textfile": str(path)}}):
            check(series(path.read_text()), "the textfile is there from the start")
            equal([entry.name for entry in path.parent.iterdir()], [path.name], "and nothing else")
        check(not path.exists(), "it is gone with the daemon")


def fails_to_start(settings):
    with FakeBroker() as broker:
        daemon = Daemon([broker.address], settings, clean=False)
        done = subprocess.run(
            [daemon.binary, "--config", str(daemon.config_path)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        shutil.rmtree(daemon.directory)
    return done.returncode, done.stderr


@test
def an_address_that_is_taken_or_wrong_is_told_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = fails_to_start({"metrics": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}})
        equal(code, 1, "the exit code")
        contains(said, "[metrics] listen", "the setting")
        contains(said, "another port is needed", "the fix")
    code, said = fails_to_start({"metrics": {"listen": "localhost:9464"}})
    equal(code, 78, "the exit code of a name")
    contains(said, "IP address and port", "what is accepted")
    code, said = fails_to_start({"metrics": {"textfile": "/nowhere/at/all.prom"}})
    equal(code, 1, "the exit code of a textfile that cannot be")
    contains(said, "[metrics] textfile", "the setting")


@test
def a_reload_that_failed_is_a_metric():
    with served() as (on, path):
        name = "remotingd_config_last_reload_successful"
        equal(value(path, name), 1, "before any reload")
        good = on.daemon.config_path.read_text()
        on.daemon.config_path.write_text(good + "\n[nonsense]\nx = y\n")
        client = on.client()
        client.call(RELOAD)
        equal(value(path, name), 0, "after one that failed")
        on.daemon.config_path.write_text(good)
        equal(client.call(RELOAD).code, 0, "a reload of the old file")
        equal(value(path, name), 1, "after one that went well")


@test
def secrets_are_in_no_metric():
    with tempfile.TemporaryDirectory() as directory:
        key = pathlib.Path(directory) / "key"
        key.write_text("a secret that nobody sees")
        key.chmod(0o600)
        with served({"acl brokers": {"access_key": "me", "secret_key_file": key}}) as (on, path):
            is_own(on.call(on.client(), "x"), "x")
            check("a secret that nobody sees" not in get(path)[2], "the secret is in no metric")


@test
def every_metric_of_the_dashboard_and_the_alerts_is_there():
    alerts = (ROOT / "monitoring/alerts.yml").read_text()
    dashboard = json.loads((ROOT / "monitoring/dashboard.json").read_text())
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]
    named = set(re.findall(r"\b(?:remotingd|process)_[a-z_]+\b", alerts + " ".join(expressions)))
    equal(alerts.count("- alert:"), 6, "alerts")
    with served() as (on, path):
        equal(on.client().call(SEND_MESSAGE, {"topic": "orders"}, b"x").code, 0, "a send")
        there = {name for name, _ in series(get(path)[2])}
    equal(named - there, set(), "metrics that are named and are not there")


@test
def the_manual_names_every_metric():
    manual = (ROOT / "OPERATING.md").read_text()
    with served() as (on, path):
        equal(on.client().call(SEND_MESSAGE, {"topic": "orders"}, b"x").code, 0, "a send")
        families = re.findall(r"^# TYPE (\S+) ", get(path)[2], re.MULTILINE)
    equal([name for name in families if f"`{name}`" not in manual], [], "metrics without a word")


main()
