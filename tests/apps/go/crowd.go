package main

import (
	"fmt"
	"sync"
)

// order has a size class of its own.
type order struct {
	before *order
	fields [20]uint64
}

var lastOrder *order

//go:noinline
func forget(number uint64) {
	lastOrder = &order{before: lastOrder}
	lastOrder.fields[0] = number
}

// leak keeps 400,000 orders of 176 bytes.
func leak() {
	for number := range uint64(400_000) {
		forget(number)
	}
	fmt.Println("holds", 400_000, 400_000*176)
}

type shop struct {
	door sync.Mutex
	till chan struct{}
}

//go:noinline
func (s *shop) hold(held chan<- struct{}) {
	s.door.Lock()
	defer s.door.Unlock()
	held <- struct{}{}
	<-s.till
}

//go:noinline
func (s *shop) enter() {
	s.door.Lock()
	s.door.Unlock()
}

//go:noinline
func (s *shop) pay() { <-s.till }

// crowd is a goroutine that holds a mutex, one that waits for it, and guests that wait on a channel.
func crowd(guests int) {
	s := &shop{till: make(chan struct{})}
	held := make(chan struct{})
	go s.hold(held)
	<-held
	go s.enter()
	for range guests {
		go s.pay()
	}
}
