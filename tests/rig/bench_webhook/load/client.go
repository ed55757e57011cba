package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	answerDeadline = 30 * time.Second
	// Unmeasured requests at the start: buffers and heaps of the server reach their size.
	warmUp = 300 * time.Millisecond
)

// A client speaks to servers as an API server does.
type client struct {
	tls *tls.Config
}

// A sample is one measurement.
type sample struct {
	// Sorted.
	latencies []time.Duration
	elapsed   time.Duration
	cpu       time.Duration
}

// A connection sends one review again and again, under a new uid each time.
type connection struct {
	stream  *tls.Conn
	reader  *bufio.Reader
	answer  bytes.Buffer
	request []byte
	uid     []byte // the part of request to change
	count   uint64
	injects bool
}

func (c *client) connect(server *server, review []byte) (*connection, error) {
	stream, err := tls.Dial("tcp", server.address, c.tls)
	if err != nil {
		return nil, err
	}
	var request bytes.Buffer
	// The longest timeout there is: a server that gives up early would look cheap.
	fmt.Fprintf(&request, "POST /inject?timeout=30s HTTP/1.1\r\nHost: sideflame-webhook.sideflame.svc:443\r\n"+
		"User-Agent: kube-apiserver-admission\r\nContent-Length: %d\r\nAccept: application/json, */*\r\n"+
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n%s", len(review), review)
	at := bytes.Index(request.Bytes(), []byte(uid))
	return &connection{
		stream: stream, reader: bufio.NewReaderSize(stream, 64<<10), request: request.Bytes(),
		uid: request.Bytes()[at : at+len(uid)], injects: server.injects,
	}, nil
}

func (c *connection) close() { c.stream.Close() }

// ask sends the review and returns the time until the last byte of the answer, which it checks.
func (c *connection) ask() (time.Duration, error) {
	c.count++
	copy(c.uid, fmt.Appendf(nil, "%08x", uint32(c.count)))
	begun := time.Now()
	if err := c.stream.SetDeadline(begun.Add(answerDeadline)); err != nil {
		return 0, err
	}
	if _, err := c.stream.Write(c.request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, err
	}
	c.answer.Reset()
	if _, err := io.Copy(&c.answer, response.Body); err != nil {
		return 0, err
	}
	latency := time.Since(begun)
	answer := c.answer.Bytes()
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, c.uid) || !bytes.Contains(answer, []byte(`"allowed":true`)) ||
		bytes.Contains(answer, []byte(`"patch":`)) != c.injects {
		return 0, fmt.Errorf("wrong answer (a patch is expected: %t): %s %.2000s", c.injects, response.Status, answer)
	}
	return latency, nil
}

// checkPatch takes the last answer apart: the patch must add the sidecar.
func (c *connection) checkPatch() error {
	var review struct {
		Response struct{ UID, Patch, PatchType string }
	}
	if err := json.Unmarshal(c.answer.Bytes(), &review); err != nil {
		return err
	}
	patch, err := base64.StdEncoding.DecodeString(review.Response.Patch)
	if err != nil {
		return err
	}
	var operations []struct{ Op, Path string }
	if err := json.Unmarshal(patch, &operations); err != nil {
		return err
	}
	if review.Response.PatchType != "JSONPatch" || review.Response.UID != string(c.uid) ||
		!bytes.Contains(patch, []byte(`"name":"sideflame"`)) || !bytes.Contains(patch, []byte("sideflame-store")) {
		return fmt.Errorf("the patch does not add container and volume: %s %s", c.answer.Bytes(), patch)
	}
	return nil
}

// measure loads the server over that many connections. CPU time and requests cover the same span: from when nothing
// is under way to when nothing is under way.
func (c *client) measure(server *server, pod pod, connections int, length time.Duration) (sample, error) {
	review := pod.review(server.injects)
	open := make([]*connection, 0, connections)
	defer func() {
		for _, connection := range open {
			connection.close()
		}
	}()
	for range connections {
		connection, err := c.connect(server, review)
		if err != nil {
			return sample{}, server.failure(err)
		}
		open = append(open, connection)
	}
	if _, err := askAll(open, warmUp); err != nil {
		return sample{}, server.failure(err)
	}
	if server.injects {
		if err := open[0].checkPatch(); err != nil {
			return sample{}, err
		}
	}
	before, err := server.cpu()
	if err != nil {
		return sample{}, err
	}
	begun := time.Now()
	latencies, err := askAll(open, length)
	if err != nil {
		return sample{}, server.failure(err)
	}
	elapsed := time.Since(begun)
	after, err := server.cpu()
	return sample{latencies: latencies, elapsed: elapsed, cpu: after - before}, err
}

// askAll asks on all connections for that long and returns the latencies, sorted.
func askAll(open []*connection, length time.Duration) ([]time.Duration, error) {
	var group sync.WaitGroup
	all := make([][]time.Duration, len(open))
	failures := make([]error, len(open))
	end := time.Now().Add(length)
	for i, connection := range open {
		group.Go(func() {
			for time.Now().Before(end) {
				latency, err := connection.ask()
				if err != nil {
					failures[i] = err
					return
				}
				all[i] = append(all[i], latency)
			}
		})
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	latencies := slices.Concat(all...)
	slices.Sort(latencies)
	return latencies, nil
}
