// Sends a message, receives it, acknowledges it: node hello.mjs SOCKET TOPIC GROUP
import { createConnection } from "node:net";

const SEND = 10, POP = 200050, ACK = 200051;
const [path, topic, group] = process.argv.slice(2);

const daemon = createConnection(path);
const waiting = new Map(); // opaque -> what to do with the answer
let unread = Buffer.alloc(0);
let lastOpaque = 0;

daemon.on("data", (chunk) => {
  unread = Buffer.concat([unread, chunk]);
  while (unread.length >= 4 && unread.length >= 4 + unread.readUInt32BE(0)) {
    const end = 4 + unread.readUInt32BE(0);
    const bodyAt = 8 + unread.readUInt32BE(4);
    const answer = JSON.parse(unread.subarray(8, bodyAt));
    const { resolve, reject } = waiting.get(answer.opaque);
    waiting.delete(answer.opaque);
    if (answer.code === 0) {
      resolve({ fields: answer.extFields ?? {}, body: unread.subarray(bodyAt, end) });
    } else {
      reject(new Error(`code ${answer.code}: ${answer.remark}`));
    }
    unread = unread.subarray(end);
  }
});

function call(code, extFields, body = "") {
  const opaque = ++lastOpaque;
  const header = Buffer.from(JSON.stringify({ code, opaque, extFields }));
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32BE(4 + header.length + Buffer.byteLength(body), 0);
  prefix.writeUInt32BE(header.length, 4);
  daemon.write(Buffer.concat([prefix, header, Buffer.from(body)]));
  return new Promise((resolve, reject) => waiting.set(opaque, { resolve, reject }));
}

const sent = await call(SEND, { topic, "property.KEYS": "hello-1" }, "hello from Node");
const { brokerName, queueId, queueOffset } = sent.fields;
console.log(`sent to ${brokerName} queue ${queueId} offset ${queueOffset}`);

const popped = await call(POP, { topic, consumerGroup: group, "sidecar.answerFormat": "json" });
const messages = JSON.parse(popped.body);
await Promise.all(messages.map((message) => {
  console.log(`received: ${message.body}`);
  return call(ACK, { "sidecar.receipt": message.receipt });
}));
daemon.end();
