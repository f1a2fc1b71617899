#!/usr/bin/env python3
"""The HTTP door: where a request begins and ends, what has two readings, and what takes too long"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fake_broker import Held, answers, echo, silence
from http_client import HttpClient, http_stage
from remoting import GET_STATS, NOTIFICATION, POLLING_TIMEOUT, POP_MESSAGE, SEND_MESSAGE
from scenario import TOPIC
from tap import check, contains, equal, less, main, test, wait_until

MESSAGES = f"/v1/topics/{TOPIC}/messages"
START = f"POST {MESSAGES} HTTP/1.1\r\nHost: a\r\n"
# What would be sent if something behind the first request were taken for another one.
SMUGGLED = f"POST {MESSAGES} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsmuggled"
MIB = 1 << 20
BODY_MAX = 4 * MIB
CHUNKED = "Transfer-Encoding: chunked\r\n"


def refused(path, data, status=400, what=None):
    """The one answer to these bytes, behind which the connection ends."""
    with HttpClient(path) as client:
        client.raw(data if isinstance(data, bytes) else data.encode())
        answer = client.answer()
        equal((answer.status, answer.sent), (status, "no"), what or repr(data[:200]))
        equal(answer.fields.get("connection"), "close", f"Connection after {data[:200]!r}")
        check(client.is_ended(), f"nothing follows {data[:200]!r}")
        return answer


def bodies(on):
    return [request.body for request in on.broker.seen(SEND_MESSAGE)]


# --- two readings ---

HEADS = {
    "two lengths": "Content-Length: 2\r\nContent-Length: 5\r\n",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": "Content-Length: 5, 5\r\n",
    "a signed length": "Content-Length: +5\r\n",
    "a negative length": "Content-Length: -5\r\n",
    "a hexadecimal length": "Content-Length: 0x5\r\n",
    "a length with a blank in it": "Content-Length: 1 0\r\n",
    "an empty length": "Content-Length:\r\n",
    "a length beyond 64 bits": "Content-Length: 18446744073709551621\r\n",
    "length and encoding": "Content-Length: 5\r\n" + CHUNKED,
    "encoding and length": CHUNKED + "Content-Length: 5\r\n",
    "two encodings": CHUNKED + CHUNKED,
    "a list of encodings": "Transfer-Encoding: gzip, chunked\r\n",
    "chunked and something": "Transfer-Encoding: chunked, identity\r\n",
    "another encoding": "Transfer-Encoding: identity\r\n",
    "something like an encoding": "Transfer-Encoding: xchunked\r\n",
    "an encoding in quotes": 'Transfer-Encoding: "chunked"\r\n',
    "a tab in front of the encoding's end": "Transfer-Encoding: chunked\x0b\r\n",
    "a blank before the colon": "Content-Length : 5\r\n",
    "a blank before the colon of the encoding": "Transfer-Encoding : chunked\r\n",
    "a tab before the colon": "Content-Length\t: 5\r\n",
    "a folded line": "X-A: b\r\n c: d\r\nContent-Length: 5\r\n",
    "a line folded by a tab": "X-A: b\r\n\tc\r\nContent-Length: 5\r\n",
    "a first line that is folded": " X-A: b\r\nContent-Length: 5\r\n",
    "a bare LF": "X-A: b\nContent-Length: 5\r\n",
    "a bare LF in a value": "X-A: b\n\r\nContent-Length: 5\r\n",
    "a bare CR": "X-A: b\rContent-Length: 5\r\n",
    "a CR in a value": "X-A: b\rc\r\nContent-Length: 5\r\n",
    "two CR": "X-A: b\r\r\nContent-Length: 5\r\n",
    "a zero in a value": "X-A: b\0c\r\nContent-Length: 5\r\n",
    "a zero in a name": "X-\0A: b\r\nContent-Length: 5\r\n",
    "a control character in a name": "X-\x01A: b\r\nContent-Length: 5\r\n",
    "a field without a colon": "Content-Length 5\r\n",
    "a field without a name": ": 5\r\n",
    "a second host": "Host: b\r\nContent-Length: 5\r\n",
    "an upgrade": "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n",
}


@test(deadline=120)
def what_has_two_readings_is_refused_and_the_connection_closed():
    with http_stage() as (on, path):
        for what, head in HEADS.items():
            refused(path, f"{START}{head}\r\nhello{SMUGGLED}", what=what)
        equal(bodies(on), [], "what came to the broker")


CHUNKS = {
    "an LF behind the size": "5\nhello\r\n0\r\n\r\n",
    "an LF behind the data": "5\r\nhello\n0\r\n\r\n",
    "nothing behind the data": "5\r\nhello0\r\n\r\n",
    "an LF in an extension": "5;a=\nb\r\nhello\r\n0\r\n\r\n",
    "a CR in an extension": "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a zero in an extension": "5;a\0b\r\nhello\r\n0\r\n\r\n",
    "an LF at the end": "5\r\nhello\r\n0\n\n",
    "half an end": "5\r\nhello\r\n0\r\n\n",
    "a size with 0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "a signed size": "+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": "-1\r\nhello\r\n0\r\n\r\n",
    "no size": "\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a blank in front of the size": " 5\r\nhello\r\n0\r\n\r\n",
    "a trailer": "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "more data than said": "4\r\nhello\r\n0\r\n\r\n",
}


@test(deadline=120)
def chunks_have_one_reading_too():
    with http_stage() as (on, path):
        for what, chunks in CHUNKS.items():
            refused(path, f"{START}{CHUNKED}\r\n{chunks}{SMUGGLED}", what=what)
        equal(bodies(on), [], "what came to the broker")


@test
def request_lines_that_are_none_are_refused():
    lines = {
        f"POST {MESSAGES} HTTP/1.1\nHost: a\r\n\r\n": 400,
        f"POST {MESSAGES} HTTP/2.0\r\nHost: a\r\n\r\n": 505,
        f"POST {MESSAGES}\r\nHost: a\r\n\r\n": 505,
        f"POST {MESSAGES} HTTP/1.1 x\r\nHost: a\r\n\r\n": 400,
        f"POST {MESSAGES} ICE/1.1\r\nHost: a\r\n\r\n": 400,
        f"POST {MESSAGES} HTTP/1.1\r\n\r\n": 400,
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,
        "\0\0\0\x10\0\0\0\x05{}": 400,
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    }
    with http_stage() as (on, path):
        for line, status in lines.items():
            with HttpClient(path) as client:
                client.raw(line.encode("latin-1"))
                answer = client.answer()
                check(answer.status in (status, 405), f"{answer.status} to {line!r}")
                check(client.is_ended(), f"nothing follows {line!r}")


@test
def a_request_may_be_cut_anywhere():
    whole = f"{START}X-Mq-Tags: t\r\n{CHUNKED}\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n".encode()
    with http_stage() as (on, path), HttpClient(path) as client:
        for cut in range(1, len(whole)):
            client.raw(whole[:cut])
            client.raw(whole[cut:])
            equal(client.answer().status, 200, f"cut at {cut}")
        for at in range(len(whole)):
            client.raw(whole[at : at + 1])
        equal(client.answer().status, 200, "byte by byte")
        seen = on.broker.seen(SEND_MESSAGE)
        equal({request.body for request in seen}, {b"hello"}, "the bodies")
        check(all("TAGS\1t\2" in request.ext["properties"] for request in seen), "the tags")


# --- kept connections ---


@test
def a_connection_is_kept_and_requests_that_come_together_are_answered_in_order():
    with http_stage() as (on, path), HttpClient(path) as client:
        texts = [f"message {n}" for n in range(50)]
        client.raw(
            "".join(f"{START}Content-Length: {len(text)}\r\n\r\n{text}" for text in texts).encode()
        )
        for text in texts:
            equal(client.answer().status, 200, f"the answer to {text!r}")
        equal([body.decode() for body in bodies(on)], texts, "the bodies, in order")


@test
def a_refused_request_that_ended_leaves_the_connection_as_it_was():
    with http_stage() as (on, path), HttpClient(path) as client:
        equal(client.call("GET", "/v1/nothing").status, 404, "the first")
        equal(client.call("GET", "/v1/nothing?x=y").status, 404, "the second")
        equal(client.call("POST", MESSAGES, b"x").status, 200, "a send")


@test
def who_says_close_or_speaks_http_1_0_is_closed():
    with http_stage() as (on, path):
        with HttpClient(path) as client:
            answer = client.call("GET", "/v1/health", fields={"Connection": "close"})
            equal((answer.status, answer.fields["connection"]), (200, "close"), "the answer")
            check(client.is_ended(), "the connection ends")
        with HttpClient(path) as client:
            client.raw(f"POST {MESSAGES} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx".encode())
            equal(client.answer().status, 200, "the answer to HTTP/1.0")
            check(client.is_ended(), "the connection ends")


@test
def a_caller_that_has_shut_its_side_down_gets_its_answer():
    with http_stage() as (on, path), HttpClient(path) as client:
        held = Held()
        on.broker.on(SEND_MESSAGE, held)
        client.request("POST", MESSAGES, b"x")
        client.socket.shutdown(1)
        for connection, request in held.wait_for(1):
            connection.echo(request)
        equal(client.answer().status, 200, "the answer")
        check(client.is_ended(), "the connection ends")


@test
def expect_100_continue_is_answered_before_the_body_comes():
    with http_stage() as (on, path), HttpClient(path) as client:
        client.raw(f"{START}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode())
        equal(client.answer().status, 100, "the first answer")
        client.raw(b"hello")
        equal(client.answer().status, 200, "the second answer")
        client.raw(f"{START}Expect: 100-continue\r\nContent-Length: {5 * MIB}\r\n\r\n".encode())
        equal(client.answer().status, 413, "the answer to what is too large")
        check(client.is_ended(), "the connection ends")
        refused(path, f"{START}Expect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417)


# --- limits ---


@test
def bodies_go_up_to_4_mib_whatever_way_they_come():
    largest = b"m" * BODY_MAX
    with http_stage() as (on, path), HttpClient(path) as client:
        equal(client.call("POST", MESSAGES, largest).status, 200, "4 MiB by their length")
        chunks = b"".join(b"%x\r\n%s\r\n" % (MIB, largest[:MIB]) for _ in range(4))
        client.raw(START.encode() + CHUNKED.encode() + b"\r\n" + chunks + b"0\r\n\r\n")
        equal(client.answer().status, 200, "4 MiB in chunks")
        client.request("POST", MESSAGES, fields={"Content-Length": str(BODY_MAX + 1)})
        answer = client.answer()
        equal((answer.status, answer.sent), (413, "no"), "a byte more is refused before it comes")
        contains(answer.json()["remark"], "4194304", "the remark")


@test
def chunks_that_become_too_much_are_refused_as_they_come():
    with http_stage() as (on, path):
        chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
        data = START.encode() + CHUNKED.encode() + b"\r\n" + 4 * chunk + b"1\r\nx\r\n0\r\n\r\n"
        refused(path, data, 413, "4 MiB and a byte")
        equal(bodies(on), [], "what came to the broker")


@test
def a_caller_that_writes_on_after_it_was_refused_can_read_why():
    """Bytes that were not read would otherwise take the answer with them."""
    with http_stage() as (on, path), HttpClient(path) as client:
        client.request("POST", MESSAGES, fields={"Content-Length": str(8 * MIB)})
        try:
            for _ in range(8):
                client.raw(b"x" * MIB)
        except BrokenPipeError:
            pass
        equal(client.answer().status, 413, "the answer")


@test
def heads_have_a_limit_in_bytes_and_in_fields():
    with http_stage() as (on, path):
        refused(path, f"{START}X-A: {'a' * 20000}\r\n\r\n", 431, "a long value")
        refused(path, f"GET /{'a' * 20000} HTTP/1.1\r\nHost: a\r\n\r\n", 431, "a long path")
        fields = "".join(f"A{n}: b\r\n" for n in range(101))
        refused(path, f"{START}{fields}\r\n", 431, "many fields")
        endless = f"{START}" + "".join(f"{'a' * 900}{n}: b\r\n" for n in range(50))
        refused(path, endless, 431, "a head without an end")


@test
def a_request_that_comes_slowly_is_cut_off():
    settings = {"limits": {"header_timeout": "300ms"}}
    with http_stage(settings=settings) as (on, path):
        parts = [f"{START}Content-Length: 5\r\n\r\nhel", f"{START}{CHUNKED}\r\n5\r\nh"]
        for part in ["POST /v1", START, *parts]:
            with HttpClient(path) as client:
                client.raw(part.encode())
                began = time.monotonic()
                check(client.is_ended(), f"the connection ends after {part!r}")
                check(0.2 < time.monotonic() - began < 5, "it was waited for, no longer")
        with HttpClient(path) as client:
            equal(client.call("POST", MESSAGES, b"x").status, 200, "who is quick")
            equal(client.call("GET", "/v1/nothing").status, 404, "and refused")
            time.sleep(0.5)  # the time under test
            equal(client.call("POST", MESSAGES, b"x").status, 200, "who thinks in between")


@test
def a_connection_that_is_silent_is_closed_after_its_time():
    with http_stage({"idle_timeout": "300ms"}) as (on, path):
        with HttpClient(path) as client:
            check(client.is_ended(), "who never says anything")
        with HttpClient(path) as client:
            equal(client.call("GET", "/v1/health").status, 200, "a request")
            began = time.monotonic()
            check(client.is_ended(), "the connection ends")
            check(0.2 < time.monotonic() - began < 5, "it was waited for, no longer")
        with HttpClient(path) as client:
            on.broker.on(POP_MESSAGE, answers(POLLING_TIMEOUT))
            on.broker.on(NOTIFICATION, silence)
            answer = client.call("POST", f"/v1/topics/{TOPIC}/groups/g/receive?wait=1s")
            equal((answer.status, answer.json()), (200, []), "who waits is not silent")


@test
def an_answer_that_is_not_read_does_not_stay_for_ever():
    settings = {"limits": {"write_timeout": "500ms"}}
    with http_stage({"idle_timeout": "500ms"}, settings) as (on, path):
        on.broker.on(SEND_MESSAGE, echo)
        clients = [HttpClient(path) for _ in range(4)]
        request = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
        for client in clients:
            client.socket.setblocking(False)
            try:
                for _ in range(100000):
                    client.socket.send(request * 50)
            except BlockingIOError:
                pass
        other = on.client()
        wait_until(lambda: other.call(GET_STATS).json()["sessions"] == 1, 15, "they are cut off")
        for client in clients:
            client.close()


@test
def without_memory_a_body_is_refused_and_nothing_else():
    settings = {
        "limits": {
            "total_memory": "3MiB",
            "max_frame": "2MiB",
            "session_buffer": "1MiB",
            "upstream_buffer": "1MiB",
        }
    }
    with http_stage(settings=settings) as (on, path):
        held = [HttpClient(path) for _ in range(3)]
        for client in held:
            client.request("POST", MESSAGES, fields={"Content-Length": str(MIB)})
            client.raw(b"x" * (MIB - 1))
        with HttpClient(path) as client:
            client.request("POST", MESSAGES, fields={"Content-Length": str(3 * MIB)})
            equal(client.answer().status, 413, "larger than limits.max_frame")
        with HttpClient(path) as client:
            equal(client.call("POST", MESSAGES, b"x").status, 200, "a small one")
        statuses = []
        for client in held:
            try:
                client.raw(b"x")
                statuses.append(client.answer().status)
            except BrokenPipeError:
                statuses.append(client.answer().status)
            client.close()
        check(503 in statuses, f"one of them found no memory: {statuses}")
        less(0, len(statuses), "callers answered")


main()
