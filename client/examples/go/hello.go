// Sends a message, receives it, acknowledges it: go run hello.go SOCKET TOPIC GROUP
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

const send, pop, ack = 10, 200050, 200051

type fields map[string]string
type header struct {
	Code      int    `json:"code"`
	Opaque    int    `json:"opaque"`
	Remark    string `json:"remark,omitempty"`
	ExtFields fields `json:"extFields"`
}

func call(daemon net.Conn, code int, ext fields, body []byte) (fields, []byte) {
	head, _ := json.Marshal(header{Code: code, Opaque: 1, ExtFields: ext})
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(head)+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(head)))
	must(daemon.Write(append(append(frame, head...), body...)))

	var prefix struct{ Size, Header uint32 }
	must(0, binary.Read(daemon, binary.BigEndian, &prefix))
	rest := make([]byte, prefix.Size-4)
	must(io.ReadFull(daemon, rest))
	var answer header
	must(0, json.Unmarshal(rest[:prefix.Header], &answer))
	if answer.Code != 0 {
		log.Fatalf("code %d: %s", answer.Code, answer.Remark)
	}
	return answer.ExtFields, rest[prefix.Header:]
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	daemon, topic, group := must(net.Dial("unix", os.Args[1])), os.Args[2], os.Args[3]
	sent, _ := call(daemon, send, fields{"topic": topic, "property.KEYS": "hello-1"}, []byte("hello from Go"))
	fmt.Println("sent to", sent["brokerName"], "queue", sent["queueId"], "offset", sent["queueOffset"])
	_, body := call(daemon, pop, fields{"topic": topic, "consumerGroup": group, "sidecar.answerFormat": "json"}, nil)
	var messages []struct{ Body, Receipt string }
	must(0, json.Unmarshal(body, &messages))
	for _, message := range messages {
		fmt.Println("received:", message.Body)
		call(daemon, ack, fields{"sidecar.receipt": message.Receipt}, nil)
	}
}
