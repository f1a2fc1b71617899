// Sends what the standard input says: node send.mjs SOCKET TOPIC NAME (see README.md)
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const SEND = 10;
const [path, topic, name] = process.argv.slice(2);

const daemon = createConnection(path);
let unread = Buffer.alloc(0);
let resolve;

daemon.on("data", (chunk) => {
  unread = Buffer.concat([unread, chunk]);
  if (unread.length >= 4 && unread.length >= 4 + unread.readUInt32BE(0)) {
    const answer = JSON.parse(unread.subarray(8, 8 + unread.readUInt32BE(4)));
    unread = unread.subarray(4 + unread.readUInt32BE(0));
    resolve(answer);
  }
});
daemon.on("close", () => process.exit(1));

function call(code, extFields, body) {
  const header = Buffer.from(JSON.stringify({ code, opaque: 1, extFields }));
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32BE(4 + header.length + body.length, 0);
  prefix.writeUInt32BE(header.length, 4);
  daemon.write(Buffer.concat([prefix, header, body]));
  return new Promise((done) => { resolve = done; });
}

for await (const line of createInterface({ input: process.stdin })) {
  const [number, size, key, pattern, note] = line.split("\t");
  const body = Buffer.alloc(Number(size), Buffer.from(pattern, "hex"));
  const fields = { topic, "property.KEYS": number, "property.sender": name, "property.note": note };
  if (key !== "-") {
    fields["property.__SHARDINGKEY"] = key;
  }
  const { code, extFields = {} } = await call(SEND, fields, body);
  const told = ["error", "sent", "uniqKey"].map((word) => extFields[`sidecar.${word}`] ?? "-");
  console.log([number, code, ...told].join("\t"));
}
process.exit(0);
