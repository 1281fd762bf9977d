package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
)

// lines is a writer that sends each line to a channel.
type lines struct {
	rest string
	each chan string
}

func newLines() *lines { return &lines{each: make(chan string, 1000)} }

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, whole := strings.Cut(l.rest, "\n")
		if !whole {
			return len(p), nil
		}
		l.each <- line
		l.rest = rest
	}
}

// TestQuotaWatch watches the quota while users are read, until it is interrupted.
func TestQuotaWatch(t *testing.T) {
	address, id, _ := serveSim(t)
	watch := func(args ...string) (out *lines, stop func() (code int, stderr string)) {
		out, errs := newLines(), &output{}
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, append([]string{"quota", "--watch", "--interval", "100ms", "--address", address}, args...), streams{out, errs})
		}()
		return out, func() (int, string) {
			interrupt()
			return <-done, errs.String()
		}
	}
	out, stop := watch("-o", "json")
	for asked := false; ; {
		var q struct {
			Held int
		}
		line := <-out.each
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if q.Held > 0 {
			break
		}
		if !asked {
			asked = true
			if code, _, stderr := runCommand(t, "get", id, "--address", address); code != 0 {
				t.Fatal(stderr)
			}
		}
	}
	if code, stderr := stop(); code != 0 || stderr != "" {
		t.Errorf("exit code %d when interrupted: %s", code, stderr)
	}

	out, stop = watch("-o", "table")
	if line := <-out.each; !strings.Contains(line, " available=") { // no terminal: a line for each message
		t.Errorf("it printed %s", line)
	}
	if code, stderr := stop(); code != 0 || stderr != "" {
		t.Errorf("exit code %d when interrupted: %s", code, stderr)
	}
}

func TestQuotaWatchFails(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address, _, _ := serveSim(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"interval too short", []string{"--address", address, "--interval=99ms"}, exitUsage, "--interval: want 100ms or more"},
		{"no answer", []string{"--address", silent.Addr().String(), "--timeout", "100ms"}, exitUnavailable, "no answer within 100ms"},
		{"nobody there", []string{"--address", "127.0.0.1:1"}, exitUnavailable, "UNAVAILABLE"},
	} {
		code, stdout, stderr := runCommand(t, append([]string{"quota", "--watch"}, tt.args...)...)
		if code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, %q, %q", tt.name, code, stdout, stderr)
		}
	}
}
