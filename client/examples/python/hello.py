"""Sends a message, receives it, acknowledges it: python3 hello.py SOCKET TOPIC GROUP"""
import json, socket, struct, sys

path, topic, group = sys.argv[1:]
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(path)
stream = daemon.makefile("rb")

def call(code, fields, body=b""):
    header = json.dumps({"code": code, "opaque": 1, "extFields": fields}).encode()
    daemon.sendall(struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body)
    size, n_header = struct.unpack(">II", stream.read(8))
    answer, body = json.loads(stream.read(n_header)), stream.read(size - 4 - n_header)
    if answer["code"] != 0:
        sys.exit(f"code {answer['code']}: {answer.get('remark')}")
    return answer.get("extFields", {}), body

SEND, POP, ACK = 10, 200050, 200051
sent, _ = call(SEND, {"topic": topic, "property.KEYS": "hello-1"}, b"hello from Python")
print("sent to", sent["brokerName"], "queue", sent["queueId"], "offset", sent["queueOffset"])
wanted = {"topic": topic, "consumerGroup": group, "sidecar.answerFormat": "json"}
for message in json.loads(call(POP, wanted)[1]):
    print("received:", message["body"])
    call(ACK, {"sidecar.receipt": message["receipt"]})
