package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server that does not answer by then will not.
const startDeadline = 10 * time.Second

// Below the ports that the kernel gives to clients.
const firstPort = 20000

// A program is a webhook server to measure.
type program struct {
	name string
	// Every "{address}" becomes an address of its own; the first one is for reviews.
	command []string
	// Whether the pods sent to it ask for injection; a patch is expected exactly then.
	injects bool
}

// A launcher starts programs on one CPU.
type launcher struct {
	cpu, work string
	// An IP address that nothing else on this machine uses, and the last port that a server there was given.
	ip      string
	port    int
	client  *client
	started int
}

// A server is a running program.
type server struct {
	program
	client  *client
	address string
	process *exec.Cmd
	log     string
	begun   time.Time
	exited  chan struct{}
}

func (l *launcher) start(program program) (*server, error) {
	command := []string{"-c", l.cpu}
	address := ""
	for _, argument := range program.command {
		if argument == "{address}" {
			l.port++
			if argument = net.JoinHostPort(l.ip, strconv.Itoa(l.port)); address == "" {
				address = argument
			}
		}
		command = append(command, argument)
	}
	l.started++
	path := filepath.Join(l.work, fmt.Sprintf("server-%d.log", l.started))
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	process := exec.Command("taskset", command...)
	process.Stdout, process.Stderr = log, log
	// Nothing that leads to an API server; a Go program gets as many threads as it has CPUs.
	process.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.work, "GOMAXPROCS=1"}
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	if err := process.Start(); err != nil {
		return nil, err
	}
	s := &server{program: program, client: l.client, address: address, process: process, log: path, begun: begun,
		exited: make(chan struct{})}
	go func() {
		process.Wait()
		close(s.exited)
	}()
	return s, nil
}

// waitReady returns the time from exec to the first answer.
func (s *server) waitReady(pod pod) (time.Duration, error) {
	review := pod.review(s.injects)
	for {
		connection, err := s.client.connect(s, review)
		if err == nil {
			_, err = connection.ask()
			ready := time.Since(s.begun)
			connection.close()
			if err != nil {
				return 0, s.failure(err)
			}
			return ready, nil
		}
		if err := s.pause(err); err != nil {
			return 0, err
		}
	}
}

func (s *server) waitConnectable() error {
	for {
		connection, err := net.Dial("tcp", s.address)
		if err == nil {
			return connection.Close()
		}
		if err := s.pause(err); err != nil {
			return err
		}
	}
}

// pause waits a moment after err, or says that there is nothing to wait for.
func (s *server) pause(err error) error {
	select {
	case <-s.exited:
		return s.failure(fmt.Errorf("it exited: %v", s.process.ProcessState))
	case <-time.After(200 * time.Microsecond):
	}
	if time.Since(s.begun) > startDeadline {
		return s.failure(fmt.Errorf("not ready after %v: %w", startDeadline, err))
	}
	return nil
}

func (s *server) failure(err error) error {
	log, _ := os.ReadFile(s.log)
	return fmt.Errorf("%s: %w\n%s", strings.TrimSpace(s.name), err, log[max(0, len(log)-2000):])
}

func (s *server) stop() {
	// Killed, as there is nothing to save.
	s.process.Process.Kill()
	<-s.exited
}

// cpu returns the time spent so far, user and kernel.
func (s *server) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	if err != nil {
		return 0, s.failure(err)
	}
	// After the name, which may hold anything, utime and stime are the 12th and 13th field, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// memory returns VmRSS or VmHWM in KiB.
func (s *server) memory(key string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		return 0, s.failure(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == key+":" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("no %s in /proc/PID/status", key)
}
