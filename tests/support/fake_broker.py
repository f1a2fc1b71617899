"""
A nameserver and broker for faults that a real one does not produce on demand

FakeBroker listens on a loopback port, knows a route to itself (or to others) for every topic,
records the requests that come and answers each code as it was told. A behaviour is a function
(connection, request) that runs in the connection's reader thread; those below are enough for most
stories:

    broker = FakeBroker()
    broker.on(SEND_MESSAGE, answers(ext={"msgId": "1"}))
    broker.on(POP_MESSAGE, silence)

By default 105 is answered with the route, 106 with the cluster, HEART_BEAT with success, and every
other code with success and an echo of the request (its body, and its ext fields as "echo.NAME"), so
that a caller sees whose answer it was given.
"""

import json
import socket
import struct
import threading
import time

import remoting
import tap
from tls_socket import TlsSocket


class Connection:
    """One accepted connection: sends what it is told, from any thread."""

    def __init__(self, broker, accepted, number):
        self.broker = broker
        self.socket = accepted
        self.number = number
        self.is_open = True
        self.lock = threading.Lock()

    def send_bytes(self, data):
        with self.lock:
            try:
                self.socket.sendall(data)
            except OSError:
                self.is_open = False

    def answer(
        self,
        request,
        code=remoting.SUCCESS,
        ext=None,
        body=b"",
        remark=None,
        serialize=remoting.JSON,
    ):
        self.send_bytes(
            remoting.encode(remoting.response(request, code, ext, body, remark, serialize))
        )

    def echo(self, request, serialize=remoting.JSON):
        self.answer(request, ext=echo_ext(request), body=request.body, serialize=serialize)

    def close(self, reset=False):
        """
        Ends the connection. With reset the peer sees that in place of an end of file: the reader is
        woken and closes the socket, for one that a thread still reads from is not really closed.
        """
        try:
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        except OSError:
            pass
        self.is_open = False


def echo_ext(request):
    return {f"echo.{key}": value for key, value in request.ext.items()}


def silence(connection, request):
    """Never answers."""


def close(connection, request):
    """Closes the connection after the whole request was read."""
    connection.close()


def reset(connection, request):
    connection.close(reset=True)


def echo(connection, request):
    connection.echo(request)


def echo_binary(connection, request):
    connection.echo(request, serialize=remoting.ROCKETMQ)


def answers(code=remoting.SUCCESS, ext=None, body=b"", remark=None, serialize=remoting.JSON):
    def behave(connection, request):
        connection.answer(request, code, ext, body, remark, serialize)

    return behave


def after(seconds, behaviour=echo):
    """The behaviour, that many seconds later; other requests are not delayed."""

    def behave(connection, request):
        timer = threading.Timer(seconds, behaviour, (connection, request))
        timer.daemon = True
        timer.start()

    return behave


def sends(data):
    """These bytes, whatever they are, in place of an answer."""

    def behave(connection, request):
        connection.send_bytes(data)

    return behave


def cut_at(n, then=close):
    """The first n bytes of an echo, and then the other behaviour."""

    def behave(connection, request):
        answer = remoting.response(request, ext=echo_ext(request), body=request.body)
        connection.send_bytes(remoting.encode(answer)[:n])
        then(connection, request)

    return behave


def in_turn(*behaviours):
    """The first request gets the first behaviour and so on; the last one stays."""
    left = list(behaviours)

    def behave(connection, request):
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        behaviour(connection, request)

    return behave


class Held:
    """A behaviour that keeps requests back until the story has them answered."""

    def __init__(self):
        self.waiting = []

    def __call__(self, connection, request):
        self.waiting.append((connection, request))

    def wait_for(self, n, timeout=10.0):
        tap.wait_until(
            lambda: len(self.waiting) >= n,
            timeout,
            f"{n} requests at the broker (saw {len(self.waiting)})",
        )
        return list(self.waiting)


class Valve:
    """What a broker's connections do: nothing is read until it is opened; then as ever."""

    def __init__(self, broker):
        self.opened = threading.Event()
        self.ordinary = broker.serve
        broker.serve = self.serve

    def serve(self, connection):
        self.opened.wait()
        if connection.is_open:
            self.ordinary(connection)


class FakeBroker:
    def __init__(self, name="broker-a", port=0, listening=True, host="127.0.0.1", tls=None):
        """tls: the ssl.SSLContext of a server; without one it speaks plain text."""
        self.name = name
        self.tls = tls
        self.host = host
        self.lock = threading.Lock()
        self.requests = []
        self.connections = []
        self.behaviours = {}
        self.default = echo
        self.no_route = set()
        self.numeric_keys = False
        self.route_to = [self]
        self.n_queues = 4
        # Called with each connection in place of reading requests from it, for stories about bytes.
        self.serve = self._serve
        self.listener = None
        # The port stays this broker's while it refuses connections: it is bound, only nobody
        # listens.
        self.reserved = self._bind(port)
        self.port = self.reserved.getsockname()[1]
        if listening:
            self.listen()

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _bind(self, port):
        bound = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((self.host, port))
        return bound

    def on(self, code, behaviour):
        self.behaviours[code] = behaviour

    def listen(self):
        self.listener = self._bind(self.port)
        self.listener.listen(1024)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def refuse(self):
        """New connections are refused and those there are closed, until listen()."""
        listener, self.listener = self.listener, None
        if listener is not None:
            # close() alone would leave the port listening for as long as the thread sits in
            # accept().
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.close_connections()

    def close_connections(self, reset=False):
        for connection in self.open_connections():
            connection.close(reset)

    def stop(self):
        self.refuse()
        self.reserved.close()

    def open_connections(self):
        return [connection for connection in self.connections if connection.is_open]

    def seen(self, *codes):
        """
        The requests of these codes that came so far; of all codes but routes and clusters when none
        is named.
        """
        with self.lock:
            rows = list(self.requests)
        skipped = (remoting.GET_ROUTEINFO_BY_TOPIC, remoting.GET_BROKER_CLUSTER_INFO)
        return [row for row in rows if (row.code in codes if codes else row.code not in skipped)]

    def wait_for(self, n, *codes, timeout=10.0):
        what = f"{n} requests {codes or ''} at {self.name}"
        tap.wait_until(lambda: len(self.seen(*codes)) >= n, timeout, what)
        return self.seen(*codes)

    def _accept(self, listener):
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                accepted = TlsSocket(accepted, self.tls)
            with self.lock:
                connection = Connection(self, accepted, len(self.connections))
                self.connections.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            connection.is_open = False
            connection.socket.close()

    def _serve(self, connection):
        received = bytearray()
        while connection.is_open:
            data = connection.socket.recv(1 << 16)
            if not data:
                break
            received += data
            while (size := remoting.measure(received)) is not None and len(received) >= size:
                frame = bytes(received[:size])
                del received[:size]
                self._behave(connection, remoting.decode(frame))

    def _behave(self, connection, request):
        request.connection = connection
        request.at = time.monotonic()
        with self.lock:
            self.requests.append(request)
        if request.is_response:
            return
        known = {
            remoting.GET_ROUTEINFO_BY_TOPIC: self._answer_route,
            remoting.GET_BROKER_CLUSTER_INFO: self._answer_cluster,
            remoting.HEART_BEAT: answers(),
        }
        behaviour = self.behaviours.get(request.code) or known.get(request.code) or self.default
        if not request.is_oneway or behaviour is not self.default:
            behaviour(connection, request)

    def _answer_route(self, connection, request):
        topic = request.ext.get("topic")
        if topic in self.no_route or not self.route_to:
            remark = f"No topic route info in name server for the topic: {topic}"
            connection.answer(request, remoting.TOPIC_NOT_EXIST, remark=remark)
            return
        queues = [
            {
                "brokerName": broker.name,
                "perm": 6,
                "readQueueNums": broker.n_queues,
                "writeQueueNums": broker.n_queues,
                "topicSysFlag": 0,
            }
            for broker in self.route_to
        ]
        brokers = [
            {
                "brokerAddrs": {"0": broker.address},
                "brokerName": broker.name,
                "cluster": "fake",
                "enableActingMaster": False,
            }
            for broker in self.route_to
        ]
        route = {"brokerDatas": brokers, "filterServerTable": {}, "queueDatas": queues}
        connection.answer(request, body=self._java(route))

    def _answer_cluster(self, connection, request):
        table = {
            broker.name: {
                "brokerAddrs": {"0": broker.address},
                "brokerName": broker.name,
                "cluster": "fake",
            }
            for broker in self.route_to
        }
        cluster = {"brokerAddrTable": table, "clusterAddrTable": {"fake": sorted(table)}}
        connection.answer(request, body=self._java(cluster))

    def _java(self, value):
        """As fastjson writes it, with numbers as keys without quotes where numeric_keys says so."""
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        return (text.replace('{"0":', "{0:") if self.numeric_keys else text).encode()
