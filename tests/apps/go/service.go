package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// forgotten is an order of one kibibyte that is never let go.
type forgotten struct{ lines [1024]byte }

var (
	orders   []*forgotten
	ordering sync.Mutex
	till     sync.Mutex
	requests atomic.Int64
	spent    atomic.Int64
)

// service is one with faults to find: /high-cpu?ms=200 computes discounts, /memory-leak?kb=64 keeps orders for ever, /lock?ms=50
// sleeps with a lock that all its requests need. / is what it should be doing, /metrics what Prometheus sees of it.
func service(addr string) {
	mux := http.NewServeMux()
	at := func(path string, usual int, work func(int)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			begin := time.Now()
			number := usual
			for _, values := range r.URL.Query() {
				number, _ = strconv.Atoi(values[0])
			}
			work(number)
			requests.Add(1)
			spent.Add(int64(time.Since(begin)))
			io.WriteString(w, "ok\n")
		})
	}
	at("/", 1, sell)
	at("/high-cpu", 200, applyDiscounts)
	at("/memory-leak", 64, remember)
	at("/lock", 50, pay)
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total %d\n", requests.Load())
		fmt.Fprintf(w, "# TYPE http_request_seconds_total counter\nhttp_request_seconds_total %f\n", time.Duration(spent.Load()).Seconds())
	})
	listener := listen("service", "tcp", addr)
	fmt.Println("ready", os.Getpid())
	log.Fatal(http.Serve(listener, mux))
}

//go:noinline
func sell(milliseconds int) { spinFor(milliseconds) }

//go:noinline
func applyDiscounts(milliseconds int) { spinFor(milliseconds) }

func spinFor(milliseconds int) {
	x := uint64(1)
	for end := time.Now().Add(time.Duration(milliseconds) * time.Millisecond); time.Now().Before(end); {
		x = spin(x, 10_000)
	}
	atomic.StoreUint64(&sink, x)
}

//go:noinline
func remember(kibibytes int) {
	ordering.Lock()
	defer ordering.Unlock()
	for range kibibytes {
		orders = append(orders, &forgotten{})
	}
}

//go:noinline
func pay(milliseconds int) {
	till.Lock()
	defer till.Unlock()
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
}
