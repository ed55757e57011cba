//go:build nopprof

package main

import "log"

func startPprof() {}

func labels() { log.Fatal("labels are pprof's") }
