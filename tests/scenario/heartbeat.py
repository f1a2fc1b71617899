#!/usr/bin/env python3
"""Who the daemon is for brokers: control connections, heartbeats, groups that come and go"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import remoting
from fake_broker import FakeBroker, Held, answers, silence
from remoting import (
    GET_BROKER_CLUSTER_INFO,
    GET_STATS,
    HEART_BEAT,
    POLLING_TIMEOUT,
    POP_MESSAGE,
    UNREGISTER_CLIENT,
)
from scenario import is_failure, is_own, stage
from tap import check, contains, equal, less, main, note, test, wait_until


def producers(*groups):
    data = {
        "clientID": "caller@1",
        "producerDataSet": [{"groupName": group} for group in groups],
        "consumerDataSet": [],
    }
    return json.dumps(data).encode()


def consumer(client_id, group, topic="Orders", **more):
    subscription = {"topic": topic, "subString": "*", "subVersion": 1, "expressionType": "TAG"}
    row = {
        "groupName": group,
        "consumeType": "CONSUME_ACTIVELY",
        "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
        "subscriptionDataSet": [subscription],
        "unitMode": False,
    }
    data = {"clientID": client_id, "producerDataSet": [], "consumerDataSet": [row], **more}
    return json.dumps(data).encode()


def groups_of(beat):
    return sorted(row["groupName"] for row in beat.json()["producerDataSet"])


def beats(broker):
    return broker.seen(HEART_BEAT)


def heartbeat(client, body, **ext):
    answer = client.call(HEART_BEAT, ext, body)
    equal((answer.code, answer.error), (0, None), f"the heartbeat's answer ({answer.remark})")
    return answer


def control_connections(broker):
    return [row for row in broker.open_connections() if row in {b.connection for b in beats(broker)}]


@test
def producer_groups_of_all_callers_are_united_under_one_client_on_one_connection():
    with stage() as on:
        first, second = on.client(), on.client()
        answer = heartbeat(first, producers("P1", "P2"))
        equal(answer.ext["sidecar.taken"], "1", "brokers that took it")
        heartbeat(second, producers("P2", "P3"))
        last = beats(on.broker)[-1]
        equal(groups_of(last), ["P1", "P2", "P3"], "the groups of the last heartbeat")
        client_ids = {row.json()["clientID"] for row in beats(on.broker)}
        equal(client_ids, {answer.ext["sidecar.clientId"]}, "the clients that they speak for")
        equal(len({row.connection for row in beats(on.broker)}), 1, "connections they came on")
        equal(last.json()["heartbeatFingerprint"], 0, "the fingerprint: it says everything")


@test
def a_broker_that_takes_heartbeats_and_closes_each_time_is_not_reconnected_to_in_a_loop():
    def take_and_close(connection, request):
        connection.answer(request)
        connection.close()

    with stage() as on:
        on.broker.on(HEART_BEAT, take_and_close)
        began = time.monotonic()
        heartbeat(on.client(), producers("P1"))
        on.broker.wait_for(4, HEART_BEAT)
        check(time.monotonic() - began >= 3, "pauses of one and two seconds lie between them")
        check(len(beats(on.broker)) == 4, f"heartbeats until then ({len(beats(on.broker))})")


@test
def requests_do_not_travel_on_the_control_connection():
    with stage() as on:
        client = on.client()
        heartbeat(client, producers("P1"))
        on.call(client, "mine")
        control = beats(on.broker)[0].connection
        check(
            all(row.connection is not control for row in on.broker.seen(remoting.GET_MAX_OFFSET)),
            "other requests have other connections",
        )


@test
def a_group_leaves_when_its_last_caller_goes():
    with stage() as on:
        first, second = on.client(), on.client()
        heartbeat(first, producers("P1", "Both"))
        heartbeat(second, producers("Both"))
        first.close()
        gone = on.broker.wait_for(1, UNREGISTER_CLIENT)[0]
        equal(gone.ext["producerGroup"], "P1", "the group that is unregistered")
        wait_until(lambda: groups_of(beats(on.broker)[-1]) == ["Both"], 5, "the rest is said anew")
        client_id = beats(on.broker)[-1].json()["clientID"]
        equal(gone.ext["clientID"], client_id, "the client it is unregistered for")
        second.close()
        wait_until(
            lambda: {row.ext["producerGroup"] for row in on.broker.seen(UNREGISTER_CLIENT)}
            == {"P1", "Both"},
            5,
            "the other group is unregistered",
        )
        wait_until(lambda: not control_connections(on.broker), 5, "the control connection closes")


@test
def unregister_client_takes_one_group_out():
    with stage() as on:
        client = on.client()
        heartbeat(client, producers("P1", "P2"))
        answer = client.call(UNREGISTER_CLIENT, {"clientID": "caller@1", "producerGroup": "P1"})
        equal(answer.code, 0, "the answer")
        gone = on.broker.seen(UNREGISTER_CLIENT)
        equal([row.ext["producerGroup"] for row in gone], ["P1"], "groups that were unregistered")
        wait_until(lambda: groups_of(beats(on.broker)[-1]) == ["P2"], 5, "the other one stays")


@test
def a_connection_that_was_lost_is_made_anew_and_the_heartbeat_comes_first():
    with stage() as on:
        client = on.client()
        heartbeat(client, producers("P1"))
        n_connections = len(on.broker.connections)
        on.broker.close_connections()
        wait_until(lambda: len(beats(on.broker)) >= 2, 5, "another heartbeat, without a caller")
        again = beats(on.broker)[-1]
        check(again.connection.number >= n_connections, "it came on a new connection")
        first = next(row for row in on.broker.seen() if row.connection is again.connection)
        equal(first.code, HEART_BEAT, "the first request on it")
        equal(groups_of(again), ["P1"], "its groups")


@test
def a_broker_that_was_away_hears_it_as_soon_as_it_is_back():
    with stage({"backoff": {"max_wanted": "200ms"}}) as on:
        on.broker.refuse()
        client = on.client()
        answer = client.call(HEART_BEAT, {}, producers("P1"))
        is_failure(answer, "unreachable", 10001, what="the heartbeat that no broker heard")
        on.broker.listen()
        wait_until(lambda: beats(on.broker), 5, "the heartbeat, without another call")
        equal(groups_of(beats(on.broker)[0]), ["P1"], "its groups")


@test
def one_broker_that_is_away_hides_no_other():
    with stage({"backoff": {"max_wanted": "200ms"}}) as on, FakeBroker("broker-b") as other:
        on.nameserver.route_to = [on.broker, other]
        other.refuse()
        client = on.client()
        answer = heartbeat(client, producers("P1"))
        equal(
            (answer.ext["sidecar.brokers"], answer.ext["sidecar.taken"]),
            ("2", "1"),
            "brokers, and those of them that took it",
        )
        other.listen()
        wait_until(lambda: beats(other), 5, "the other one hears it when it is back")


@test
def two_members_of_one_group_keep_their_client_ids_and_connections():
    """One leaves, the other stays a member."""
    with stage() as on:
        first, second = on.client(), on.client()
        heartbeat(first, consumer("app@A", "G"))
        heartbeat(second, consumer("app@B", "G"))
        by_client = {row.json()["clientID"]: row.connection for row in beats(on.broker)}
        equal(sorted(by_client), ["app@A", "app@B"], "the members at the broker")
        check(by_client["app@A"] is not by_client["app@B"], "each has its own connection")
        first.close()
        wait_until(lambda: not by_client["app@A"].is_open, 5, "the first one's connection closes")
        check(by_client["app@B"].is_open, "the second one's stays")
        answer = heartbeat(second, consumer("app@B", "G"))
        equal(answer.ext["sidecar.taken"], "1", "brokers that know it")
        equal(on.broker.seen(UNREGISTER_CLIENT), [], "nobody was unregistered")


@test
def a_member_says_what_its_caller_said():
    with stage() as on:
        client = on.client()
        heartbeat(client, consumer("app@A", "G", topic="Orders"))
        heartbeat(client, consumer("app@A", "G2", topic="Bills"))
        rows = beats(on.broker)[-1].json()["consumerDataSet"]
        equal([row["groupName"] for row in rows], ["G", "G2"], "its groups")
        equal(rows[0]["subscriptionDataSet"][0]["topic"], "Orders", "what it said before, too")
        equal(rows[0]["consumeType"], "CONSUME_ACTIVELY", "in its own words")
        short = json.loads(consumer("app@A", "G", heartbeatFingerprint=7, withoutSub=True))
        del short["consumerDataSet"][0]["subscriptionDataSet"]
        heartbeat(client, json.dumps(short).encode())
        rows = beats(on.broker)[-1].json()["consumerDataSet"]
        equal(
            rows[0]["subscriptionDataSet"][0]["topic"],
            "Orders",
            "the subscription that a short heartbeat leaves out",
        )
        answer = client.call(
            UNREGISTER_CLIENT, {"clientID": "app@A", "consumerGroup": "G"}
        )
        equal(answer.code, 0, "the answer to UNREGISTER_CLIENT")
        equal(on.broker.seen(UNREGISTER_CLIENT)[0].ext["consumerGroup"], "G", "what is gone")


@test
def one_connection_is_one_member():
    with stage() as on:
        client = on.client()
        heartbeat(client, consumer("app@A", "G"))
        answer = client.call(HEART_BEAT, {}, consumer("app@B", "G"))
        is_failure(answer, "invalid", 13, what="the heartbeat of another member")
        check("app@A" in answer.remark, "the remark names the member that it is")


@test
def a_refusal_of_the_broker_is_its_own_answer():
    with stage() as on:
        on.broker.on(HEART_BEAT, answers(code=16, remark="not you"))
        answer = on.client().call(HEART_BEAT, {}, producers("P1"))
        equal((answer.code, answer.error), (16, None), "the answer")
        check("not you" in answer.remark, f"its remark ({answer.remark})")


@test
def a_silent_broker_does_not_hold_the_answer_beyond_the_deadline():
    with stage() as on:
        on.broker.on(HEART_BEAT, silence)
        answer = on.client().call(
            HEART_BEAT, {"sidecar.timeoutMillis": 500}, producers("P1")
        )
        is_failure(answer, "timeout", 10002)


@test
def a_group_that_leaves_before_any_broker_is_known_keeps_nobody_waiting():
    with stage() as on:
        held = Held()
        on.nameserver.on(GET_BROKER_CLUSTER_INFO, held)
        client = on.client()
        beat = client.send(HEART_BEAT, {}, producers("P1"))
        (asked,) = held.wait_for(1)
        left = client.send(UNREGISTER_CLIENT, {"clientID": "caller@1", "producerGroup": "P1"})
        is_own(on.call(client, "behind both"), "behind both")
        on.nameserver.on(GET_BROKER_CLUSTER_INFO, None)
        asked[0].answer(asked[1], body=b'{"brokerAddrTable":{},"clusterAddrTable":{}}')
        equal(client.receive(left).code, 0, "the answer to UNREGISTER_CLIENT")
        is_failure(client.receive(beat), "no-broker", 10003, "no")


@test
def what_is_wrong_with_a_heartbeat_is_named():
    with stage() as on:
        client = on.client()
        wrong = {
            b"": "JSON object",
            b"[]": "JSON object",
            b'{"clientID":""}': "clientID",
            b'{"clientID":"a","producerDataSet":{}}': "producerDataSet",
            b'{"clientID":"a","producerDataSet":[{"groupName":"a b"}]}': "groupName",
            b'{"clientID":"a","consumerDataSet":[{}]}': "groupName",
        }
        for body, word in wrong.items():
            answer = client.call(HEART_BEAT, {}, body)
            is_failure(answer, "invalid", 13, what=f"the answer to {body!r}")
            check(word in answer.remark, f"it names {word} ({answer.remark})")
        equal(beats(on.broker), [], "heartbeats at the broker")


@test
def limits_have_names():
    settings = {"limits": {"max_groups": 3, "max_groups_per_session": 2, "max_members": 1}}
    with stage(settings) as on:
        first, second = on.client(), on.client()
        answer = first.call(HEART_BEAT, {}, producers("P1", "P2", "P3"))
        is_failure(answer, "overloaded", 2)
        check("limits.max_groups_per_session" in answer.remark, answer.remark)
        answer = second.call(HEART_BEAT, {}, producers("P3", "P4"))
        is_failure(answer, "overloaded", 2)
        check("limits.max_groups)" in answer.remark, answer.remark)
        heartbeat(first, consumer("app@A", "G"))
        answer = second.call(HEART_BEAT, {}, consumer("app@B", "G"))
        is_failure(answer, "overloaded", 2)
        check("limits.max_members" in answer.remark, answer.remark)


@test
def what_members_say_takes_no_more_memory_than_is_counted():
    """A heartbeat of thousands of small values, which as JSON values are many times their text"""
    with stage(asan_options="quarantine_size_mb=1") as on:
        on.broker.serve = lambda connection: connection.socket.recv(1)  # and hears none of it
        one = {"topic": "T", "subString": "*", "codeSet": list(range(15000))}
        row = {"groupName": "G", "consumeType": "CONSUME_ACTIVELY", "subscriptionDataSet": [one]}
        text = json.dumps({"clientID": "app", "consumerDataSet": [row]}, separators=(",", ":"))
        other = on.client()

        def used():
            return other.call(GET_STATS).json()["memoryUsed"]

        def joins(n):
            client = on.client()
            body = text.replace("app", f"app@{n}").encode()
            client.send(HEART_BEAT, {"sidecar.timeoutMillis": 60000}, body)

        for n in range(5):
            joins(n)
        wait_until(lambda: used() > 5 * len(text), 10, "five members are counted")
        before, resident = used(), on.daemon.resident_bytes()
        for n in range(5, 45):
            joins(n)
        wait_until(lambda: used() > before + 40 * len(text), 20, "forty more are counted")
        grown, counted = on.daemon.resident_bytes() - resident, used() - before
        note(f"{grown >> 10} KiB more, {counted >> 10} KiB of them counted")
        less(grown, 3 * counted, "bytes that they took")


@test
def a_drain_unregisters_all_groups():
    with stage() as on:
        producer, member = on.client(), on.client()
        heartbeat(producer, producers("P1", "P2"))
        heartbeat(member, consumer("app@A", "G"))
        on.daemon.terminate()
        on.daemon.wait()
        gone = on.broker.seen(UNREGISTER_CLIENT)
        equal(
            sorted(row.ext.get("producerGroup") or row.ext["consumerGroup"] for row in gone),
            ["G", "P1", "P2"],
            "the groups that were unregistered",
        )


@test
def a_heartbeat_that_the_end_of_the_daemon_cuts_off_may_have_been_heard():
    with stage() as on:
        on.broker.on(HEART_BEAT, silence)
        client = on.client()
        opaque = client.send(HEART_BEAT, {}, producers("P1"))
        on.broker.wait_for(1, HEART_BEAT)
        on.daemon.terminate()
        wait_until(lambda: on.daemon.refuses(), 5, "the drain begins")
        on.daemon.terminate()
        is_failure(client.receive(opaque), "draining", 2, "maybe")


@test
def control_connections_are_beyond_the_limit_of_the_pool():
    with stage({"pool": {"max_connections": 2, "max_idle": "1s", "cleanup_interval": "100ms"}}) as on:
        client = on.client()
        heartbeat(client, producers("P1"))
        control = beats(on.broker)[0].connection
        on.call(client, "one")
        wait_until(
            lambda: [row for row in on.broker.open_connections()] == [control],
            5,
            "only the control connection is left when nobody uses the others",
        )


@test
def a_pop_for_a_group_that_has_a_classic_member_is_warned_of_and_served():
    with stage() as on:
        on.broker.on(POP_MESSAGE, answers(POLLING_TIMEOUT))
        member, popper = on.client(), on.client()
        equal(member.call(HEART_BEAT, body=consumer("c", "both")).code, 0, "the heartbeat")
        ext = {"topic": "Orders", "pollTime": "0", "sidecar.answerFormat": "json"}
        for group in ("alone", "both", "both"):
            popper.call(POP_MESSAGE, {**ext, "consumerGroup": group})
        lines = [line for line in on.daemon.log().splitlines() if "classic members" in line]
        equal(len(lines), 1, f"warnings: {lines}")
        contains(lines[0], 'group="both"', "the warning")


main()
