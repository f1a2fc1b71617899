#!/usr/bin/env python3
"""Who may connect, and what a caller's role lets it do"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import answers
from other_user import ANOTHER_GROUP, ANOTHER_USER, OVERFLOW, OtherUser, needs_root
from remoting import (
    ACK_MESSAGE,
    BATCH_ACK_MESSAGE,
    CLEAR_RPC_HOOKS,
    END_TRANSACTION,
    GET_MAX_OFFSET,
    GET_ROUTEINFO_BY_TOPIC,
    GET_STATS,
    HEART_BEAT,
    LOCK_BATCH_MQ,
    NO_PERMISSION,
    POP_MESSAGE,
    PULL_MESSAGE,
    REGISTER_PROCESSOR,
    SEND_MESSAGE,
    SEND_REPLY_MESSAGE,
    Client,
)
from scenario import TOPIC, is_failure, is_own, stage
from tap import check, contains, equal, less, main, skip, test, wait_until

HELLO = 30000
GET_SESSIONS = 30014
UPDATE_AND_CREATE_TOPIC = 17
SHOP = {
    "users": str(ANOTHER_USER),
    "send": f"{TOPIC};inv-*",
    "producer_groups": "shop",
    "consume": TOPIC,
    "consumer_groups": "billing",
}
EVERYTHING = {"send": "*", "producer_groups": "*", "consume": "*", "consumer_groups": "*"}
ADMIN = {"users": "root", "admin": "yes", **EVERYTHING}
ROLES = {"role shop": SHOP, "role admin": ADMIN}


@contextlib.contextmanager
def roles(settings, **listener):
    """The stage with these sections beside a socket that everybody may open."""
    needs_root()
    with stage({"listener": {"socket_mode": "0666", **listener}, **settings}) as on:
        on.daemon.directory.chmod(0o755)
        yield on


@contextlib.contextmanager
def temporary():
    """A directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="remotingd-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def is_forbidden(answer, *words):
    is_failure(answer, "forbidden", NO_PERMISSION, "no")
    for word in words:
        contains(answer.remark, word, "the remark")


def audits(on):
    return [line for line in on.daemon.log().splitlines() if " audit " in line]


def is_turned_away(client, *words):
    with client:
        is_forbidden(client.call(GET_STATS), *words)
        client.wait_for_end(5)


@test
def a_role_sends_to_its_topics_and_to_no_other_and_is_told_which_setting_would_allow_it():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        on.broker.on(SEND_MESSAGE, answers(0, {"msgId": "M", "queueId": "0", "queueOffset": "0"}))
        on.nameserver.route_to = [on.broker]
        equal(client.call(SEND_MESSAGE, {"topic": TOPIC}, b"x").code, 0, "its own topic")
        equal(client.call(SEND_MESSAGE, {"topic": "inv-7"}, b"x").code, 0, "what begins so")
        n_seen = len(on.broker.seen(SEND_MESSAGE))
        for ext in ({}, {"sidecar.addr": on.broker.address}, {"sidecar.broker": "broker-a"}):
            answer = client.call(SEND_MESSAGE, {"topic": "news", **ext}, b"x")
            is_forbidden(answer, "role shop", "'news'", "[role shop] send")
        answer = client.call(SEND_MESSAGE, {"topic": TOPIC, "producerGroup": "bank"}, b"x")
        is_forbidden(answer, "'bank'", "[role shop] producer_groups")
        equal(len(on.broker.seen(SEND_MESSAGE)), n_seen, "what reached the broker since")
        ext = {"topic": TOPIC, "producerGroup": "shop"}
        equal(client.call(SEND_MESSAGE, ext, b"x").code, 0, "its own producer group")


@test
def a_role_consumes_from_its_topics_as_its_groups_and_by_no_other_road():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        on.broker.on(PULL_MESSAGE, answers(19, {"nextBeginOffset": "0"}))
        queue = {"queueId": "0", "queueOffset": "0", "sidecar.broker": "broker-a"}
        own = {"topic": TOPIC, "consumerGroup": "billing", **queue}
        equal(client.call(PULL_MESSAGE, own).code, 19, "the answer to its own pull")
        is_forbidden(client.call(PULL_MESSAGE, {**own, "topic": "news"}), "[role shop] consume")
        answer = client.call(PULL_MESSAGE, {**own, "consumerGroup": "bank"})
        is_forbidden(answer, "'bank'", "[role shop] consumer_groups")
        is_forbidden(client.call(POP_MESSAGE, {"topic": "news", "consumerGroup": "billing"}))
        receipt = "r1~news~billing~broker-a~0~1~1~1700000000000~60000~0~0"
        is_forbidden(client.call(ACK_MESSAGE, {"sidecar.receipt": receipt}), "'news'")
        classic = {"sidecar.receipt": "c1~news~billing~broker-a~0~0"}
        is_forbidden(client.call(ACK_MESSAGE, classic), "'news'")
        reply = {"sidecar.receipt": "q1~bank~corr-1~client@1~0"}
        is_forbidden(client.call(SEND_REPLY_MESSAGE, reply, b"x"), "'bank_REPLY_TOPIC'")
        answer = client.call(BATCH_ACK_MESSAGE, body=json.dumps([receipt]).encode())
        is_forbidden(answer, "'news'")
        receipt = "t1~Orders~bank~broker-a~0~0~M~T~0"
        ext = {"sidecar.receipt": receipt, "commitOrRollback": "8"}
        is_forbidden(client.call(END_TRANSACTION, ext), "'bank'")
        ext = {"sidecar.receipt": "q1~DefaultCluster~C~client~3000"}
        answer = client.call(SEND_REPLY_MESSAGE, ext, b"x")
        is_forbidden(answer, "'DefaultCluster_REPLY_TOPIC'", "[role shop] send")
        ext = {"topic": "news", "sidecar.receipt": receipt}
        is_forbidden(client.call(GET_MAX_OFFSET, ext), "'news'")
        member = {"clientID": "c", "consumerDataSet": [{"groupName": "bank"}]}
        is_forbidden(client.call(HEART_BEAT, body=json.dumps(member).encode()), "'bank'")
        ext = {"codes": "39", "groups": "bank"}
        is_forbidden(client.call(REGISTER_PROCESSOR, ext), "'bank'")
        body = json.dumps({"consumerGroup": "bank", "clientId": "c", "mqSet": []}).encode()
        is_forbidden(client.call(LOCK_BATCH_MQ, {"sidecar.broker": "broker-a"}, body), "'bank'")
        is_forbidden(client.call(4711, {"sidecar.broker": "broker-a"}), "admin = yes")
        is_forbidden(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": "news"}), "send or consume")
        equal(client.call(GET_ROUTEINFO_BY_TOPIC, {"topic": TOPIC}).code, 0, "its own route")
        equal(len(on.broker.seen(ACK_MESSAGE, HEART_BEAT, END_TRANSACTION, 4711)), 0, "what passed")


@test
def the_commands_of_administrators_need_a_role_that_says_so():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        words = ("the admin role", '"admin = yes" in [role shop]')
        is_forbidden(client.call(CLEAR_RPC_HOOKS), *words)
        ext = {"topic": "new", "sidecar.broker": "broker-a"}
        is_forbidden(client.call(UPDATE_AND_CREATE_TOPIC, ext), *words)
        on.broker.on(UPDATE_AND_CREATE_TOPIC, answers())
        admin = on.client()
        equal(admin.call(CLEAR_RPC_HOOKS).code, 0, "the administrator's answer")
        equal(admin.call(UPDATE_AND_CREATE_TOPIC, ext).code, 0, "the administrator's answer")
        hello = client.call(HELLO).json()
        seen = (hello["roles"], hello["role"], hello["listener"])
        equal(seen, (["user"], "shop", None), "what HELLO says")
        equal(admin.call(HELLO).json()["roles"], ["user", "admin"], "what it says to root")


@test
def once_a_role_names_somebody_nobody_else_gets_in_root_included():
    with roles({"role shop": SHOP}) as on:
        with OtherUser(on.daemon.socket) as client:
            equal(client.call(GET_STATS).code, 0, "the answer to whom the role names")
        is_turned_away(on.client(), "uid 0", "a [role NAME]")
        is_turned_away(OtherUser(on.daemon.socket, uid=4999), "uid 4999")
        equal(len(audits(on)), 2, "lines of the audit")
        contains(audits(on)[0], "pid=%d uid=0 gid=0" % os.getpid(), "the first one")
        contains(audits(on)[1], f"uid=4999 gid={ANOTHER_GROUP}", "the second one")
        contains(audits(on)[1], " connecting error=forbidden cause=", "the second one")
        with OtherUser(on.daemon.socket) as client:
            stats = client.call(GET_STATS).json()
            equal(stats["sessionsForbidden"], 2, "sessions that were turned away")
            equal(stats["requestsForbidden"], 2, "their requests")


@test
def a_group_lets_its_members_in_by_whichever_of_their_groups_it_is():
    role = {"groups": "4800", "send": "*"}
    with roles({"role shop": role}) as on:
        path = on.daemon.socket
        many = list(range(10000, 10300))
        for more in ({"gid": 4800}, {"groups": [4800]}, {"groups": [*many, 4800]}):
            with OtherUser(path, **more) as client:
                equal(client.call(GET_STATS).code, 0, f"the answer to {list(more)}")
        is_turned_away(OtherUser(path, groups=many))


@test
def the_overflow_user_is_let_in_by_no_rule_and_by_a_listeners_role_alone():
    with temporary() as directory:
        path = str(directory / "web" / "remotingd.sock")
        settings = {
            "listener web": {"socket": path, "socket_mode": "0666", "role": "container"},
            "role host": {"users": "*", "groups": str(ANOTHER_GROUP), "send": "*"},
            "role container": {"send": TOPIC},
        }
        with roles(settings) as on:
            with OtherUser(on.daemon.socket, uid=4999, gid=4999) as client:
                equal(client.call(GET_STATS).code, 0, "the answer to a user of the host")
            nobody = OtherUser(on.daemon.socket, uid=OVERFLOW, groups=[ANOTHER_GROUP])
            is_turned_away(nobody, "65534", "a [listener] with a role")
            with OtherUser(path, uid=OVERFLOW, gid=OVERFLOW) as client:
                equal(client.call(HELLO).json()["role"], "container", "its role on its socket")
                answer = client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
                is_forbidden(answer, "[role container] send")
            with Client(path) as client:
                hello = client.call(HELLO).json()
                equal((hello["role"], hello["listener"]), ("container", "web"), "root's role there")
                equal(hello["roles"], ["user"], "root is no administrator there")


@test
def a_role_for_one_listener_leaves_the_others_as_they_were():
    with temporary() as directory:
        path = str(directory / "remotingd.sock")
        settings = {"listener web": {"socket": path, "role": "web"}, "role web": {"send": TOPIC}}
        with roles(settings) as on:
            equal(on.client().call(HELLO).json()["roles"], ["user", "admin"], "root's roles")
            with OtherUser(on.daemon.socket) as client:
                equal(client.call(HELLO).json()["roles"], ["user"], "another user's roles")
                is_own(on.call(client, "any topic"), "any topic")


@test
def a_listeners_role_that_names_users_lets_in_them_alone():
    with roles({"role shop": SHOP}, role="shop") as on:
        with OtherUser(on.daemon.socket) as client:
            equal(client.call(HELLO).json()["role"], "shop", "the role of whom it names")
        is_turned_away(on.client(), "uid 0", "[role shop]")


@test
def a_refusal_leaves_one_line_that_says_who_and_what():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        answer = client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
        is_forbidden(answer)
        equal(len(audits(on)), 1, "lines of the audit")
        line = audits(on)[0]
        request = answer.ext["sidecar.requestId"]
        contains(line, f"level=warning audit request={request} session=", "the line")
        contains(line, f" pid={client.pid} uid={ANOTHER_USER} gid={ANOTHER_GROUP} ", "the line")
        contains(line, " role=shop code=10 name=SEND_MESSAGE error=forbidden sent=no ", "the line")
        contains(line, "'news': [role shop] send would have to name it", "the line")
        client.send(SEND_MESSAGE, {"topic": "news"}, b"x", oneway=True)
        wait_until(lambda: len(audits(on)) == 2, 5, "a line for the oneway one")
        contains(audits(on)[1], f"uid={ANOTHER_USER}", "the second line")
        contains(audits(on)[1], "oneway=1", "the second line")
        equal(client.call(GET_STATS).json()["requestsForbidden"], 2, "requests that were refused")


@test
def a_caller_that_goes_on_trying_does_not_fill_the_log_and_is_counted():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        opaques = [client.send(SEND_MESSAGE, {"topic": "news"}, b"x") for _ in range(500)]
        for answer in client.gather(opaques).values():
            is_forbidden(answer)
        less(len(audits(on)), 101, "lines of the audit")
        equal(client.call(GET_STATS).json()["requestsForbidden"], 500, "requests that were refused")
        row = client.call(GET_SESSIONS).json()["sessions"][0]
        equal(row["forbidden"], 500, "of this session")

        def says_so():
            client.call(SEND_MESSAGE, {"topic": "news"}, b"x")
            return 'of="refusals"' in on.daemon.log()

        wait_until(says_so, 5, "a line with the number of those that were left out")


@test
def those_who_are_turned_away_take_no_ones_place():
    with roles({"role shop": SHOP}, max_sessions="2") as on:
        strangers = [on.client() for _ in range(100)]
        with OtherUser(on.daemon.socket) as one, OtherUser(on.daemon.socket) as two:
            equal((one.call(GET_STATS).code, two.call(GET_STATS).code), (0, 0), "the answers")
            stats = one.call(GET_STATS).json()
            equal(stats["sessionsForbidden"], 100, "those who were turned away")
            less(stats["sessions"], 2 + 64 + 1, "connections that are open")
        is_turned_away(strangers[0])


@test
def sessions_are_shown_to_their_own_users_and_all_of_them_to_administrators():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        admin = on.client()
        equal(admin.call(HELLO).code, 0, "the administrator is there")
        rows = client.call(GET_SESSIONS).json()
        equal([row["uid"] for row in rows["sessions"]], [ANOTHER_USER], "what a user sees")
        equal(rows["next"], None, "there is no more")
        seen = rows["sessions"][0]
        expected = {
            "pid": client.pid,
            "uid": ANOTHER_USER,
            "gid": ANOTHER_GROUP,
            "listener": None,
            "role": "shop",
            "isAdmin": False,
            "isTurnedAway": False,
            "isAsking": True,
            "state": "open",
            "requests": 1,
            "forbidden": 0,
            "inFlight": 1,
            "longPolls": 0,
            "unwritten": 0,
        }
        equal({key: seen[key] for key in expected}, expected, "the row")
        check(0 <= seen["ageMillis"] < 60000, f"its age (saw {seen['ageMillis']})")
        with OtherUser(on.daemon.socket) as second:
            second.call(HELLO)
            own = client.call(GET_SESSIONS).json()["sessions"]
            equal([row["pid"] for row in own], [client.pid, second.pid], "the user's own")
            every = admin.call(GET_SESSIONS).json()["sessions"]
            equal([row["role"] for row in every], ["shop", "admin", "shop"], "all of them")
            equal([row["isAsking"] for row in every], [False, True, False], "who asks")
            answer = admin.call(GET_SESSIONS, {"after": every[0]["session"]})
            later = [row["session"] for row in answer.json()["sessions"]]
            equal(later, [row["session"] for row in every[1:]], "those behind the first")
        is_failure(admin.call(GET_SESSIONS, {"after": "x"}), "invalid", 13, "no", "no session")


@test
def many_sessions_are_told_in_pages():
    with stage() as on:
        clients = [on.client() for _ in range(1003)]
        clients[-1].call(HELLO)
        first = clients[0].call(GET_SESSIONS).json()
        equal(len(first["sessions"]), 1000, "rows of the first answer")
        equal(first["next"], first["sessions"][-1]["session"], "where to go on")
        second = clients[0].call(GET_SESSIONS, {"after": first["next"]}).json()
        equal((len(second["sessions"]), second["next"]), (3, None), "the second answer")


@test
def failures_and_states_name_the_caller():
    with roles(ROLES) as on, OtherUser(on.daemon.socket) as client:
        answer = client.call(
            GET_MAX_OFFSET, {"topic": TOPIC, "queueId": "0", "sidecar.broker": "nobody"}
        )
        is_failure(answer, "no-broker", 10003, "no")
        request = answer.ext["sidecar.requestId"]
        line = next(row for row in on.daemon.log().splitlines() if f"request={request} " in row)
        contains(line, f" pid={client.pid} uid={ANOTHER_USER} gid={ANOTHER_GROUP} ", "the failure")
        contains(line, " role=shop ", "the failure")
        client.send_bytes(b"\0\0\0\2nonsense")
        client.wait_for_end(5)
        line = next(row for row in on.daemon.log().splitlines() if "protocol error" in row)
        contains(line, f" pid={client.pid} uid={ANOTHER_USER} ", "the protocol error")


@test
def the_unit_of_a_caller_is_named_where_it_can_be_seen():
    needs_root()
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line for line in lines if line.startswith("0::") or ":name=systemd:" in line)
    root = pathlib.Path("/sys/fs/cgroup") / ("" if own.startswith("0::") else "systemd")
    group = root / f"remotingd-test-{os.getpid()}.service"
    home = root / own.split(":", 2)[2].lstrip("/") / "cgroup.procs"
    try:
        group.mkdir()
    except OSError as error:
        skip(f"no cgroup can be made here: {error}")
    try:
        with roles(ROLES) as on:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            try:
                client = OtherUser(on.daemon.socket)
            finally:
                home.write_text(str(os.getpid()))
            with client:
                row = client.call(GET_SESSIONS).json()["sessions"][0]
                equal(row["unit"], group.name, "the unit of the session")
                is_forbidden(client.call(SEND_MESSAGE, {"topic": "news"}, b"x"))
                contains(audits(on)[0], f" unit={group.name} ", "the line of the audit")
    finally:
        group.rmdir()


main()
