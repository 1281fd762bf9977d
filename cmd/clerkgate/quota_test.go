package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/leaktest"
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

// TestQuotaShowsLimitsOfCallers: quota shows the limits and guarantees of callers, and what is
// used of them, in both of its forms, and only to a caller that may call GetUsage.
func TestQuotaShowsLimitsOfCallers(t *testing.T) {
	dir, text := t.TempDir(), "callers:\n- "+leaktest.Viewer()+"\n"
	as := func(name string) []string { return []string{"--token-file", filepath.Join(dir, name)} }
	for name, allow := range map[string]string{
		"operator": "methods: [GetQuota, GetUsage]", "looker": "methods: [GetQuota]",
		"billing": "methods: [CountUsers], max_requests: 2/24h, guaranteed: 20%",
	} {
		token := caller.NewToken()
		text += fmt.Sprintf("- {name: %s, identity: {tokens: [{sha256: %s}]}, allow: {%s}}\n", name, caller.HashToken(token), allow)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "callers.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _, _ := serveSim(t, "--callers-file", file)
	for i, want := range []int{0, 0, exitRefused} {
		if code, _, stderr := runCommand(t, append([]string{"count", "--address", address}, as("billing")...)...); code != want {
			t.Fatalf("count %d: exit code %d: %s", i, code, stderr)
		}
	}
	table := append([]string{"quota", "--address", address}, as("operator")...)
	code, stdout, stderr := runCommand(t, table...)
	if want := regexp.MustCompile(`(?m)^billing +0 +2\.0 +0 +0 +1 +20% +- +2/24h, 2 of 2 used$`); code != 0 || !want.MatchString(stdout) {
		t.Errorf("exit code %d, no line as %s in\n%s%s", code, want, stdout, stderr)
	}
	code, stdout, stderr = runCommand(t, append(table, "-o", "json")...)
	var got struct {
		Limit int
		Usage struct {
			Callers []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	want := map[string]any{
		"name": "billing", "lookups": 0., "upstream_share": 2., "queued": 0., "refused": 0., "over_limit": 1., "guaranteed_percent": 20.,
		"max_requests": map[string]any{"count": 2., "window": "86400s"}, "requests_bucket": map[string]any{"size": 2., "available": 0.},
	}
	if diff := cmp.Diff([]map[string]any{want}, got.Usage.Callers); got.Limit == 0 || diff != "" {
		t.Errorf("as JSON, a limit of %d, callers (-want +got):\n%s", got.Limit, diff)
	}
	for _, form := range []string{"table", "json"} {
		code, stdout, stderr := runCommand(t, append([]string{"quota", "--address", address, "-o", form}, as("looker")...)...)
		if code != 0 || strings.Contains(stdout, "billing") || strings.Contains(stdout, "usage") {
			t.Errorf("%s, for a caller without GetUsage: exit code %d\n%s%s", form, code, stdout, stderr)
		}
	}
}
