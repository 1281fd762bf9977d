package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" { // the test binary stands in for clerkgate
		os.Unsetenv(asCommand)
		main()
	}
	// The caller's own settings must not change what is tested.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "CLERK") || strings.HasPrefix(name, "OTEL") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("CLERKGATE_DRAIN_DELAY", "0s") // nobody has to turn away from these servers
	// With sentinels, rueidis waits up to a second before it looks at them again.
	goleak.VerifyTestMain(leaktest.Run(m, leaktest.Log, leaktest.Error, leaktest.Answer, leaktest.HTTP, leaktest.Span),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// asCommand is the variable that makes the test binary run as clerkgate.
const asCommand = "TEST_AS_COMMAND"

// command returns a process of clerkgate, for what can't be tested inside this one.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// secret is a key that no output may hold.
const secret = "sk_test_donotshowme"

// output is a writer that sends its first line to a channel.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer // guarded by mu
	first chan string  // gets the first line
	shows bool         // secrets, on purpose
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.shows {
		leaktest.Saw(leaktest.Log, string(p))
	}
	o.buf.Write(p)
	if line, _, whole := strings.Cut(o.buf.String(), "\n"); whole && o.first != nil {
		o.first <- line
		o.first = nil
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// runCommand runs a command to its end.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	out.shows = len(args) > 1 && args[0] == "token" && args[1] == "new"
	code = run(t.Context(), args, streams{&out, &errs})
	if all := out.String() + errs.String(); strings.Contains(all, secret) {
		t.Errorf("%v shows the key:\n%s", args, all)
	}
	return code, out.String(), errs.String()
}

// serveSim runs `serve --sim` until the test ends. It returns the gRPC
// address, the id of a user, and the log.
func serveSim(t *testing.T, args ...string) (address, id string, log *output) {
	t.Helper()
	out, log := &output{first: make(chan string, 1)}, &output{}
	line := out.first
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	all := []string{"serve", "--sim"}
	for _, f := range [][2]string{
		{"--sim-users", "700"}, {"--sim-latency", "0s"}, {"--sim-jitter", "0s"}, {"--log-level", "debug"}, {"--grpc-listen", "127.0.0.1:0"}, {"--http-listen", "127.0.0.1:0"},
	} {
		if !slices.Contains(args, f[0]) {
			all = append(all, f[0], f[1])
		}
	}
	args = append(all, args...)
	go func() { done <- run(ctx, args, streams{out, log}) }()
	t.Cleanup(func() {
		lookAt(t, log.String())
		stop()
		if code := <-done; code != 0 {
			t.Errorf("serve ended with %d:\n%s", code, log)
		}
	})
	select {
	case l := <-line:
		fields := strings.Fields(l)
		if len(fields) != 6 || fields[0] != "grpcurl" || fields[5] != "clerkgate.v1.UserService/GetUser" {
			t.Fatalf("no grpcurl line: %s", l)
		}
		var req struct {
			UserID string `json:"user_id"`
		}
		if err := json.Unmarshal([]byte(strings.Trim(fields[3], "'")), &req); err != nil {
			t.Fatal(err)
		}
		return fields[4], req.UserID, log
	case code := <-done:
		done <- code
		t.Fatalf("serve ended with %d:\n%s", code, log)
		return "", "", nil
	}
}

// servingHTTP matches the address of the HTTP listener in a log in either format.
var servingHTTP = regexp.MustCompile(`\bhttp(?:=|":")(127\.0\.0\.1:\d+)`)

// lookAt has leaktest see the metrics and the page of a server, by its log.
func lookAt(t *testing.T, log string) {
	t.Helper()
	if at := servingHTTP.FindStringSubmatch(log); at != nil {
		if refused := leaktest.Pages("http://"+at[1], "https://"+at[1]); refused != nil {
			t.Errorf("not looked at: %v", refused)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want []string // parts of the one line
	}{
		{"no key", nil, []string{"serve"}, []string{"CLERK_SECRET_KEY", "--clerk-secret-key-file", "--sim"}},
		{"no such command", nil, []string{"sevre"}, []string{"sevre"}},
		{"publishable key", map[string]string{"CLERK_SECRET_KEY": "pk_test_x"}, []string{"serve"}, []string{"CLERK_SECRET_KEY", "publishable"}},
		{"key file that is missing", nil, []string{"serve", "--clerk-secret-key-file", dir + "/none"}, []string{"--clerk-secret-key-file", "none"}},
		{"key in the file", nil, []string{"serve", "--config", file("key.yaml", "clerk-secret-key: "+secret)}, []string{"--config", "line 1", `"clerk-secret-key"`}},
		{"key as a quota", map[string]string{"CLERKGATE_QUOTA": secret}, []string{"serve", "--sim"}, []string{"--quota", "250/10s"}},
		{"key as a number", map[string]string{"CLERKGATE_BURST": secret}, []string{"serve", "--sim"}, []string{"--burst", "whole number"}},
		{"key as a flag", nil, []string{"serve", "--sim", "--log-level", secret}, []string{"--log-level"}},
		{"duration", nil, []string{"serve", "--sim", "--drain-timeout", "10"}, []string{"--drain-timeout", "duration"}},
		{"delay below zero", nil, []string{"serve", "--sim", "--drain-delay=-1s"}, []string{"--drain-delay", "0 or more"}},
		{"duration of zero", nil, []string{"serve", "--sim", "--upstream-timeout", "0s"}, []string{"--upstream-timeout", "above 0"}},
		{"request that takes too long", nil, []string{"serve", "--sim", "--upstream-timeout", "101s"}, []string{"--upstream-timeout", "1m40s"}},
		{"reads without Redis", nil, []string{"serve", "--sim", "--without-redis", "stale"}, []string{"--without-redis", "strict", "available"}},
		{"encryption key that is missing", nil, []string{"serve", "--sim", "--redis-url", "redis://127.0.0.1:1", "--cache-encryption-key-file", dir + "/none"}, []string{"--cache-encryption-key-file", "none"}},
		{"encryption key that is short", nil, []string{"serve", "--sim", "--redis-url", "redis://127.0.0.1:1", "--cache-encryption-key-file", file("short.key", "k1 "+secret)}, []string{"--cache-encryption-key-file", "line 1", "32 bytes"}},
		{"encryption without Redis", nil, []string{"serve", "--sim", "--cache-encryption-key-file", dir + "/none"}, []string{"--cache-encryption-key-file", "--redis-url"}},
		{"number", nil, []string{"serve", "--sim", "--max-in-flight", "0"}, []string{"--max-in-flight", "1 or more"}},
		{"negative burst", nil, []string{"serve", "--sim", "--burst=-1"}, []string{"--burst", "0 or more"}},
		{"reserve without %", nil, []string{"serve", "--sim", "--quota-reserve", "30"}, []string{"--quota-reserve", "0% to 99%"}},
		{"leases of nothing", nil, []string{"serve", "--sim", "--max-leased", "0%"}, []string{"--max-leased", "1% to 100%"}},
		{"leases of more than all", nil, []string{"serve", "--sim", "--max-leased", "101%"}, []string{"--max-leased", "1% to 100%"}},
		{"reserve of all", nil, []string{"serve", "--sim", "--quota-reserve", "100%"}, []string{"--quota-reserve", "0% to 99%"}},
		{"reserve that is no number", nil, []string{"serve", "--sim", "--quota-reserve", "NaN%"}, []string{"--quota-reserve", "0% to 99%"}},
		{"pace", nil, []string{"serve", "--sim", "--pace", "fast"}, []string{"--pace", "auto", "always"}},
		{"first window", nil, []string{"serve", "--sim", "--first-window", "no"}, []string{"--first-window", "slow", "wait", "full"}},
		{"state directory beside Redis", nil, []string{"serve", "--sim", "--state-dir", dir, "--redis-url", "redis://127.0.0.1:1"}, []string{"--state-dir", "--redis-url"}},
		{"state directory that is missing", nil, []string{"serve", "--sim", "--state-dir", dir + "/none"}, []string{"--state-dir", "none"}},
		{"tracing", nil, []string{"serve", "--sim", "--tracing", "jaeger"}, []string{"--tracing", "off", "otlp"}},
		{"share of traces", nil, []string{"serve", "--sim", "--trace-sample", "10"}, []string{"--trace-sample", "0 to 1"}},
		{"share of traces that is no number", nil, []string{"serve", "--sim", "--trace-sample", "NaN"}, []string{"--trace-sample", "0 to 1"}},
		{"collector", map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": secret}, []string{"serve", "--sim", "--tracing", "otlp"}, []string{"--tracing", "OTEL_EXPORTER_OTLP_HEADERS", "name=value"}},
		{"queue of spans", map[string]string{"OTEL_BSP_MAX_QUEUE_SIZE": "-5"}, []string{"serve", "--sim", "--tracing", "otlp"}, []string{"--tracing", "OTEL_BSP_MAX_QUEUE_SIZE", "1 to 1000000"}},
		{"address", nil, []string{"serve", "--sim", "--grpc-listen", "9090"}, []string{"--grpc-listen", "host:port"}},
		{"address of HTTP", nil, []string{"serve", "--sim", "--http-listen", "none"}, []string{"--http-listen", "host:port", "or off"}},
		{"URL", map[string]string{"CLERK_SECRET_KEY": secret, "CLERK_API_URL": "ftp://x"}, []string{"serve"}, []string{"--clerk-api-url", "https://api.clerk.com"}},
		{"CA file", nil, []string{"serve", "--sim", "--clerk-ca-file", file("ca.pem", "no certificate")}, []string{"--clerk-ca-file", "PEM"}},
		{"simulated users", nil, []string{"serve", "--sim", "--sim-users", "0"}, []string{"--sim-users", "1 or more"}},
		{"simulated quota kind", nil, []string{"serve", "--sim", "--sim-quota-kind", "odd"}, []string{"--sim-", "odd", "sliding"}},
		{"no such setting in the file", nil, []string{"serve", "--config", file("unknown.yaml", "quota: 7/1s\nqouta: 8/1s\n")}, []string{"--config", "unknown.yaml", "line 2", `"qouta"`}},
		{"variable's name in the file", nil, []string{"serve", "--config", file("variable.yaml", "CLERKGATE_QUOTA: 7/1s\n")}, []string{"variable.yaml", "did you mean quota?"}},
		{"no name in the file", nil, []string{"serve", "--config", file("null.yaml", "quota: 7/1s\n~: x\n")}, []string{"--config", "null.yaml", "line 2", `"~"`}},
		{"whole number in hexadecimal", nil, []string{"serve", "--sim", "--burst", "0x10"}, []string{"--burst", "whole number", "0x10"}},
		{"one socket for two listeners", nil, []string{"serve", "--sim", "--grpc-listen", "unix:" + dir + "/x", "--http-listen", "unix://" + dir + "/./x"}, []string{"--http-listen", "another listener"}},
		{"a list in the file", nil, []string{"serve", "--config", file("list.yaml", "quota: [1]\n")}, []string{"--config", "list.yaml", "quota", "one value"}},
		{"twice in the file", nil, []string{"serve", "--config", file("twice.yaml", "quota: 1/1s\nquota: 2/1s\n")}, []string{"--config", "twice.yaml", "quota"}},
		{"no map in the file", nil, []string{"serve", "--config", file("scalar.yaml", "just text")}, []string{"--config", "scalar.yaml", "map"}},
		{"value in the file", nil, []string{"serve", "--sim", "--config", file("value.yaml", "queue-limit: many\n")}, []string{"--queue-limit", "many"}},
		{"file that is missing", map[string]string{"CLERKGATE_CONFIG": dir + "/none.yaml"}, []string{"serve", "--sim"}, []string{"--config", "none.yaml"}},
		{"simulator's quota", nil, []string{"sim", "--quota", "lots"}, []string{"--quota", "100/10s"}},
		{"simulator's address", nil, []string{"sim", "--users", "1", "--listen", "nowhere"}, []string{"--listen"}},
		{"certificate without TLS", nil, []string{"sim", "--tls-cert-file", dir + "/cert"}, []string{"--tls-cert-file", "--tls"}},
		{"no id", nil, []string{"get"}, []string{"<id>"}},
		{"filter", nil, []string{"list", "--filter", "shoe_size=9"}, []string{"--filter", "shoe_size", "email_address"}},
		{"time in a filter", nil, []string{"count", "--filter", "created_at_after=monday"}, []string{"--filter", "created_at_after", "2026-01-31T00:00:00Z"}},
		{"misspelt filter", nil, []string{"list", "--filter", "emial_addresses=a@b.c"}, []string{"--filter", "did you mean email_addresses?"}},
		{"filter without a value", nil, []string{"list", "--filter", "banned"}, []string{"--filter", "FIELD=VALUE"}},
		{"repeated filter of one value", nil, []string{"list", "--filter", "banned=true", "--filter", "banned=false"}, []string{"--filter", "banned", "twice"}},
		{"repeated filter in the environment", map[string]string{"CLERKGATE_FILTER": "query=a\nquery=b"}, []string{"count"}, []string{"--filter", "query", "twice"}},
		{"no time to wait", nil, []string{"count", "--timeout", "0s"}, []string{"--timeout", "above 0"}},
		{"time to wait in the past", nil, []string{"quota", "--watch", "--timeout=-1s"}, []string{"--timeout", "above 0"}},
		{"interval too short", nil, []string{"quota", "--interval", "1ms"}, []string{"--interval", "100ms"}},
		{"simulator's key", nil, []string{"sim", "--key", "pk_test_x"}, []string{"--key", "publishable", "sk_test_…"}},
		{"negative limit", nil, []string{"list", "--limit=-1"}, []string{"--limit"}},
		{"output", nil, []string{"list", "-o", "xml"}, []string{"--output", "json", "table"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			code, stdout, stderr := runCommand(t, tt.args...)
			if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
			}
			for _, part := range tt.want {
				if !strings.Contains(stderr, part) {
					t.Errorf("%q is missing in: %s", part, stderr)
				}
			}
		})
	}
}

// TestPrecedence asks the running server what it made of its settings.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clerkgate.yaml")
	if err := os.WriteFile(file, []byte("quota: 11/10s\nburst: 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		env   map[string]string
		args  []string
		limit int
		burst int
	}{
		{"default", nil, nil, 100, 0},
		{"file", nil, []string{"--config", file}, 11, 99},
		{"file named by the environment", map[string]string{"CLERKGATE_CONFIG": file}, nil, 11, 99},
		{"environment", map[string]string{"CLERKGATE_QUOTA": "22/10s"}, []string{"--config", file}, 22, 99},
		{"flag", map[string]string{"CLERKGATE_QUOTA": "22/10s"}, []string{"--config", file, "--quota", "33/10s"}, 33, 99},
		{"preset", nil, []string{"--quota", "free"}, 20, 40},
		{"preset with another burst", nil, []string{"--quota", "free", "--burst", "41"}, 20, 41},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			address, _, _ := serveSim(t, tt.args...)
			code, stdout, stderr := runCommand(t, "quota", "--address", address, "-o", "json")
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			var got struct{ Limit, Burst int }
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatal(err)
			}
			if got.Limit != tt.limit || got.Burst != tt.burst {
				t.Errorf("quota %d, burst %d, want %d and %d", got.Limit, got.Burst, tt.limit, tt.burst)
			}
		})
	}
}

func TestQuotaByKey(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte("sk_live_abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(secretKeyEnv, secret)
	for name, tt := range map[string]struct {
		cmd   serveCmd
		limit int
		key   string
	}{
		"test key":         {serveCmd{}, 100, secret},
		"live key, a file": {serveCmd{ClerkSecretKeyFile: keyFile}, 1000, "sk_live_abc"},
		"flag":             {serveCmd{ClerkSecretKeyFile: keyFile, Quota: "250/10s"}, 250, "sk_live_abc"},
		"simulated":        {serveCmd{Sim: true}, 100, simulatedKey},
	} {
		tt.cmd.UpstreamTimeout = 3 * time.Second
		tt.cmd.QuotaReserve, tt.cmd.MaxLeased = "30%", "50%"
		key, _, err := tt.cmd.key(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		q, err := tt.cmd.quotaConfig(key().Instance())
		if err != nil || q.Limit != tt.limit || q.Reserve != 0.3 || key().Secret() != tt.key {
			t.Errorf("%s: quota %+v, %v", name, q, err)
		}
		if q.LostHold != 6*time.Second {
			t.Errorf("%s: a lost answer holds its permit for %v, want twice the timeout", name, q.LostHold)
		}
	}
}

func TestServeWithKeyShowsNone(t *testing.T) {
	t.Setenv(secretKeyEnv, secret)
	out, log := &output{}, &output{}
	ctx, stop := context.WithCancel(t.Context())
	listening := make(chan string, 1)
	log.first = listening
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
			"--clerk-api-url", "http://127.0.0.1:1", "--log-level", "debug", "--log-format", "json"}, streams{out, log})
	}()
	var line struct {
		Msg  string
		GRPC string
		HTTP string
	}
	if err := json.Unmarshal([]byte(<-listening), &line); err != nil || line.Msg != "serving" {
		t.Fatalf("%v in %s", err, log)
	}
	code, _, stderr := runCommand(t, "get", "user_1", "--address", line.GRPC, "--timeout", "20s")
	// The command tries again, and may find the breaker open.
	reason := strings.Contains(stderr, "UNAVAILABLE (CLERK_UNAVAILABLE)") || strings.Contains(stderr, "UNAVAILABLE (BREAKER_OPEN)")
	if code != exitUnavailable || !reason || !strings.Contains(stderr, "retry in") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	resp, err := http.Get("http://" + line.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if text := string(metrics); err != nil || strings.Contains(text, secret) ||
		!strings.Contains(text, "clerkgate_quota_limit 100\n") || !strings.Contains(text, `grpc_code="Unavailable"`) {
		t.Errorf("the metrics show the key or lack the call: %v\n%s", err, text)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("serve ended with %d", code)
	}
	if all := out.String() + log.String(); strings.Contains(all, secret) || !strings.Contains(all, "stopped") {
		t.Errorf("the log shows the key or lacks its end:\n%s", all)
	}
}

func TestHelpAndVersion(t *testing.T) {
	code, stdout, stderr := runCommand(t, "serve", "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, part := range []string{"--upstream-timeout=10s", "$CLERKGATE_MAX_IN_FLIGHT", "$CLERK_API_URL", "--sim-users=10000", "$CLERKGATE_SIM_USERS", "CLERK_SECRET_KEY"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("the help lacks %s", part)
		}
	}
	for _, args := range [][]string{{"version"}, {"--version"}, {"-v"}, {"serve", "--version"}} {
		if code, stdout, stderr := runCommand(t, args...); code != 0 || stdout != versionLine()+"\n" || stderr != "" {
			t.Errorf("%v: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
	for _, args := range [][2][]string{{{"help"}, {"--help"}}, {{"help", "serve"}, {"serve", "--help"}}, {{"help", "config", "check"}, {"config", "check", "--help"}}} {
		code, stdout, stderr := runCommand(t, args[0]...)
		_, want, _ := runCommand(t, args[1]...)
		if code != 0 || stdout != want || want == "" || stderr != "" {
			t.Errorf("%v: exit code %d: %s%s", args[0], code, stdout, stderr)
		}
	}
	if _, stdout, _ := runCommand(t, "serve", "--help"); !strings.Contains(strings.Join(strings.Fields(stdout), " "), "Default: 256MiB. ($CLERKGATE_CACHE_MAX_BYTES)") || !strings.Contains(stdout, "\nSimulator\n") {
		t.Errorf("the help of serve lacks a default or a group: %s", stdout)
	}
	for _, group := range []string{"\nServer\n", "\nUsers\n", "\nState of a server\n"} {
		if _, stdout, _ := runCommand(t, "--help"); !strings.Contains(stdout, group) {
			t.Errorf("the help lacks the group %q: %s", group, stdout)
		}
	}
	if _, stdout, _ := runCommand(t, "--help"); !strings.Contains(strings.Join(strings.Fields(stdout), " "), "3 not found; 4 invalid arguments") {
		t.Errorf("the help lacks the exit codes: %s", stdout)
	}
}
