package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	secretKey     = "sk_test_benchquota"
	webhookSecret = "whsec_abcdabcdabcdabcdabcdabcdabcdabcd"
	// Time limits for a process to print its address, and to end.
	startLimit = 2 * time.Minute
	stopLimit  = 15 * time.Second
)

// process is a running command.
type process struct {
	address string // from its output
	out     *output
	cmd     *exec.Cmd
	end     context.CancelFunc
	ended   chan struct{}
}

// startProcess starts a program and waits until its output contains the address, which
// the group in the pattern matches. The process ends with ctx, or by stop.
func startProcess(ctx context.Context, binary string, address *regexp.Regexp, args ...string) (*process, error) {
	out := &output{pattern: address, found: make(chan string, 1)}
	ctx, end := context.WithCancel(ctx)
	//nolint:gosec // running it is what this program is for
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopLimit
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(cleanEnv(), "CLERK_SECRET_KEY="+secretKey, "CLERK_WEBHOOK_SIGNING_SECRET="+webhookSecret)
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		end()
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	p := &process{out: out, cmd: cmd, end: end, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended does not matter: if it should not have, the load on it fails
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case p.address = <-out.found:
		return p, nil
	case <-p.ended:
	case <-limit.C:
	case <-ctx.Done():
	}
	p.stop()
	return nil, fmt.Errorf("%s %s did not start: %s", binary, strings.Join(args, " "), out)
}

// stop terminates the process and waits until it has ended.
func (p *process) stop() {
	p.end()
	<-p.ended
}

// kill kills the process, like a crash, and waits until it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	p.stop()
}

// cleanEnv returns the environment without clerkgate's settings.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CLERK") {
			env = append(env, v)
		}
	}
	return env
}

// maxOutput is the maximum of kept output, in bytes.
const maxOutput = 16 << 10

// output receives a process's output and finds the address in it.
type output struct {
	pattern *regexp.Regexp
	found   chan string // receives the address; has room for one

	mu   sync.Mutex
	kept bytes.Buffer
	told bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept.Len() < maxOutput {
		o.kept.Write(p)
	}
	if o.told {
		return len(p), nil
	}
	if m := o.pattern.FindSubmatch(o.kept.Bytes()); m != nil {
		o.told = true
		o.found <- string(m[1])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.kept.String())
}
