package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A point is what one line of the table is about.
type point struct {
	server, pod string
	connections int
}

// A report collects samples and prints them beside the targets.
type report struct {
	programs []program
	pods     []pod
	rounds   int
	length   time.Duration
	samples  map[point][]sample
	ready    map[string][]time.Duration
	// In KiB: before the first request, and the highest of the whole run.
	idle, peak map[string]int
}

func newReport(programs []program, pods []pod, rounds int, length time.Duration) *report {
	return &report{
		programs: programs, pods: pods, rounds: rounds, length: length, samples: map[point][]sample{},
		ready: map[string][]time.Duration{}, idle: map[string]int{}, peak: map[string]int{},
	}
}

func (r *report) add(at point, sample sample) { r.samples[at] = append(r.samples[at], sample) }

// median of a figure over the rounds of a point.
func (r *report) median(at point, figure func(sample) float64) float64 {
	var all []float64
	for _, sample := range r.samples[at] {
		all = append(all, figure(sample))
	}
	return median(all)
}

func median[T cmp.Ordered](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// percentile by nearest rank, in microseconds.
func percentile(share float64) func(sample) float64 {
	return func(s sample) float64 {
		rank := int(math.Ceil(share * float64(len(s.latencies))))
		return float64(s.latencies[max(rank, 1)-1].Nanoseconds()) / 1e3
	}
}

// cost is the CPU time of a request in microseconds.
func cost(s sample) float64 { return float64(s.cpu.Microseconds()) / float64(len(s.latencies)) }

func rate(s sample) float64 { return float64(len(s.latencies)) / s.elapsed.Seconds() }

func busy(s sample) float64 { return 100 * s.cpu.Seconds() / s.elapsed.Seconds() }

func (r *report) print() {
	fmt.Printf("webhook: AdmissionReviews over TLS, HTTP/1.1 kept alive; the server alone on one core, the load on another;\n")
	fmt.Printf("medians of %d round(s) of %v in which the servers take turns\n\n", r.rounds, r.length)
	fmt.Printf("%-12s %5s  %-28s %10s %10s %9s %10s %10s %5s\n",
		"pod", "conns", "server", "p50", "p99", "req/s", "req/s/core", "CPU/req", "busy")
	for _, pod := range r.pods {
		for _, connections := range connectionCounts {
			for _, program := range r.programs {
				at := point{program.name, pod.name, connections}
				cpu := r.median(at, cost)
				fmt.Printf("%-12s %5d  %-28s %10s %10s %9.0f %10.0f %10s %4.0f%%\n", pod.name, connections, program.name,
					duration(r.median(at, percentile(0.5))), duration(r.median(at, percentile(0.99))),
					r.median(at, rate), 1e6/cpu, duration(cpu), r.median(at, busy))
			}
		}
	}
	var sizes []string
	for _, pod := range r.pods {
		sizes = append(sizes, fmt.Sprintf("%s = %d bytes", pod.name, len(pod.review(true))))
	}
	fmt.Printf("(reviews: %s; req/s/core = requests per second of the server's CPU time)\n\n", strings.Join(sizes, ", "))
	fmt.Printf("%-28s %12s %12s %22s\n", "server", "RSS idle", "RSS peak", "exec to first answer")
	for _, program := range r.programs {
		ready := "" // not measured
		if all := r.ready[program.name]; len(all) > 0 {
			ready = duration(float64(median(all).Nanoseconds()) / 1e3)
		}
		fmt.Printf("%-28s %12s %12s %22s\n", program.name, mebibytes(r.idle[program.name]), mebibytes(r.peak[program.name]), ready)
	}
	fmt.Println()
	r.printTargets()
}

// printTargets judges every target by its worst case.
func (r *report) printTargets() {
	fmt.Printf("%-66s %9s  %-24s\n", "target", "", "measured")
	for _, pod := range r.pods {
		r.target("CPU per request, × own answer without patch, "+pod.name, "≤ 1.3", r.ratios(pod, inject, skip), 1.3, true)
	}
	for _, pod := range r.pods {
		r.target("CPU per request of controller-runtime, × ours, "+pod.name, "≥ 8", r.ratios(pod, peer, inject), 8, false)
	}
	for _, pod := range r.pods {
		tail := func(name string) float64 {
			at := point{name, pod.name, 16}
			return r.median(at, func(s sample) float64 { return percentile(0.99)(s) / percentile(0.5)(s) })
		}
		text := fmt.Sprintf("p99 / p50 at 16 connections, %s (controller-runtime: %.1f)", pod.name, tail(peer))
		r.target(text, "≤ 2", []float64{tail(inject)}, 2, true)
	}
	r.target("MiB RSS idle", "≤ 10", []float64{float64(r.idle[inject]) / 1024}, 10, true)
	r.target("MiB RSS, peak of all, which is 64 × 1,500 env", "≤ 32", []float64{float64(r.peak[inject]) / 1024}, 32, true)
	r.target("ms from exec to the first answer", "≤ 20", []float64{median(r.ready[inject]).Seconds() * 1e3}, 20, true)
	for _, pod := range r.pods {
		fmt.Printf("%-66s %9s  %s\n", "  (CPU per request, × server that only answers allowed, "+pod.name+")", "", list(r.ratios(pod, inject, allow)))
	}
	fmt.Println("Several figures: at 1, 16 and 64 connections.")
}

// ratios of the CPU per request, one per number of connections.
func (r *report) ratios(pod pod, of, to string) []float64 {
	var all []float64
	for _, connections := range connectionCounts {
		all = append(all, r.median(point{of, pod.name, connections}, cost)/r.median(point{to, pod.name, connections}, cost))
	}
	return all
}

func (r *report) target(text, bound string, measured []float64, limit float64, upper bool) {
	verdict := "met"
	if upper && slices.Max(measured) > limit || !upper && slices.Min(measured) < limit {
		verdict = "MISSED"
	}
	fmt.Printf("%-66s %9s  %-24s %s\n", text, bound, list(measured), verdict)
}

func list(figures []float64) string {
	var text []string
	for _, figure := range figures {
		text = append(text, fmt.Sprintf("%.2f", figure))
	}
	return strings.Join(text, "  ")
}

func duration(microseconds float64) string {
	if microseconds < 1000 {
		return fmt.Sprintf("%.0f µs", microseconds)
	}
	return fmt.Sprintf("%.2f ms", microseconds/1000)
}

func mebibytes(kibibytes int) string { return fmt.Sprintf("%.1f MiB", float64(kibibytes)/1024) }
