// Split spends a resource in a known split, 60/30/10, over three functions:
//
//	split [flags] scenario [threads]
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

var (
	sink uint64
	keep []byte
)

func main() {
	httpAddr := flag.String("http", "", "serve 404 to every HTTP request on this address")
	tcpAddr := flag.String("tcp", "", "echo every byte on this address")
	serviceAddr := flag.String("service", "", "be a service with faults to find on this address")
	guests := flag.Int("guests", 0, "goroutines that wait in the scenario crowd")
	flag.Parse()
	scenarios := map[string]func(){
		"cpu":    cpu,
		"alloc":  alloc,
		"lock":   lock,
		"block":  block,
		"labels": labels,
		"leak":   leak,
		"crowd":  func() { crowd(*guests) },
		"idle":   func() {},
	}
	scenario, ok := scenarios[flag.Arg(0)]
	if !ok && *serviceAddr == "" {
		log.Fatalf("unknown scenario: %q", flag.Arg(0))
	}
	threads := 1
	if flag.NArg() > 1 {
		var err error
		if threads, err = strconv.Atoi(flag.Arg(1)); err != nil {
			log.Fatal(err)
		}
	}
	// Record each event rather than a sample of them.
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)

	startPprof()
	if *serviceAddr != "" {
		service(*serviceAddr)
	}
	if *httpAddr != "" {
		listener := listen("http", "tcp", *httpAddr)
		go func() { log.Fatal(http.Serve(listener, http.NotFoundHandler())) }()
	}
	if *tcpAddr != "" {
		go echo(listen("tcp", "tcp", *tcpAddr))
	}
	for range threads {
		go scenario()
	}
	time.Sleep(500 * time.Millisecond)
	fmt.Println("ready", os.Getpid())
	for { // select {} would be a deadlock to the runtime when nothing else is going on
		time.Sleep(time.Hour)
	}
}

// listen prints the address it got, since the caller may have asked for port 0.
func listen(what, network, addr string) net.Listener {
	listener, err := net.Listen(network, addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(what, listener.Addr())
	return listener
}

func echo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

// spin is a chain of dependent operations: bound by latency, so each inlined copy runs equally fast.
func spin(x uint64, n int) uint64 {
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:noinline
func sixty(x uint64, unit int) uint64 { return spin(x, 6*unit) }

//go:noinline
func thirty(x uint64, unit int) uint64 { return spin(x, 3*unit) }

//go:noinline
func ten(x uint64, unit int) uint64 { return spin(x, unit) }

// jitter is 0.75 to 1.25 in a mixed order: constant rounds could run in step with a sampler's period.
func jitter(round int) float64 { return 0.75 + float64(round*7%51)/100 }

// cpu runs rounds of about 100 ms, so that a sampler at 100 Hz meets each function in every round and a
// profile of a few seconds is already close to the split.
func cpu() {
	x := uint64(1)
	for i := 0; ; i++ {
		unit := int(5_000_000 * jitter(i))
		x = ten(thirty(sixty(x, unit), unit), unit)
		sink = x
	}
}

func allocate(blocks int) {
	for range blocks {
		keep = make([]byte, 1024)
	}
}

//go:noinline
func allocSixty() { allocate(6) }

//go:noinline
func allocThirty() { allocate(3) }

//go:noinline
func allocTen() { allocate(1) }

// alloc takes about 400 MB/s: some 800 samples a second at the default rate of 512 KiB.
func alloc() {
	for {
		for range 400 {
			allocSixty()
			allocThirty()
			allocTen()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type counter struct {
	mutex sync.Mutex
	enter chan struct{}
	left  chan struct{}
}

// hold keeps the mutex 3 ms at a time while the waiter wants it. The mutex profile charges the wait
// to the stack that unlocks.
func (c *counter) hold(times int) {
	for range times {
		c.mutex.Lock()
		c.enter <- struct{}{}
		time.Sleep(3 * time.Millisecond)
		c.mutex.Unlock()
		<-c.left
	}
}

//go:noinline
func (c *counter) lockSixty() { c.hold(6) }

//go:noinline
func (c *counter) lockThirty() { c.hold(3) }

//go:noinline
func (c *counter) lockTen() { c.hold(1) }

func lock() {
	c := &counter{enter: make(chan struct{}), left: make(chan struct{})}
	go func() {
		for range c.enter {
			c.mutex.Lock()
			sink++
			c.mutex.Unlock()
			c.left <- struct{}{}
		}
	}()
	for {
		c.lockSixty()
		c.lockThirty()
		c.lockTen()
	}
}

// blockUntil uses absolute deadlines, so that the overshoots of the timers cancel out.
func blockUntil(deadline time.Time) time.Time {
	<-time.After(time.Until(deadline))
	return deadline
}

//go:noinline
func blockSixty(now time.Time, unit time.Duration) time.Time { return blockUntil(now.Add(6 * unit)) }

//go:noinline
func blockThirty(now time.Time, unit time.Duration) time.Time { return blockUntil(now.Add(3 * unit)) }

//go:noinline
func blockTen(now time.Time, unit time.Duration) time.Time { return blockUntil(now.Add(unit)) }

func block() {
	now := time.Now()
	for {
		now = blockTen(blockThirty(blockSixty(now, 3*time.Millisecond), 3*time.Millisecond), 3*time.Millisecond)
	}
}
