//go:build !nopprof

package main

import (
	"context"
	"runtime/pprof"
)

//go:noinline
func serve(x uint64, n int) uint64 { return spin(x, n) }

// labels serves three endpoints by one function, so that they are told apart by their label alone. What is set by hand holds for
// the goroutines that it starts, too.
func labels() {
	x := uint64(1)
	for i := 0; ; i++ {
		unit := int(5_000_000 * jitter(i))
		pprof.Do(context.Background(), pprof.Labels("endpoint", "/cart"), func(context.Context) { x = serve(x, 6*unit) })
		pprof.Do(context.Background(), pprof.Labels("endpoint", "/search", "tier", "gold"), func(context.Context) { x = serve(x, 3*unit) })
		done := make(chan uint64)
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("endpoint", "/health")))
		go func() { done <- serve(x, unit) }()
		x = <-done
		pprof.SetGoroutineLabels(context.Background())
		sink = x
	}
}
