"""
A consumer that speaks RocketMQ's classic protocol through the daemon, as a caller would write it

It is a member of its group: heartbeats once (the daemon goes on with that), shares the queues out as
Java's AllocateMessageQueueAveragely does whenever it is notified (40), locks those that are its own
(41, 42), pulls (11) and commits offsets (14, 15).
"""

import json
import threading
import time

import remoting
import tap

# Above what the daemon numbers its own requests with on this connection.
FIRST_OPAQUE = 1_000_000
LOOK_SECONDS = 2.0


def heartbeat_body(client_id, group, topic):
    subscriptions = [
        {"topic": name, "subString": "*", "subVersion": 1, "expressionType": "TAG"}
        for name in (topic, f"%RETRY%{group}")
    ]
    row = {
        "groupName": group,
        "consumeType": "CONSUME_PASSIVELY",
        "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet": subscriptions,
        "unitMode": False,
    }
    return json.dumps({"clientID": client_id, "consumerDataSet": [row]}).encode()


def allocate(queues, client_ids, client_id):
    """AllocateMessageQueueAveragely.java: both lists sorted, the first ones get one more."""
    if client_id not in client_ids:
        return []
    index = client_ids.index(client_id)
    size, more = divmod(len(queues), len(client_ids))
    start = index * size + min(index, more)
    return queues[start : start + size + (index < more)]


class ClassicConsumer:
    def __init__(self, running, topic, group, client_id):
        self.topic, self.group, self.client_id = topic, group, client_id
        self.client = running.client()
        self.client.opaque = FIRST_OPAQUE
        self.bodies = []
        self.queues = {}  # (broker, queue id) -> the next offset
        self.n_notified = 0
        self.problem = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        return self.join()

    def __exit__(self, *_):
        self.leave()

    def join(self):
        self._call(remoting.REGISTER_PROCESSOR, {"codes": "40", "groups": self.group})
        body = heartbeat_body(self.client_id, self.group, self.topic)
        self._call(remoting.HEART_BEAT, {}, body)
        self.all_queues = self._all_queues()
        self.thread.start()
        return self

    def leave(self, unregisters=True):
        """With UNREGISTER_CLIENT, or as a process that just goes away."""
        if not self.is_over.is_set():
            self.is_over.set()
            self.thread.join(30)
            if unregisters:
                ext = {"clientID": self.client_id, "consumerGroup": self.group}
                self._call(remoting.UNREGISTER_CLIENT, ext)
            self.client.close()
        tap.equal(self.problem, None, f"what went wrong in {self.client_id}")

    def share(self):
        return sorted(self.queues)

    def assignment(self, client):
        """What the broker would give it (QUERY_ASSIGNMENT)."""
        body = {
            "topic": self.topic,
            "consumerGroup": self.group,
            "clientId": self.client_id,
            "strategyName": "AVG",
            "messageModel": "CLUSTERING",
        }
        ext = {"sidecar.topic": self.topic}
        answer = client.call(remoting.QUERY_ASSIGNMENT, ext, json.dumps(body).encode())
        tap.equal(answer.code, 0, f"the assignment ({answer.remark})")
        rows = remoting.java_json(answer.body)["messageQueueAssignments"]
        queues = [row["messageQueue"] for row in rows]
        return sorted((queue["brokerName"], queue["queueId"]) for queue in queues)

    def lock(self, queues, client=None):
        """Those of the queues that the broker gives it."""
        return self._lock_command(remoting.LOCK_BATCH_MQ, queues, client)

    def _lock_command(self, code, queues, client=None):
        given = set()
        for broker in sorted({broker for broker, _ in queues}):
            body = {
                "consumerGroup": self.group,
                "clientId": self.client_id,
                "mqSet": [
                    {"topic": self.topic, "brokerName": name, "queueId": queue_id}
                    for name, queue_id in queues
                    if name == broker
                ],
            }
            ext = {"sidecar.broker": broker}
            answer = (client or self.client).call(code, ext, json.dumps(body).encode())
            tap.equal(answer.code, 0, f"the answer to {code} ({answer.remark})")
            if code == remoting.LOCK_BATCH_MQ:
                rows = remoting.java_json(answer.body).get("lockOKMQSet", [])
                given |= {(row["brokerName"], row["queueId"]) for row in rows}
        return given

    def _call(self, code, ext, body=b"", good=(0,)):
        answer = self.client.call(code, ext, body)
        tap.check(answer.code in good and not answer.error, f"{code}: {answer}")
        return answer

    def _all_queues(self):
        answer = self._call(remoting.GET_ROUTEINFO_BY_TOPIC, {"topic": self.topic})
        return sorted(
            (row["brokerName"], n)
            for row in answer.json()["queueDatas"]
            for n in range(row["readQueueNums"])
        )

    def _where(self, queue):
        broker, queue_id = queue
        return {
            "topic": self.topic,
            "consumerGroup": self.group,
            "queueId": queue_id,
            "sidecar.broker": broker,
        }

    def _run(self):
        try:
            look_at = 0.0
            while not self.is_over.is_set():
                if self._was_notified() or time.monotonic() >= look_at:
                    self._share_out()
                    look_at = time.monotonic() + LOOK_SECONDS
                if not any([self._pull(queue) for queue in list(self.queues)]):
                    self.is_over.wait(0.05)
            self._lock_command(remoting.UNLOCK_BATCH_MQ, list(self.queues))
        except Exception as problem:
            self.problem = repr(problem)

    def _was_notified(self):
        requests = [row for row in self.client.waiting.values() if not row.is_response]
        for request in requests:
            tap.equal(request.ext["consumerGroup"], self.group, "the group of a notification")
            del self.client.waiting[request.opaque]
        self.n_notified += len(requests)
        return bool(requests)

    def _share_out(self):
        ext = {"consumerGroup": self.group, "sidecar.topic": self.topic}
        answer = self._call(remoting.GET_CONSUMER_LIST_BY_GROUP, ext)
        wanted = allocate(self.all_queues, sorted(answer.json()["consumerIdList"]), self.client_id)
        left = [queue for queue in self.queues if queue not in wanted]
        for queue in left:
            del self.queues[queue]
        self._lock_command(remoting.UNLOCK_BATCH_MQ, left)
        for queue in self.lock([queue for queue in wanted if queue not in self.queues]):
            ext = {**self._where(queue), "setZeroIfNotFound": "true"}
            answer = self._call(14, ext, good=(0, 22))
            self.queues[queue] = int(answer.ext.get("offset", 0))

    def _pull(self, queue):
        ext = {
            **self._where(queue),
            "queueOffset": self.queues[queue],
            "sidecar.answerFormat": "json",
        }
        answer = self._call(remoting.PULL_MESSAGE, ext, good=(0, 19, 20, 21))
        self.queues[queue] = int(answer.ext["nextBeginOffset"])
        if answer.code != 0:
            return False
        self.bodies += [row["body"] for row in answer.json()]
        self._call(15, {**self._where(queue), "commitOffset": self.queues[queue]})
        return True
