#!/usr/bin/env python3
"""What an operator does while the daemon runs: look back, watch, make connections anew, end callers"""

import json
import os
import pathlib
import pty
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import binary
from fake_broker import Held
from other_user import OtherUser, needs_root
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, main, test, wait_until

GET_ROUTES, GET_SESSIONS, GET_CONFIG, KILL_SESSION = 30013, 30014, 30017, 30018
SET_LOG_LEVEL, RECONNECT, GET_GROUPS, GET_EVENTS = 30019, 30020, 30021, 30027
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def remotingctl(daemon, *arguments):
    return subprocess.run(
        [binary("REMOTINGCTL", "build-test/client/remotingctl"), *arguments, "--socket", daemon.socket],
        capture_output=True,
        text=True,
        timeout=30,
    )


def on_terminal(daemon, *arguments, **environment):
    """What the command writes where its standard output is a terminal."""
    leader, follower = pty.openpty()
    command = [binary("REMOTINGCTL", "build-test/client/remotingctl"), *arguments]
    clean = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [*command, "--socket", daemon.socket], stdout=follower, env={**clean, **environment}
    ) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        process.wait(30)
    os.close(leader)
    return text.decode()


def kept(client, **ext):
    """[(event, subject, cause)] of what the daemon has kept."""
    rows = client.call(GET_EVENTS, ext).json()["events"]
    return [(row["event"], row["subject"], row["cause"] or "") for row in rows]


@test
def what_went_wrong_is_kept_with_its_cause_for_who_comes_later():
    with stage() as on:
        client = on.client()
        on.broker.serve = lambda connection: connection.send_bytes(HTTP)
        on.call(client, "x", {"sidecar.timeoutMillis": "500"})
        done = remotingctl(on.daemon, "errors")
        equal(done.returncode, 0, f"the exit code ({done.stderr})")
        contains(done.stdout, "EXCEPTION", "errors")
        contains(done.stdout, "no frame", "the cause")
        contains(done.stdout, "FAILURE", "what the caller was told")
        check("CONNECTED " not in done.stdout, "what is no error is not among them")
        contains(remotingctl(on.daemon, "errors", "--all").stdout, "CONNECTED ", "all events")


@test
def an_address_out_of_use_and_back_is_two_events():
    with stage() as on:
        client = on.client()
        on.broker.refuse()
        equal(on.call(client, "x", {"sidecar.timeoutMillis": "300"}).error, "unreachable", "away")
        on.broker.listen()
        wait_until(lambda: on.call(client, "y").code == 0, 20, "it is back")
        kinds = [row[0] for row in kept(client) if row[1] == on.broker.address]
        equal(kinds.count("OUT_OF_USE"), 1, f"times that it was out of use ({kinds})")
        equal(kinds.count("IN_USE"), 1, f"times that it came back ({kinds})")


@test
def a_request_id_leads_from_the_failure_to_the_log_and_the_events():
    with stage() as on:
        client = on.client()
        answer = client.call(GET_MAX_OFFSET, {"sidecar.addr": "nowhere"})
        number = answer.ext["sidecar.requestId"]
        contains(on.daemon.log(), f"request={number} ", "the log")
        causes = [row[2] for row in kept(client, errors="true")]
        check(any(cause.startswith(f"request={number} ") for cause in causes), f"{causes}")


@test
def more_failures_than_are_kept_are_counted():
    with stage() as on:
        client = on.client()
        client.gather([client.send(GET_MAX_OFFSET, {"sidecar.addr": "nowhere"}) for _ in range(300)])
        body = client.call(GET_EVENTS).json()
        n_kept = sum(row["event"] == "FAILURE" for row in body["events"])
        equal(n_kept + body["leftOut"], 300, "failures that are kept or counted")
        check(body["leftOut"] > 0, "some were left out")
        contains(remotingctl(on.daemon, "errors").stdout, "more events are not kept", "the last line")


@test
def reconnect_makes_connections_anew_and_drains_the_old_ones():
    with stage() as on:
        client = on.client()
        held = Held()
        is_own(on.call(client, "x"), "x")
        before = set(on.daemon.upstreams_to(on.broker.address))
        on.broker.on(GET_MAX_OFFSET, held)
        opaque = on.ask(client, "held")
        connection, request = held.wait_for(1)[0]
        done = remotingctl(on.daemon, "reconnect", on.broker.address)
        equal(done.stdout, f"{on.broker.address}  1\n", f"what is told ({done.stderr})")
        new = lambda: set(on.daemon.upstreams_to(on.broker.address)) - before  # noqa: E731
        wait_until(new, 10, "another connection, without anybody asking for it")
        connection.echo(request)
        is_own(client.receive(opaque), "held")


@test
def reconnect_tries_an_address_out_of_its_backoff():
    with stage({"backoff": {"initial": "10ms", "max": "1h", "max_wanted": "1h"}}) as on:
        client = on.client()
        on.broker.refuse()
        for n in range(12):
            on.call(client, n, {"sidecar.timeoutMillis": "100"})
        on.broker.listen()
        equal(remotingctl(on.daemon, "reconnect").returncode, 0, "the exit code")
        wait_until(lambda: on.daemon.upstreams_to(on.broker.address), 10, "a connection")
        is_own(on.call(client, "y"), "y")


@test
def kill_session_ends_one_caller_and_no_other():
    with stage() as on:
        client, other = on.client(), on.client()
        is_own(on.call(client, "x"), "x")
        is_own(on.call(other, "y"), "y")
        rows = client.call(GET_SESSIONS).json()["sessions"]
        own = next(row["session"] for row in rows if row["isAsking"])
        done = remotingctl(on.daemon, "kill-session", str(own))
        equal(done.returncode, 0, f"the exit code ({done.stderr})")
        contains(done.stdout, f"session={own} ", "who was ended")
        client.wait_for_end()
        is_own(on.call(other, "z"), "z")
        contains(on.daemon.log(), "reason=killed", "the log")
        equal(remotingctl(on.daemon, "kill-session", "99999").returncode, 3, "one that is not there")


@test
def the_level_of_the_log_changes_at_once():
    with stage({"log": {"level": "info"}}) as on:
        check("level=debug" not in on.daemon.log(), "debug is not logged")
        equal(remotingctl(on.daemon, "log-level", "debug").stdout, "debug (was info)\n", "the levels")
        on.client().call(30012)
        wait_until(lambda: "level=debug" in on.daemon.log(), 10, "debug is logged")
        done = remotingctl(on.daemon, "log-level", "loud")
        equal(done.returncode, 3, "a level that is none")
        contains(done.stderr, "error, warning, info or debug", "what would be accepted")


@test
def routes_tell_queues_that_cannot_be_reached():
    with stage() as on:
        client = on.client()
        equal(client.call(SEND_MESSAGE, {"topic": "orders"}, b"x").code, 0, "a send")
        row = client.call(GET_ROUTES).json()["routes"][0]
        equal((row["topic"], row["writeQueues"], row["reachableQueues"]), ("orders", 4, 4), "the row")
        on.broker.refuse()
        client.call(SEND_MESSAGE, {"topic": "orders", "sidecar.timeoutMillis": "300"}, b"x")
        equal(client.call(GET_ROUTES).json()["routes"][0]["reachableQueues"], 0, "reachable queues")


@test
def who_is_no_operator_sees_what_is_its_own_and_steers_nothing():
    needs_root()
    settings = {
        "role web": {"users": "*", "send": "orders", "consume": "orders"},
        "listener": {"socket_mode": "0666"},
        "role operators": {"users": "root", "admin": "yes"},
    }
    # The first role that names a caller counts: root is named first.
    settings = {key: settings[key] for key in ("listener", "role operators", "role web")}
    with stage(settings) as on:
        operator = on.client()
        os.chmod(on.daemon.directory, 0o755)
        with OtherUser(on.daemon.socket) as web:
            web.call(SEND_MESSAGE, {"topic": "orders"}, b"x")
            for code in (GET_CONFIG, KILL_SESSION, SET_LOG_LEVEL, RECONNECT):
                is_failure(web.call(code), "forbidden", 16, "no", f"the answer to {code}")
            kinds = {row[0] for row in kept(web)}
            check("FAILURE" not in kinds, f"what others were told is not shown ({kinds})")
            equal([row["topic"] for row in web.call(GET_ROUTES).json()["routes"]], ["orders"], "routes")
            equal(web.call(GET_GROUPS).json()["producers"], [], "groups")
        check("FAILURE" in {row[0] for row in kept(operator)}, "an operator sees them")


@test
def top_shows_rates_and_addresses():
    with stage() as on:
        client = on.client()
        is_own(on.call(client, "x"), "x")
        done = remotingctl(on.daemon, "top", "--count", "2", "--interval", "50ms")
        equal(done.returncode, 0, f"the exit code ({done.stderr})")
        equal(done.stdout.count("remotingd: healthy"), 2, "pictures")
        contains(done.stdout, on.broker.address, "the broker")
        check("\x1b" not in done.stdout, "what is piped moves no cursor")
        json_line = remotingctl(on.daemon, "top", "--count", "1", "--interval", "50ms", "--json")
        check(json.loads(json_line.stdout)["requestsPerSecond"] >= 0, "the same for programs")


@test
def colour_is_for_terminals_and_not_with_no_color():
    with stage() as on:
        contains(on_terminal(on.daemon, "health"), "\x1b[32mhealthy", "health on a terminal")
        check("\x1b" not in on_terminal(on.daemon, "health", NO_COLOR="1"), "with NO_COLOR")
        check("\x1b" not in remotingctl(on.daemon, "health").stdout, "piped")


main()
