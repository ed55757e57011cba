// Load measures admission webhooks as an API server sees them: AdmissionReviews over TLS, HTTP/1.1, kept-alive
// connections, each with one request at a time. `make bench` runs it:
//
//	load -webhook PROGRAM -allow PROGRAM -peer PROGRAM -cert tls.crt -key tls.key -work DIRECTORY -server-cpu 1
//
// It starts every server pinned to one CPU; its own CPU is the caller's choice (taskset). The servers take turns
// within each round, so that noise of the machine hits all of them.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

var (
	connectionCounts = []int{1, 16, 64}
	// Of the kinds of servers in a table, in this order.
	inject, skip, allow, peer = "sideflame-webhook", "  same, pod not annotated", "  same stack, allowed: true", "controller-runtime"
)

func init() {
	// Servers die with the thread that started them (see startServer): this one must last.
	runtime.LockOSThread()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	webhook := flag.String("webhook", "", "sideflame-webhook")
	allowProgram := flag.String("allow", "", "example allow of the same workspace")
	peerProgram := flag.String("peer", "", "go-peer")
	cert := flag.String("cert", "", "serving certificate, PEM, signed by itself")
	key := flag.String("key", "", "its key, PEM")
	work := flag.String("work", "", "directory for logs")
	ip := flag.String("ip", "", "address on which only our servers listen")
	cpu := flag.String("server-cpu", "1", "the servers' CPU")
	rounds := flag.Int("rounds", 3, "rounds; the table shows medians of rounds")
	length := flag.Duration("length", 1500*time.Millisecond, "of a measurement")
	starts := flag.Int("starts", 9, "starts of each server to measure the time until ready")
	flag.Parse()

	pem, err := os.ReadFile(*cert)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", *cert)
	}
	client := &client{tls: &tls.Config{
		RootCAs: roots,
		// What an API server offers to a service.
		NextProtos: []string{"http/1.1"},
		ServerName: "localhost",
	}}
	launch := launcher{cpu: *cpu, work: *work, ip: *ip, port: firstPort, client: client}

	ours := []string{*webhook, "serve", "--listen", "{address}", "--metrics-listen", "{address}",
		"--tls-cert-file", *cert, "--tls-key-file", *key}
	programs := []program{
		{name: inject, command: ours, injects: true},
		{name: skip, command: ours},
		{name: allow, command: []string{*allowProgram, "{address}", *cert, *key}},
		{name: peer, command: []string{*peerProgram, "-listen", "{address}", "-cert", *cert, "-key", *key}, injects: true},
	}
	pods := []pod{{name: "small", environment: 8}, {name: "1,500 env", environment: 1500}}

	report := newReport(programs, pods, *rounds, *length)
	if err := measureStarts(&launch, programs, pods[0], *starts, report); err != nil {
		return err
	}
	servers, err := startAll(&launch, programs)
	defer stopAll(servers)
	if err != nil {
		return err
	}
	// Idle is before the first request and after start-up work.
	time.Sleep(2 * time.Second)
	for _, server := range servers {
		if report.idle[server.name], err = server.memory("VmRSS"); err != nil {
			return err
		}
	}
	for range *rounds {
		for _, pod := range pods {
			for _, connections := range connectionCounts {
				for _, server := range servers {
					sample, err := client.measure(server, pod, connections, *length)
					if err != nil {
						return fmt.Errorf("%s, %s pod, %d connections: %w", server.name, pod.name, connections, err)
					}
					report.add(point{server.name, pod.name, connections}, sample)
				}
			}
		}
	}
	for _, server := range servers {
		if report.peak[server.name], err = server.memory("VmHWM"); err != nil {
			return err
		}
	}
	report.print()
	return nil
}

// measureStarts times each program from exec to its first answer, which is when an API server could use it.
func measureStarts(launch *launcher, programs []program, pod pod, starts int, report *report) error {
	for range starts {
		for _, program := range programs {
			if program.name == skip {
				continue // the same program
			}
			server, err := launch.start(program)
			if err != nil {
				return err
			}
			ready, err := server.waitReady(pod)
			server.stop()
			if err != nil {
				return err
			}
			report.ready[program.name] = append(report.ready[program.name], ready)
		}
	}
	return nil
}

func startAll(launch *launcher, programs []program) ([]*server, error) {
	var servers []*server
	for _, program := range programs {
		server, err := launch.start(program)
		if err != nil {
			return servers, err
		}
		servers = append(servers, server)
		if err := server.waitConnectable(); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

func stopAll(servers []*server) {
	for _, server := range servers {
		server.stop()
	}
}
