package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// TestClientFlags uses each flag of the commands that call a server, rightly and
// wrongly, and checks that none is left out of the table.
func TestClientFlags(t *testing.T) {
	address, id, _ := serveSim(t, "--full-view", "none")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	connection := []string{"--address", "--timeout", "--tls", "--ca-file", "--cert-file", "--key-file", "--token-file"}
	type use struct {
		args string // with ID for an id and DIR for a directory
		code int
	}
	table := map[string][]use{
		"get": {{"ID --view basic", 0}, {"ID --view full", exitDenied}, {"ID --view all", exitUsage}, {"ID --output csv --columns id,name", 0}, {"ID --output xml", exitUsage},
			{"ID --columns id", exitUsage}, {"ID -o csv --columns shoe_size", exitUsage}, {"ID --max-age 0s", 0}, {"ID --max-age=-1s", exitUsage}, {"user_none", exitNotFound}, {"../x", exitInvalid}, {"", exitUsage}},
		"list": {{"--limit 2", 0}, {"--limit=-1", exitUsage}, {"--view full", exitDenied}, {"--view basic", 0}, {"--filter banned=true", 0}, {"--filter banned", exitUsage},
			{"--order-by=-last_sign_in_at --output csv --columns id", 0}, {"--order-by shoe_size", exitInvalid}, {"--output xml", exitUsage}, {"--columns id", exitUsage}},
		"count": {{"", 0}, {"--filter banned=true --output json", 0}, {"--filter banned=perhaps", exitUsage}, {"--output csv", exitUsage}, {"--filter excluded_user_ids=ID", exitInvalid}},
		"export": {{"--file DIR/1 --output csv --columns id --quiet --retry-for 0s", 0}, {"--file DIR/1", exitUsage}, {"--file DIR/1 --overwrite", 0}, {"--file DIR/2 --resume", 0}, {"--resume", exitUsage},
			{"--overwrite", exitUsage}, {"--view full", exitDenied}, {"--view basic --filter banned=true --since 2026-01-31", 0}, {"--since monday", exitUsage}, {"--retry-for=-1s", exitUsage}, {"--output table", exitUsage},
			{"--columns id", exitUsage}, {"--file DIR/none/1", exitUsage}},
		"invalidate": {{"ID", 0}, {"../x", exitInvalid}, {"", exitUsage}},
		"quota":      {{"", 0}, {"--output json", 0}, {"--output csv", exitUsage}, {"--watch --interval 99ms", exitUsage}},
		"whoami":     {{"", 0}, {"--output json", 0}, {"--output csv", exitUsage}},
		"health":     {{"--service clerk", 0}, {"--skip-verify", exitUnavailable}, {"--service none", exitUsage}, {"--output json", 0}, {"--output csv", exitUsage}},
	}
	everywhere := []use{{"--address nowhere://x", exitUsage}, {"--timeout 0s", exitUsage}, {"--token-file DIR/token", 0}, {"--token-file DIR/none", exitUsage},
		{"--ca-file DIR/none", exitUsage}, {"--cert-file DIR/none", exitUsage}, {"--key-file DIR/none", exitUsage}, {"--tls", exitUnavailable}, {"--address 127.0.0.1:1", exitUnavailable}, {"--no-such-flag", exitUsage}}
	needs := map[string]string{"get": "ID", "invalidate": "ID", "export": "--retry-for 0s", "list": "--limit 1"}
	for _, command := range modelOf(t).Leaves(true) {
		if !slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Name == "address" }) {
			continue
		}
		name := command.Path()
		name = name[strings.LastIndex(name, " ")+1:]
		uses, used := table[name], slices.Clone(connection)
		for _, u := range everywhere {
			uses = append(uses, use{needs[name] + " " + u.args, u.code})
		}
		for _, u := range uses {
			args := append([]string{name}, strings.Fields(strings.NewReplacer("ID", id, "DIR", dir).Replace(u.args))...)
			for _, arg := range args {
				flag, _, _ := strings.Cut(arg, "=")
				used = append(used, flag)
			}
			if !slices.Contains(args, "--address") {
				args = append(args, "--address", address)
			}
			code, stdout, stderr := runCommand(t, args...)
			if code != u.code || code == exitUsage && (stdout != "" || strings.Count(stderr, "\n") != 1) {
				t.Errorf("%v: exit code %d, want %d: %.300s%.300s", args, code, u.code, stdout, stderr)
			}
		}
		for _, f := range command.Flags {
			if f.Name != "help" && !slices.Contains(used, "--"+f.Name) {
				t.Errorf("%s: the table does not use --%s", name, f.Name)
			}
		}
	}
}

// TestRefused: a call that would have to wait for the quota longer than its --timeout
// is refused, which has an exit code of its own.
func TestRefused(t *testing.T) {
	address, id, _ := serveSim(t, "--quota", "1/10m")
	for i, args := range [][]string{{"get", id, "--max-age", "0s"}, {"get", id, "--max-age", "0s"}, {"list"}, {"count"}, {"export", "--retry-for", "0s"}} {
		code, stdout, stderr := runCommand(t, append(args, "--address", address, "--timeout", "5s")...)
		if i == 0 {
			if code != 0 {
				t.Fatalf("%v: exit code %d: %s", args, code, stderr)
			}
			continue
		}
		if code != exitRefused || stdout != "" || !strings.Contains(stderr, "RESOURCE_EXHAUSTED (DEADLINE_TOO_SHORT)") || !strings.Contains(stderr, "retry in") {
			t.Errorf("%v: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
}

// TestOtherFlags is TestClientFlags of the commands that call no server. The settings of
// serve and config check are those of TestCheckAndServeAgree.
func TestOtherFlags(t *testing.T) {
	dir := t.TempDir()
	wrong := map[string][]string{
		"sim": {"--users 0", "--seed x", "--latency 5", "--jitter=-1s", "--quota-kind odd", "--quota-headers some", "--webhook-url x",
			"--webhook-delay 5", "--webhook-reorder x", "--webhook-repeat x", "--webhook-drop 2", "--webhook-forge=-1", "--listen 9099", "--quota many",
			"--burst=-1", "--key pk_test_x", "--tls=perhaps", "--tls-cert-file DIR/cert", "more"},
		"token new":     {"--not-after 90", "--not-after=-1h", "--output csv", "more"},
		"completion":    {"", "tcsh", "bash zsh"},
		"version":       {"--output csv", "more"},
		"config schema": {"more"},
	}
	right := map[string][]string{
		"token new":     {"", "--not-after 2160h --output json"},
		"completion":    {"bash", "zsh", "fish"},
		"version":       {"", "--output json"},
		"config schema": {""},
	}
	for name, all := range wrong {
		used := ""
		for _, args := range all {
			used += " " + args + " "
			code, stdout, stderr := runCommand(t, strings.Fields(strings.ReplaceAll(name+" "+args, "DIR", dir))...)
			if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s %s: exit code %d: %.300s%.300s", name, args, code, stdout, stderr)
			}
		}
		for _, args := range right[name] {
			if code, stdout, stderr := runCommand(t, strings.Fields(name+" "+args)...); code != 0 || stdout == "" {
				t.Errorf("%s %s: exit code %d: %.300s", name, args, code, stderr)
			}
		}
		for _, command := range modelOf(t).Leaves(true) {
			if !strings.HasSuffix(command.Path(), " "+name) {
				continue
			}
			for _, f := range command.Flags {
				if f.Name != "help" && !strings.Contains(used, "--"+f.Name) {
					t.Errorf("%s: the table does not use --%s", name, f.Name)
				}
			}
		}
	}

	// All of sim's flags at once, rightly.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs output
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, strings.Fields("sim --users 2 --seed 7 --latency 1ms --jitter 1ms --quota-kind sliding --quota-headers all --webhook-delay 1ms "+
			"--webhook-reorder 1ms --webhook-repeat 1 --webhook-drop 0.5 --webhook-forge 0 --listen 127.0.0.1:0 --quota 50/10s --key sk_test_made_up "+
			"--tls --tls-cert-file "+filepath.Join(dir, "cert")), streams{&out, &errs})
	}()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(out.String()+errs.String(), "127.0.0.1:"); {
		if time.Now().After(deadline) {
			t.Fatalf("sim does not listen: %s", errs.String())
		}
		time.Sleep(10 * time.Millisecond) // a real listener: nothing here to wait on
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("sim ended with %d: %s", code, errs.String())
	}
}

// TestIDsFromStandardInput: blank lines are skipped, and each batch is a call.
func TestIDsFromStandardInput(t *testing.T) {
	address, id, _ := serveSim(t)
	for _, tt := range []struct {
		name, input, command string
		code, lines          int
	}{
		{"ids", strings.Repeat(id+"\n\n", 250), "get", 0, 250},
		{"the last line without an end", id, "get", 0, 1},
		{"nothing", "", "get", 0, 0},
		{"one is missing", id + "\nuser_none\n", "get", exitNotFound, 1},
		{"a line too long", id + "\n" + strings.Repeat("x", 5000), "get", exitUsage, 1},
		{"invalidate", id + "\n", "invalidate", 0, 0},
	} {
		var out, errs output
		code := runWith(t.Context(), []string{tt.command, "-", "--address", address}, stdin{strings.NewReader(tt.input)}, streams{&out, &errs})
		if code != tt.code || strings.Count(out.String(), "\n") != tt.lines {
			t.Errorf("%s: exit code %d, %d lines: %s", tt.name, code, strings.Count(out.String(), "\n"), &errs)
		}
	}
}
