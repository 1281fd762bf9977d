package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// keyed is a server whose key and settings are in files.
type keyed struct {
	t         *testing.T
	dir       string
	grpc      string
	http      string
	log       *output
	simulated *clerksim.Sim
}

// serveKeyed runs serve against a simulated Clerk with a key in a file, until the test ends.
func serveKeyed(t *testing.T, settings string) *keyed {
	t.Helper()
	k := &keyed{t: t, dir: t.TempDir(), log: &output{first: make(chan string, 1)}}
	var err error
	if k.simulated, err = clerksim.New(clerksim.Config{Users: 3}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	simDone, done := make(chan error, 1), make(chan int, 1)
	go func() { simDone <- k.simulated.Serve(ctx, listener, nil) }()
	k.write("key", "sk_test_first\n")
	if !strings.Contains(settings, "log-level") {
		settings += "log-level: debug\n" // leaktest sees all lines
	}
	k.write("settings.yaml", settings)
	first := k.log.first
	go func() {
		done <- run(ctx, []string{"serve", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--log-format=json", "--first-window=full",
			"--clerk-api-url=http://" + listener.Addr().String(), "--clerk-secret-key-file=" + k.path("key"), "--config=" + k.path("settings.yaml")},
			streams{io.Discard, k.log})
	}()
	t.Cleanup(func() {
		lookAt(k.t, k.log.String())
		stop()
		if code := <-done; code != 0 {
			t.Errorf("serve ended with %d:\n%s", code, k.log)
		}
		if err := <-simDone; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		if all := k.log.String(); strings.Contains(all, "sk_") {
			t.Errorf("the log shows a key:\n%s", all)
		}
	})
	var serving struct{ GRPC, HTTP string }
	var line string
	select {
	case line = <-first:
	case <-time.After(time.Minute):
		t.Fatal("serve says nothing")
	}
	if err := json.Unmarshal([]byte(line), &serving); err != nil {
		t.Fatalf("%v in %s", err, k.log)
	}
	k.grpc, k.http = serving.GRPC, "http://"+serving.HTTP
	return k
}

func (k *keyed) path(name string) string { return filepath.Join(k.dir, name) }

func (k *keyed) write(name, text string) {
	k.t.Helper()
	if err := os.WriteFile(k.path(name), []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// answer returns what a path of the HTTP listener answers.
func (k *keyed) answer(path string) (int, string) {
	k.t.Helper()
	resp, err := http.Get(k.http + path)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// within waits until it is so, for a minute at most.
func (k *keyed) within(what string, so func() bool) {
	k.t.Helper()
	ticks, end := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer ticks.Stop()
	for !so() {
		select {
		case <-ticks.C:
		case <-end:
			k.t.Fatalf("not so: %s. The log:\n%s", what, k.log)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"1048576": 1 << 20, "1048576B": 1 << 20, "1MiB": 1 << 20, "256Mi": 256 << 20, "256 MiB": 256 << 20, "2Gi": 2 << 30,
		"2048Ki": 2 << 20, "2M": 2e6, "2MB": 2e6, "3G": 3e9, "3000k": 3e6, "3000kB": 3e6,
	} {
		if got, err := parseBytes(text, 1<<20, maxBytes); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Mi", "1", "1KiB", "256m", "256mib", "-1MiB", "1.5GiB", "99999999999999999999", "9999999GiB", "1 M iB"} {
		if got, err := parseBytes(text, 1<<20, maxBytes); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestLogLevel(t *testing.T) {
	for text, want := range map[string]string{"debug": "debug", "INFO": "info", "warn": "warn", "warning": "warn", "Warning": "warn", "error": "error"} {
		var l logLevel
		if err := l.UnmarshalText([]byte(text)); err != nil || l.String() != want {
			t.Errorf("%q: %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"", "loud", "3", "info+1"} {
		if err := new(logLevel).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestBooleans checks the spellings that people use.
func TestBooleans(t *testing.T) {
	for _, text := range []string{"true", "1", "yes", "TRUE"} {
		t.Setenv("CLERKGATE_SIM", text)
		if code, _, stderr := runCommand(t, "config", "check"); code != 0 {
			t.Errorf("CLERKGATE_SIM=%s: %s", text, stderr)
		}
		file := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, "sim: %s\n", text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Unsetenv("CLERKGATE_SIM")
		if code, _, stderr := runCommand(t, "config", "check", "--config", file); code != 0 {
			t.Errorf("sim: %s: %s", text, stderr)
		}
	}
}
