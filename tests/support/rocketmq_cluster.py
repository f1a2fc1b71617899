#!/usr/bin/env python3
"""
A real Apache RocketMQ on this machine

Fetches the jars of one release with Maven into a cache directory, and starts nameservers and
brokers from them, all in one directory, on free loopback ports. "boot success" is not readiness: a
cluster is ready when every nameserver lists every broker and every broker answers. Processes are
tracked in DIR/cluster.json, so that another program can kill one, start it again with its store, or
stop them all; a number that belongs to another process by now is never signalled.

    rocketmq_cluster.py fetch [DIR]              the jars; without DIR into the user's cache
                                                 directory; prints where they are
    rocketmq_cluster.py start DIR [-n N] [-b N]  N nameservers, N brokers; prints the nameservers
    rocketmq_cluster.py topic NAMESERVERS TOPIC  makes a topic on every broker of a running cluster
    rocketmq_cluster.py stop DIR                 stops what start left running; DIR itself stays

ROCKETMQ_VERSION in the environment chooses the release; otherwise it is VERSION.
"""

import argparse
import atexit
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import remoting

VERSION = "5.5.0"
# The last one without POP.
VERSION_WITHOUT_POP = "4.9.7"
START_SECONDS = 90
FETCH_SECONDS = 900

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>remotingd</groupId>
  <artifactId>rocketmq-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-namesrv</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-broker</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"""

# What goes wrong is told on the standard output, which is the log file of the process; the rest is
# not written anywhere.
LOGBACK = """<configuration>
  <appender name="out" class="org.apache.rocketmq.logging.ch.qos.logback.core.ConsoleAppender">
    <encoder
    class="org.apache.rocketmq.logging.ch.qos.logback.classic.encoder.PatternLayoutEncoder">
      <pattern>%d{HH:mm:ss.SSS} %level %logger{0}: %msg%n</pattern>
    </encoder>
  </appender>
  <root level="ERROR"><appender-ref ref="out"/></root>
</configuration>
"""

# RocketMQ 4 has Logback under its own name, and wants a file for each of its programs.
LOGBACK_4 = LOGBACK.replace("org.apache.rocketmq.logging.", "")
LOGBACK_4_FILES = ("conf/logback_namesrv.xml", "conf/logback_broker.xml")

JVM = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    # RocketMQ 4 unmaps files with what Java 9 closed to it.
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
]

# name -> (memory, main class)
ROLES = {
    "nameserver": (
        ["-Xms32m", "-Xmx32m", "-XX:MaxDirectMemorySize=64m"],
        "org.apache.rocketmq.namesrv.NamesrvStartup",
    ),
    "broker": (
        ["-Xms128m", "-Xmx128m", "-XX:MaxDirectMemorySize=1g"],
        "org.apache.rocketmq.broker.BrokerStartup",
    ),
}

# The flush intervals spin a core at their defaults; each thread that stores messages keeps a direct
# buffer of 4 MiB, so that there must not be many; the rest keeps the files of a broker at a few MB.
BROKER_PROPERTIES = """brokerClusterName={cluster}
brokerName={name}
brokerId=0
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
listenPort={port}
haListenPort={ha_port}
namesrvAddr={nameservers}
registerNameServerPeriod=10000
storePathRootDir={store}
storePathCommitLog={store}/commitlog
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
defaultTopicQueueNums=4
mappedFileSizeCommitLog=16777216
mappedFileSizeConsumeQueue=120000
maxIndexNum=10000
maxHashSlotNum=5000
mappedFileSizeTimerLog=1048576
enablePropertyFilter=true
timerWheelEnable=true
recallMessageEnable=true
timerFlushIntervalMs=30000
transactionMetricFlushInterval=100
transactionCheckInterval=5000
endTransactionThreadPoolNums=4
processReplyMessageThreadPoolNums=4
diskMaxUsedSpaceRatio=95
waitTimeMillsInSendQueue=5000
osPageCacheBusyTimeOutMills=5000
"""


# Authentication and authorization as of RocketMQ 5.3 (ACL 2.0). Nameservers ask nobody.
ACL_PROPERTIES = """authenticationEnabled=true
authorizationEnabled=true
authenticationProvider=org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider
authenticationMetadataProvider=\
org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider
authorizationProvider=org.apache.rocketmq.auth.authorization.provider.DefaultAuthorizationProvider
authorizationMetadataProvider=\
org.apache.rocketmq.auth.authorization.provider.LocalAuthorizationMetadataProvider
initAuthenticationUser={{"username":"{name}","password":"{secret}"}}
innerClientAuthenticationCredentials={{"accessKey":"{name}","secretKey":"{secret}"}}
"""

# Every connection is TLS, between the members too, and shows a certificate of the CA. Without test
# mode RocketMQ looks at the files.
TLS_JVM = [
    "-Dtls.server.mode=enforcing",
    "-Dtls.enable=true",
    "-Dtls.test.mode.enable=false",
    "-Dtls.config.file={file}",
]
TLS_PROPERTIES = """tls.server.need.client.auth=require
tls.server.authClient=true
tls.server.certPath={member.file}
tls.server.keyPath={member.key_file}
tls.server.trustCertPath={ca}
tls.client.authServer=true
tls.client.certPath={member.file}
tls.client.keyPath={member.key_file}
tls.client.trustCertPath={ca}
"""


class ClusterError(Exception):
    """Something did not start or was not fetched; the text says what, with the end of the log."""


def chosen_version():
    return os.environ.get("ROCKETMQ_VERSION") or VERSION


def cache_directory(version=None):
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "remotingd" / f"rocketmq-{version or chosen_version()}"


def tail(path, n_lines=25):
    try:
        lines = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(f"    {line}" for line in lines[-n_lines:]) or "    (the log is empty)"


def fetch(directory=None, version=None):
    """
    The directory with the jars of the version, or of the chosen one. It is complete or absent:
    Maven fills a directory of its own beside it, which takes the name when all is there. Whoever
    comes second waits for the first.
    """
    version = version or chosen_version()
    directory = pathlib.Path(directory or cache_directory(version))
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.parent / f".{directory.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            _fetch_locked(directory, version)
    return directory


def _fetch_locked(directory, version):
    for left_over in directory.parent.glob(f".{directory.name}.part-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    part = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}.part-", dir=directory.parent))
    try:
        (part / "pom.xml").write_text(POM.format(version=version))
        log = part / "maven.log"
        command = [
            "mvn",
            "-B",
            "-ntp",
            "-f",
            str(part / "pom.xml"),
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={part / 'jars'}",
        ]
        with open(log, "w") as output:
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError as error:
                raise ClusterError(f"Maven (mvn) could not be run: {error}") from error
            try:
                code = child.wait(FETCH_SECONDS)
            except subprocess.TimeoutExpired:
                code = f"no end within {FETCH_SECONDS} s"
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        if code != 0 or not list((part / "jars").glob("rocketmq-broker-*.jar")):
            raise ClusterError(
                f"Maven did not bring RocketMQ {version} (exit code {code}). Its log:\n{tail(log)}"
            )
        (part / "jars").rename(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(taken, around=(0,)):
    """
    A port with free neighbours at these distances. Below the ports that the kernel hands out for
    outgoing connections, so that none of those takes it before the server is up.
    """
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        ports = {port + distance for distance in around}
        if not ports & taken and all(_is_free(candidate) for candidate in ports):
            taken |= ports
            return port
    raise ClusterError("no free ports between 15000 and 32000 on 127.0.0.1")


def _process_start(pid):
    """
    When the process was started, in the kernel's ticks; None when there is no such process (or only
    its remains).
    """
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Cluster:
    """
    N nameservers and N brokers in a directory. Members are called nameserver-a, nameserver-b, ...,
    broker-a, ...; these are also RocketMQ's broker names. start() returns when all is ready; the
    end of the program stops what it started, unless keep_running() was called.
    """

    def __init__(
        self,
        n_nameservers=1,
        n_brokers=1,
        directory=None,
        admin=None,
        authority=None,
        version=None,
    ):
        """
        admin: (name, secret) of the user that may do everything; then brokers check who asks.
        authority (certificates.py): then all speak TLS, and to those only that it knows.
        """
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="rocketmq-")).resolve()
        self.owns_directory = directory is None
        self.cluster = f"cluster-{os.getpid()}-{random.randrange(1 << 30):08x}"
        self.names = [f"nameserver-{chr(97 + i)}" for i in range(n_nameservers)]
        self.names += [f"broker-{chr(97 + i)}" for i in range(n_brokers)]
        self.ports = {}
        self.processes = {}
        self.children = {}
        self.version = version or chosen_version()
        self.admin = admin
        self.authority = authority
        self.member = authority and authority.certificate("127.0.0.1", "localhost")

    @classmethod
    def attach(cls, directory):
        """
        The cluster that another program started in this directory. This program's end does not stop
        it.
        """
        state = json.loads((pathlib.Path(directory) / "cluster.json").read_text())
        cluster = cls(0, 0, directory)
        cluster.cluster = state["cluster"]
        cluster.names = list(state["ports"])
        cluster.ports = state["ports"]
        cluster.version = state["version"]
        cluster.processes = {name: tuple(row) for name, row in state["processes"].items()}
        return cluster

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def nameservers(self):
        return [self.address(name) for name in self.names if name.startswith("nameserver-")]

    def brokers(self):
        return {name: self.address(name) for name in self.names if name.startswith("broker-")}

    def start(self):
        atexit.register(self.stop)
        for attempt in range(3):
            try:
                self._start_all()
                return self
            except ClusterError:
                # A port that was free a moment ago may be another's now; anything else fails again
                # in the same words.
                self._kill_all()
                if attempt == 2:
                    raise
                for name in self.names:
                    shutil.rmtree(self.directory / name, ignore_errors=True)

    def keep_running(self):
        atexit.unregister(self.stop)

    def kill(self, name):
        """SIGKILL; its store stays."""
        self._signal(name, signal.SIGKILL)
        self._wait_for_death(name)

    def terminate(self, name):
        """Asks it to stop by SIGTERM; it takes its time."""
        self._signal(name, signal.SIGTERM)

    def start_again(self, name):
        """
        Starts a member that was killed, on its port and with its store, and returns when all that
        live are ready.
        """
        self._spawn(name)
        self.wait_until_ready()

    def spawn_again(self, name):
        """start_again() that does not wait."""
        self._spawn(name)

    def is_running(self, name):
        child = self.children.get(name)
        if child is not None:
            child.poll()
        pid, started = self.processes.get(name, (0, None))
        return started is not None and _process_start(pid) == started

    def stop(self):
        """
        Kills every member, by number, and removes the directory where it was this object's own.
        """
        atexit.unregister(self.stop)
        self._kill_all()
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def create_topic(self, topic, n_queues=4):
        create_topic(self.nameservers(), topic, n_queues, list(self.brokers().values()))

    def wait_until_ready(self, timeout=START_SECONDS):
        """
        Until every running nameserver lists every running broker at its address, and that answers.
        """
        end = time.monotonic() + timeout
        nudge_at = time.monotonic() + 1.5
        while True:
            missing = self._missing()
            if missing is None:
                return
            gone = [
                name for name in self.names if name in self.processes and not self.is_running(name)
            ]
            if gone:
                raise ClusterError(
                    f"{gone[0]} ended by itself; its last words:\n{tail(self.log(gone[0]))}"
                )
            if time.monotonic() > end:
                name, why = missing
                raise ClusterError(
                    f"not ready within {timeout} s: {why}. Its log:\n{tail(self.log(name))}"
                )
            if time.monotonic() > nudge_at:
                # The first registration can miss a nameserver, and the next would be ten seconds
                # later.
                nudge_at = time.monotonic() + 1.5
                for name in self.brokers():
                    _ask(
                        self.address(name),
                        remoting.UPDATE_BROKER_CONFIG,
                        body=b"brokerPermission=6\n",
                        tls=self._client_tls(),
                    )
            time.sleep(0.03)

    def _client_tls(self):
        return self.member and self.member.client_context(self.authority)

    def log(self, name):
        return self.directory / name / "log"

    def _start_all(self):
        taken = set()
        for name in self.names:
            around = (-2, 0, 1) if name.startswith("broker-") else (0,)
            self.ports[name] = _free_port(taken, around)
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "logback.xml").write_text(LOGBACK)
        if self.authority:
            text = TLS_PROPERTIES.format(member=self.member, ca=self.authority.file)
            (self.directory / "tls.properties").write_text(text)
        (self.directory / "conf").mkdir(exist_ok=True)
        for path in LOGBACK_4_FILES:
            (self.directory / path).write_text(LOGBACK_4)
        for name in self.names:
            self._write_properties(name)
        for name in self.names:
            self._spawn(name)
        self.wait_until_ready()

    def _write_properties(self, name):
        home = self.directory / name
        home.mkdir(exist_ok=True)
        port = self.ports[name]
        if name.startswith("nameserver-"):
            text = f"listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={home}/kvConfig.json\n"
        else:
            text = BROKER_PROPERTIES.format(
                cluster=self.cluster,
                name=name,
                port=port,
                ha_port=port + 1,
                nameservers=";".join(self.nameservers()),
                store=home / "store",
            )
            if self.admin:
                text += ACL_PROPERTIES.format(name=self.admin[0], secret=self.admin[1])
        (home / "properties").write_text(text)

    def _jvm_of_tls(self):
        if not self.authority:
            return ["-Dtls.server.mode=disabled"]
        return [option.format(file=self.directory / "tls.properties") for option in TLS_JVM]

    def _spawn(self, name):
        memory, main_class = ROLES[name.partition("-")[0]]
        home = self.directory / name
        command = [
            "java",
            *memory,
            *JVM,
            *self._jvm_of_tls(),
            f"-Drocketmq.home.dir={self.directory}",
            f"-Duser.home={home}",
        ]
        command += [
            f"-Drmq.logback.configurationFile={self.directory}/logback.xml",
            "-cp",
            f"{fetch(version=self.version)}/*",
        ]
        command += [main_class, "-c", str(home / "properties")]
        with open(self.log(name), "a") as log:
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=home,
                )
            except OSError as error:
                raise ClusterError(f"Java could not be run: {error}") from error
        self.children[name] = child
        self.processes[name] = (child.pid, _process_start(child.pid))
        self._save()

    def _save(self):
        state = {
            "version": self.version,
            "cluster": self.cluster,
            "ports": self.ports,
            "processes": self.processes,
        }
        part = self.directory / f"cluster.json.{os.getpid()}"
        part.write_text(json.dumps(state, indent=2))
        part.rename(self.directory / "cluster.json")

    def _signal(self, name, number):
        if self.is_running(name):
            try:
                os.kill(self.processes[name][0], number)
            except ProcessLookupError:
                pass

    def _wait_for_death(self, name):
        while self.is_running(name):
            time.sleep(0.005)
        self.processes.pop(name, None)
        self._save()

    def _kill_all(self):
        names = list(self.processes)
        for name in names:
            self._signal(name, signal.SIGKILL)
        for name in names:
            self._wait_for_death(name)

    def _missing(self):
        """None when ready, otherwise who is awaited and why."""
        brokers = {
            name: address for name, address in self.brokers().items() if name in self.processes
        }
        for nameserver in self.names:
            if not nameserver.startswith("nameserver-") or nameserver not in self.processes:
                continue
            answer = _ask(
                self.address(nameserver),
                remoting.GET_BROKER_CLUSTER_INFO,
                tls=self._client_tls(),
            )
            if answer is None or answer.code != 0 or not answer.body:
                return nameserver, f"{nameserver} does not answer"
            table = remoting.java_json(answer.body).get("brokerAddrTable") or {}
            for broker, address in brokers.items():
                if table.get(broker, {}).get("brokerAddrs", {}).get("0") != address:
                    return broker, f"{nameserver} does not list {broker}"
        for broker, address in brokers.items():
            answer = _ask(address, remoting.GET_BROKER_CONFIG, tls=self._client_tls())
            # One that checks who asks refuses this, and is there.
            if answer is None or answer.code not in (0, remoting.NO_PERMISSION):
                return broker, f"{broker} does not answer"
        return None


def create_topic(nameservers, topic, n_queues=4, brokers=None):
    """
    Makes the topic on these brokers (by default on all masters) and returns when every nameserver's
    route has them.
    """
    if brokers is None:
        brokers = _masters(nameservers)
    ext = {
        "topic": topic,
        "defaultTopic": "TBW102",
        "readQueueNums": n_queues,
        "writeQueueNums": n_queues,
        "perm": 6,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": "false",
    }
    for broker in brokers:
        answer = _ask(broker, remoting.UPDATE_AND_CREATE_TOPIC, ext, timeout=10)
        if answer is None or answer.code != 0:
            why = answer.remark if answer else "no answer"
            raise ClusterError(f"the broker {broker} did not make the topic {topic}: {why}")
    end = time.monotonic() + 15
    for nameserver in nameservers:
        while not set(brokers) <= _route(nameserver, topic):
            if time.monotonic() > end:
                raise ClusterError(
                    f"the nameserver {nameserver} has no route to {topic} on {', '.join(brokers)}"
                )
            time.sleep(0.02)


def _masters(nameservers):
    n_answered = 0
    for nameserver in nameservers:
        answer = _ask(nameserver, remoting.GET_BROKER_CLUSTER_INFO, timeout=3)
        if answer is not None and answer.code == 0:
            n_answered += 1
            rows = remoting.java_json(answer.body).get("brokerAddrTable", {}).values()
            found = [row["brokerAddrs"]["0"] for row in rows if "0" in row["brokerAddrs"]]
            if found:
                return found
    if n_answered == 0:
        raise ClusterError(f"no nameserver answers at {';'.join(nameservers)}")
    raise ClusterError(f"no broker is known to the nameserver {';'.join(nameservers)}")


def _route(nameserver, topic):
    answer = _ask(nameserver, remoting.GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
    if answer is None or answer.code != 0:
        return set()
    return {row["brokerAddrs"].get("0") for row in remoting.java_json(answer.body)["brokerDatas"]}


def _ask(address, code, ext=None, body=b"", timeout=2.0, tls=None):
    """The answer, or None when there is none (yet)."""
    try:
        with remoting.Client(address, timeout, tls=tls) as client:
            return client.call(code, ext, body)
    except (OSError, remoting.ConnectionEnded, remoting.ProtocolError):
        return None


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("fetch")
    sub.add_argument("directory", nargs="?")
    sub = commands.add_parser("start")
    sub.add_argument("directory")
    sub.add_argument("-n", "--nameservers", type=int, default=1)
    sub.add_argument("-b", "--brokers", type=int, default=1)
    sub = commands.add_parser("topic")
    sub.add_argument("nameservers")
    sub.add_argument("topic")
    sub = commands.add_parser("stop")
    sub.add_argument("directory")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(143))
    arguments = _arguments()
    try:
        if arguments.command == "fetch":
            print(fetch(arguments.directory))
        elif arguments.command == "start":
            cluster = Cluster(arguments.nameservers, arguments.brokers, arguments.directory).start()
            cluster.keep_running()
            print(";".join(cluster.nameservers()))
        elif arguments.command == "topic":
            create_topic(arguments.nameservers.split(";"), arguments.topic)
        elif (pathlib.Path(arguments.directory) / "cluster.json").exists():
            Cluster.attach(arguments.directory).stop()
    except ClusterError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
