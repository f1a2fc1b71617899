#!/usr/bin/env python3
"""With send.stamp_sender every message says which user and unit sent it, and no caller can say so itself"""

import json
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from other_user import ANOTHER_USER, OtherUser, needs_root
from remoting import SEND_MESSAGE, SEND_MESSAGE_V2
from scenario import TOPIC, is_failure, stage
from tap import contains, equal, main, test

SEND_BATCH_MESSAGE = 320
STAMPED = {"send": {"stamp_sender": "yes"}}
NAMES = ("SENDER_UID", "SENDER_UNIT")


def properties(text):
    pairs = [pair.split("\x01", 1) for pair in text.split("\x02") if pair]
    equal(len(pairs), len(dict(pairs)), f"no property stands twice in {pairs}")
    return dict(pairs)


def own_batch(*rows):
    """RocketMQ's own batch body of (body, properties as text)."""
    body = b""
    for text, written in rows:
        size = 22 + len(text) + len(written)
        body += struct.pack(">5i", size, 0, 0, 0, len(text)) + text + struct.pack(">h", len(written)) + written
    return body


def batch_rows(body):
    rows = []
    at = 0
    while at < len(body):
        size, _magic, _crc, _flag, n = struct.unpack_from(">5i", body, at)
        (n_properties,) = struct.unpack_from(">h", body, at + 20 + n)
        equal(size, 22 + n + n_properties, "totalSize")
        rows.append((body[at + 20:at + 20 + n], properties(body[at + 22 + n:at + size].decode())))
        at += size
    return rows


def stamp_of(written):
    return {name: value for name, value in written.items() if name in NAMES}


def sent(on, code, ext, body=b"x"):
    """What the broker gets."""
    answer = on.client().call(code, {"topic" if code == SEND_MESSAGE else "b": TOPIC, **ext}, body)
    equal((answer.code, answer.error), (0, None), f"the answer ({answer.remark})")
    return on.broker.seen(code)[-1]


def own_stamp(on):
    row = on.client().call(30014).json()["sessions"][-1]
    stamp = {"SENDER_UID": str(os.getuid())}
    return {**stamp, "SENDER_UNIT": row["unit"]} if row["unit"] else stamp


@test
def a_message_says_who_sent_it():
    with stage(STAMPED) as on:
        stamp = own_stamp(on)
        for code, name in ((SEND_MESSAGE, "properties"), (SEND_MESSAGE_V2, "i")):
            written = properties(sent(on, code, {"property.KEYS": "k", name: "a\x01b"}).ext[name])
            equal(stamp_of(written), stamp, "the stamp")
            equal((written["KEYS"], written["a"]), ("k", "b"), "the other properties")


@test
def a_oneway_message_does_so_too():
    with stage(STAMPED) as on:
        on.client().send(SEND_MESSAGE, {"topic": TOPIC}, b"x", oneway=True)
        on.broker.wait_for(1, SEND_MESSAGE)
        equal(stamp_of(properties(on.broker.seen(SEND_MESSAGE)[-1].ext["properties"])), own_stamp(on), "the stamp")


@test
def another_user_is_another_sender():
    needs_root()
    with stage({**STAMPED, "listener": {"socket_mode": "0666"}}) as on:
        on.daemon.directory.chmod(0o755)
        with OtherUser(on.daemon.socket) as other:
            equal(other.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").error, None, "the answer")
        written = properties(on.broker.seen(SEND_MESSAGE)[-1].ext["properties"])
        equal(written["SENDER_UID"], str(ANOTHER_USER), "the user")


@test
def so_does_each_message_of_a_batch():
    with stage(STAMPED) as on:
        stamp = own_stamp(on)
        rows = [{"body": "one", "properties": {"KEYS": "k"}}, {"body": "two"}]
        seen = sent(on, SEND_BATCH_MESSAGE, {"sidecar.bodyFormat": "json"}, json.dumps(rows).encode())
        equal([stamp_of(written) for _, written in batch_rows(seen.body)], [stamp, stamp], "of a JSON batch")
        # The end of the last property may be left out.
        body = own_batch((b"one", b"KEYS\x01k"), (b"two", b"a\x01b\x02c\x01d\x02"), (b"three", b""))
        found = batch_rows(sent(on, SEND_BATCH_MESSAGE, {}, body).body)
        wanted = [(b"one", {"KEYS": "k", **stamp}), (b"two", {"a": "b", "c": "d", **stamp}), (b"three", stamp)]
        equal(found, wanted, "of RocketMQ's own batch")


@test
def a_stamp_of_the_callers_own_is_refused_on_every_way():
    with stage(STAMPED) as on:
        client = on.client()
        forged = "a\x01b\x02SENDER_UID\x010"
        for name in NAMES:
            rows = [{"body": "x", "properties": {name: "0"}}]
            for code, ext, body in (
                (SEND_MESSAGE, {"topic": TOPIC, f"property.{name}": "0"}, b"x"),
                (SEND_MESSAGE, {"topic": TOPIC, "properties": f"{name}\x010\x02"}, b"x"),
                (SEND_MESSAGE_V2, {"b": TOPIC, "i": f"a\x01b\x02{name}\x010"}, b"x"),
                (SEND_BATCH_MESSAGE, {"b": TOPIC, "sidecar.bodyFormat": "json"}, json.dumps(rows).encode()),
                (SEND_BATCH_MESSAGE, {"b": TOPIC}, own_batch((b"x", b""), (b"y", f"{name}\x010".encode()))),
                (SEND_MESSAGE, {"topic": TOPIC, "properties": forged, "sidecar.addr": on.broker.address}, b"x"),
                (SEND_MESSAGE_V2, {"b": TOPIC, "i": forged, "sidecar.addr": on.broker.address}, b"x"),
                (SEND_BATCH_MESSAGE, {"b": TOPIC, "sidecar.addr": on.broker.address},
                 own_batch((b"y", f"{name}\x010".encode()))),
            ):
                answer = client.call(code, ext, body)
                is_failure(answer, "invalid", 13, "no", f"{code} with {ext}")
                contains(answer.remark, "send.stamp_sender", "the remark")
        equal(on.broker.seen(SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE), [], "what the broker has seen")


@test
def a_batch_whose_properties_have_no_room_for_it_is_refused():
    with stage(STAMPED) as on:
        body = own_batch((b"x", b"a\x01" + b"b" * 32764))
        answer = on.client().call(SEND_BATCH_MESSAGE, {"b": TOPIC}, body)
        is_failure(answer, "invalid", 13, "no", "the answer")
        contains(answer.remark, "more than", "the remark")


@test
def messages_are_not_stamped_but_where_the_setting_says_so():
    with stage() as on:
        equal(stamp_of(properties(sent(on, SEND_MESSAGE, {}).ext["properties"])), {}, "the stamp")
        seen = sent(on, SEND_MESSAGE, {"property.SENDER_UID": "mine"})
        equal(stamp_of(properties(seen.ext["properties"])), {"SENDER_UID": "mine"}, "a property like any other")
        body = own_batch((b"x", b"SENDER_UNIT\x01mine"))
        equal(sent(on, SEND_BATCH_MESSAGE, {}, body).body, body, "a batch of one's own")


@test
def a_reload_turns_it_on():
    with stage() as on:
        equal(stamp_of(properties(sent(on, SEND_MESSAGE, {}).ext["properties"])), {}, "before")
        settings = {"send": {"stamp_sender": "yes"}, "upstream": {"allow_addresses": "127.0.0.0/8"}}
        on.daemon.write_config([on.nameserver.address], settings)
        equal(on.client().call(30015).code, 0, "the reload")
        equal(stamp_of(properties(sent(on, SEND_MESSAGE, {}).ext["properties"])), own_stamp(on), "after")


main()
