"""Sends what the standard input says: python3 send.py SOCKET TOPIC NAME (see README.md)"""
import json, socket, struct, sys

path, topic, name = sys.argv[1:]
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(path)
stream = daemon.makefile("rb")

def call(code, fields, body):
    header = json.dumps({"code": code, "opaque": 1, "extFields": fields}).encode()
    daemon.sendall(struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body)
    size, n_header = struct.unpack(">II", stream.read(8))
    answer = json.loads(stream.read(n_header))
    stream.read(size - 4 - n_header)
    return answer["code"], answer.get("extFields", {})

SEND = 10
for line in sys.stdin.buffer:
    number, size, key, pattern, note = line.decode().rstrip("\n").split("\t")
    pattern, size = bytes.fromhex(pattern), int(size)
    body = (pattern * (size // len(pattern) + 1))[:size]
    fields = {"topic": topic, "property.KEYS": number, "property.sender": name, "property.note": note}
    if key != "-":
        fields["property.__SHARDINGKEY"] = key
    code, answer = call(SEND, fields, body)
    told = [answer.get(f"sidecar.{word}", "-") for word in ("error", "sent", "uniqKey")]
    print(number, code, *told, sep="\t", flush=True)
