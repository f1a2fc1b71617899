#!/usr/bin/env python3
"""Addresses of IPv6 in numbers: in settings, routes, requests, lists, statistics and the log"""

import json
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from daemon_process import Daemon
from fake_broker import FakeBroker, close
from remoting import GET_MAX_OFFSET, SEND_MESSAGE
from scenario import TOPIC, is_failure
from tap import contains, equal, main, skip, test, wait_until

GET_NAMESRV_LIST, UPDATE_NAMESRV_LIST, IS_ADDRESS_REACHABLE = 30001, 30002, 30004
GET_POOL_STATS = 30006


@test
def everything_works_over_the_loopback_of_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        skip(f"not run: there is no ::1 here ({error})")
    with FakeBroker("nameserver", host="::1") as nameserver:
        with FakeBroker("broker-a", host="::1") as broker:
            nameserver.route_to = [broker]
            settings = {"upstream": {"allow_addresses": "::1/128"}}
            with Daemon([nameserver.address], settings) as daemon:
                client = daemon.client()
                equal(nameserver.address[:6], "[::1]:", "an address as it is written")
                answer = client.call(SEND_MESSAGE, {"topic": TOPIC, "token": "send"}, b"x")
                seen = (answer.code, answer.error, answer.ext.get("echo.token"))
                equal(seen, (0, None, "send"), f"a send by its route ({answer.remark})")
                equal(answer.ext["sidecar.addr"], broker.address, "where it went")
                ext = {"sidecar.addr": broker.address, "token": "addr"}
                equal(client.call(GET_MAX_OFFSET, ext).ext.get("echo.token"), "addr", "by address")
                rows = client.call(GET_POOL_STATS).json()["addresses"]
                addresses = {row["addr"] for row in rows}
                equal({nameserver.address, broker.address} - addresses, set(), "in the statistics")
                ask = {"addr": broker.address}
                equal(client.call(IS_ADDRESS_REACHABLE, ask).json()["reachable"], True, "reachable")
                body = json.dumps([nameserver.address]).encode()
                equal(client.call(UPDATE_NAMESRV_LIST, body=body).code, 0, "a new list")
                told = client.call(GET_NAMESRV_LIST).body.decode()
                contains(told, nameserver.address, "the list")
                broker.on(GET_MAX_OFFSET, close)
                answer = client.call(GET_MAX_OFFSET, ext)
                is_failure(answer, "connection-lost", 10100, "maybe")
                contains(answer.remark, broker.address, "the remark")
                line = f"upstream={broker.address} "
                wait_until(lambda: line in daemon.log(), 5, "the log names it")


main()
