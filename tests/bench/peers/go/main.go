// The Go client in-process: rocketmq-client-go's remoting client against the stub
//
//	peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS
//
// IN_FLIGHT goroutines share one client, and so one connection; each sends its next request when it
// has its answer, which has to carry the request's token. Prints one JSON object as bench_load does;
// the CPU is this process's.
//
// The module's path lies below the client's, because its remoting client is an internal package.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apache/rocketmq-client-go/v2/internal/remote"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	sendMessageV2 = 310
	tokenSize     = 16
	timeout       = 10 * time.Second
)

// The ext fields of the callers of tests/bench/request.c.
type header struct{ address string }

func (h header) Encode() map[string]string {
	return map[string]string{
		"b":            "bench",
		"sidecar.addr": h.address,
		"a":            "bench_producers",
		"c":            "TBW102",
		"d":            "4",
		"e":            "0",
		"f":            "0",
		"g":            "1795401242924",
		"i":            "UNIQ_KEY\x017F00000100012A139E5D000000000001\x02",
	}
}

// Both ends of a body carry the token.
func newBody(size int, worker, number uint64) []byte {
	body := bytes.Repeat([]byte{'x'}, size)
	binary.BigEndian.PutUint64(body, worker)
	binary.BigEndian.PutUint64(body[8:], number)
	copy(body[size-tokenSize:], body[:tokenSize])
	return body
}

type peer struct {
	client     remote.RemotingClient
	address    string
	size       int
	isMeasured atomic.Bool
	isStopped  atomic.Bool
	total      atomic.Uint64
	mutex      sync.Mutex
	latencies  []time.Duration
}

func (p *peer) work(worker uint64) {
	var latencies []time.Duration
	var number uint64
	for ; !p.isStopped.Load(); number++ {
		sent := newBody(p.size, worker, number)
		request := remote.NewRemotingCommand(sendMessageV2, header{p.address}, sent)
		isMeasured := p.isMeasured.Load()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		answer, err := p.client.InvokeSync(ctx, p.address, request)
		cancel()
		if err != nil {
			log.Fatal(err)
		}
		if isMeasured {
			latencies = append(latencies, time.Since(begin))
		}
		if answer.Code != 0 || !bytes.HasPrefix(answer.Body, sent[:tokenSize]) {
			log.Fatalf("not the answer to this request: %v", answer)
		}
	}
	p.total.Add(number)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.latencies = append(p.latencies, latencies...)
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func (p *peer) percentile(percent float64) float64 {
	at := int(float64(len(p.latencies)) * percent / 100)
	return float64(p.latencies[min(at, len(p.latencies)-1)].Nanoseconds()) / 1e3
}

func (p *peer) run(inFlight int, warmUp, seconds float64) {
	var workers sync.WaitGroup
	for worker := 0; worker < inFlight; worker++ {
		workers.Add(1)
		go func(worker int) {
			defer workers.Done()
			p.work(uint64(worker))
		}(worker)
	}
	time.Sleep(time.Duration(warmUp * float64(time.Second)))
	p.isMeasured.Store(true)
	begin, cpu := time.Now(), cpuSeconds()
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	p.isStopped.Store(true)
	elapsed := time.Since(begin).Seconds()
	cpu = cpuSeconds() - cpu
	workers.Wait()
	sort.Slice(p.latencies, func(i, j int) bool { return p.latencies[i] < p.latencies[j] })
	n := len(p.latencies)
	fmt.Printf("{\"requests\": %d, \"total\": %d, \"seconds\": %.6f, \"rate\": %.1f, "+
		"\"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_s\": %.6f}\n",
		n, p.total.Load(), elapsed, float64(n)/elapsed, p.percentile(50), p.percentile(99), cpu)
}

func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS")
	}
	rlog.SetLogLevel("error")
	p := &peer{
		client:  remote.NewRemotingClient(nil),
		address: os.Args[1],
		size:    int(number(os.Args[3])),
	}
	p.run(int(number(os.Args[2])), number(os.Args[4]), number(os.Args[5]))
}
