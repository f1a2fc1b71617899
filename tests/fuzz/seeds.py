"""
The first inputs of each target, out of the golden frames and the sample configuration

write(target, folder) puts them there. What libFuzzer finds grows from them; the corpus in the tree
is what came out, minimized (tests/fuzz/run --keep).
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GOLDEN = HERE.parent / "protocol" / "golden"
SIZE_MAX = 4096
SCENES = 13  # of upstream.c

TEXTS = [
    b"r1~Orders~Group~broker-a~0~7~7~1700000000000~60000~3~0",
    b"r1~Orders~Group~broker-a~0~7~7~1700000000000~60000~3~2",
    b"t1~Orders~Producers~broker-a~1~2~0A000009002A00000007000000010001~T~0",
    b"t1~Orders~Producers~broker-a~1~2~0A000009002A00000007000000010001~T~1",
    b"AAEC",
    b"AAE=",
    b"127.0.0.1:9876",
    b"[fd00::7]:9876",
    b"name.example:10911",
    b"-9223372036854775808",
    "é€😀".encode(),
    b"sidecar.addr=nameserver\nsidecar.timeoutMillis=100\ntopic=Orders",
    b"sidecar.broker=broker-a\nsidecar.retry=at-least-once\nsidecar.answerFormat=json",
    b"sidecar.bodyFormat=json\nsidecar.transaction=half\nsidecar.code=40000",
    b"sidecar.traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
]
BATCHES = [
    b'[{"body":"a"}]',
    b'[{"body":"AAEC","encoding":"base64","properties":{"KEYS":"k","TAGS":"t"}}]',
    b'[{"body":"a","properties":{"WAIT":"false"}},{"body":"","properties":{"WAIT":"false"}}]',
    b'[{"body":"a","properties":{"__SHARDINGKEY":"s"}},{"body":"b","properties":{}}]',
    b'[{"body":"a","properties":{"DELAY":"3"}}]',
    b'[]',
]
HEARTBEAT = (
    b'{"clientID":"c","consumerDataSet":[{"groupName":"G","consumeType":"CONSUME_PASSIVELY",'
    b'"messageModel":"CLUSTERING","subscriptionDataSet":[{"topic":"T","subString":"*"}]}],'
    b'"producerDataSet":[{"groupName":"P"}],"withoutSub":false}'
)
RECEIPT = TEXTS[0]
CONTROLS = [
    b"34\n\n" + HEARTBEAT,
    b"35\nclientID=c\nproducerGroup=P\nconsumerGroup=G\n\n",
    b"30000\n\n",
    b"30001\n\n",
    b'30002\n\n["127.0.0.1:9876","name.example:9876","[::1]:9876"]',
    b"30003\n\n",
    b"30004\naddr=127.0.0.1:9876\n\n",
    b'30005\n\n["127.0.0.1:9876"]',
    b"30006\n\n",
    b"30007\ncodes=39,40,220,307,309,326\ngroups=G,P\n\n",
    b"30008\ncodes=39\n\n",
    b"30009\n\n",
    b"30010\n\n",
    b"30011\n\n",
    b"30012\n\n",
    b"30016\n\n",
    b"30000\nsidecar.code=200050\ntopic=Orders\nconsumerGroup=G\n\n",
    b"10\ntopic=Orders\nproperty.KEYS=k\n\nbody",
    b"310\nb=Orders\na=P\n\nbody",
    b'320\ntopic=Orders\nsidecar.bodyFormat=json\n\n[{"body":"a"}]',
    b"10\ntopic=Orders\nproducerGroup=P\nsidecar.transaction=half\n\nbody",
    b"10\ntopic=Absent\n\nbody",
    b"11\ntopic=Orders\nconsumerGroup=G\nqueueId=0\nqueueOffset=0\nsidecar.answerFormat=json\n\n",
    b"200050\ntopic=Orders\nconsumerGroup=G\npollTime=10\nsidecar.answerFormat=json\n\n",
    b"200051\nsidecar.receipt=" + RECEIPT + b"\n\n",
    b"200053\nsidecar.receipt=" + RECEIPT + b"\ninvisibleTime=1000\n\n",
    b'200151\n\n["' + RECEIPT + b'","r1~nothing"]',
    b"37\nsidecar.receipt=" + TEXTS[2] + b"\ncommitOrRollback=8\n\n",
    b"105\ntopic=Orders\n\n",
    b"106\nsidecar.addr=nameserver\n\n",
    b"30\ntopic=Orders\nqueueId=0\nsidecar.broker=broker-a\n\n",
    b"29\ntopic=Orders\nqueueId=0\ntimestamp=0\nsidecar.timeoutMillis=1\n\n",
]


def golden():
    """(row of the index, frame) of every golden frame that is small enough."""
    for row in json.loads((GOLDEN / "index.json").read_text()):
        frame = (GOLDEN / row["file"]).read_bytes()
        if len(frame) <= SIZE_MAX:
            yield row, frame


def header_of(frame):
    size = int.from_bytes(frame[5:8], "big")
    return frame[8 : 8 + size], frame[8 + size :]


def requests():
    return [frame for row, frame in golden() if row["kind"] == "request"]


def responses():
    return [frame for row, frame in golden() if row["kind"] in ("response", "broker-request")]


def frames():
    return [frame for _, frame in golden()]


def headers(form):
    return [header_of(frame)[0] for frame in frames() if frame[4] == form]


def bodies():
    return [header_of(frame)[1] for frame in frames()]


def messages():
    magics = (b"\xda\xa3\x20\xa7", b"\xda\xa3\x20\xab")
    return [body for body in bodies() if body[4:8] in magics]


def batches():
    return BATCHES + [
        header_of(frame)[1]
        for row, frame in golden()
        if row["code"] == 320 and row["kind"] == "request"
    ]


def routes():
    return [body for body in bodies() if body[:1] == b"{"]


def settings():
    sample = (ROOT / "config" / "remotingd.ini").read_bytes()
    given = b"".join(
        line.removeprefix(b";")
        for line in sample.splitlines(True)
        if line.startswith(b"[") or b" = " in line
    )
    parts = [b"[" + part for part in given.split(b"[")[1:]]
    return [b"", b"# nothing\n", b"[acl A]\naccess_key = k\nsecret_key_file = /k\n", *parts]


def sessions():
    """Requests alone, in twos, and cut."""
    alone = requests()
    return (
        [b"\0" + frame for frame in alone]
        + [b"\x07" + first + second for first, second in zip(alone, alone[1:])]
        + [b"\0" + frame[:-1] for frame in alone[:5]]
    )


def https():
    """Requests by HTTP alone, behind each other, and what is told apart from them."""
    start = b"POST /v1/topics/Orders/messages HTTP/1.1\r\nHost: a\r\n"
    receipt = b'["' + RECEIPT + b'"]'
    heads = [
        start + b"Content-Length: 5\r\n\r\nhello",
        start + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        start + b"X-Mq-Tags: t\r\nX-Mq-Keys: k\r\nX-Mq-Delay: 90s\r\nX-Mq-Sharding-Key: s\r\n"
        b"X-Mq-Property-A: b\r\nX-Mq-Timeout: 1s\r\nContent-Length: 0\r\n\r\n",
        start + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        start + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        start + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        start + b"X-A: b\n c\r\n\r\n",
        b"POST /v1/topics/%25RETRY%25G/messages:batch HTTP/1.1\r\nHost: a\r\n"
        b'Content-Length: 14\r\n\r\n[{"body":"a"}]',
        b"POST /v1/topics/T/groups/G/receive?max=3&wait=2s&invisible=9s HTTP/1.1\r\n"
        b"Host: a\r\n\r\n",
        b"GET /v1/routes/T HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/health HTTP/1.0\r\n\r\n",
        b"OPTIONS /v1/ack HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for target, body in ((b"ack", receipt), (b"nack", b'[{"receipt":"r"},"s"]')):
        size = str(len(body)).encode()
        heads.append(
            b"POST /v1/" + target + b" HTTP/1.1\r\nHost: a\r\nX-Mq-Delay: 5s\r\n"
            b"Content-Length: " + size + b"\r\n\r\n" + body
        )
    twos = [first + second for first, second in zip(heads, heads[1:])]
    return [b"\x07" + data for data in heads + twos]


def scenes():
    """Every scene with answers and questions of brokers."""
    frames_found = responses()
    return [
        bytes([scene]) + b"".join(frames_found[at : at + 3])
        for scene in range(SCENES)
        for at in range(scene, len(frames_found), SCENES)
    ] + [bytes([scene]) for scene in range(SCENES)]


INPUTS = {
    "frame": frames,
    "header_json": lambda: headers(0),
    "header_rocketmq": lambda: headers(1),
    "message": messages,
    "batch": batches,
    "route": routes,
    "text": lambda: TEXTS,
    "ini": settings,
    "http": https,
    "control": lambda: CONTROLS,
    "session": sessions,
    "upstream": scenes,
}


def write(target, folder):
    for i, data in enumerate(INPUTS[target]()):
        (pathlib.Path(folder) / f"seed-{i:03}").write_bytes(data)
