//go:build nopprof

package main

func startPprof() {}
