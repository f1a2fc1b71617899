// Sends what the standard input says: send SOCKET TOPIC NAME (see README.md)
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
)

const send = 10

type fields map[string]string
type header struct {
	Code      int    `json:"code"`
	Opaque    int    `json:"opaque"`
	ExtFields fields `json:"extFields"`
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func call(daemon net.Conn, code int, ext fields, body []byte) header {
	head := must(json.Marshal(header{code, 1, ext}))
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(head)+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(head)))
	must(daemon.Write(append(append(frame, head...), body...)))

	var prefix struct{ Size, Header uint32 }
	must(0, binary.Read(daemon, binary.BigEndian, &prefix))
	rest := make([]byte, prefix.Size-4)
	must(io.ReadFull(daemon, rest))
	var answer header
	must(0, json.Unmarshal(rest[:prefix.Header], &answer))
	return answer
}

func main() {
	daemon, topic, name := must(net.Dial("unix", os.Args[1])), os.Args[2], os.Args[3]
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		number, size, key := columns[0], must(strconv.Atoi(columns[1])), columns[2]
		pattern := must(hex.DecodeString(columns[3]))
		body := bytes.Repeat(pattern, size/len(pattern)+1)[:size]
		ext := fields{"topic": topic, "property.KEYS": number, "property.sender": name, "property.note": columns[4]}
		if key != "-" {
			ext["property.__SHARDINGKEY"] = key
		}
		answer := call(daemon, send, ext, body)
		told := []string{number, strconv.Itoa(answer.Code)}
		for _, word := range []string{"error", "sent", "uniqKey"} {
			value, found := answer.ExtFields["sidecar."+word]
			if !found {
				value = "-"
			}
			told = append(told, value)
		}
		fmt.Println(strings.Join(told, "\t"))
	}
	must(0, lines.Err())
}
