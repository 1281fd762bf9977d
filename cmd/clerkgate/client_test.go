package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestClientCommands runs the commands against a server on simulated users.
func TestClientCommands(t *testing.T) {
	address, id, log := serveSim(t)
	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := runCommand(t, append(args, "--address", address)...)
		if code != want {
			t.Fatalf("%v: exit code %d, want %d: %s", args, code, want, stderr)
		}
		return stdout, stderr
	}

	stdout, _ := ask(0, "get", id, "--view", "full")
	var user struct {
		ID       string         `json:"id"`
		Metadata map[string]any `json:"public_metadata"`
		Private  map[string]any `json:"private_metadata"`
	}
	if err := json.Unmarshal([]byte(stdout), &user); err != nil || user.ID != id || user.Metadata == nil || user.Private == nil {
		t.Errorf("%v in %s", err, stdout)
	}
	if stdout, _ = ask(0, "get", id); strings.Contains(stdout, "private_metadata") {
		t.Errorf("BASIC shows private metadata: %s", stdout)
	}
	stdout, stderr := ask(exitInvalid, "get", id, "user_none", "../organizations", id)
	if strings.Count(stdout, "\n") != 2 || !strings.Contains(stderr, "user_none: NOT_FOUND (USER_NOT_FOUND)") ||
		!strings.Contains(stderr, "../organizations: INVALID_ARGUMENT") {
		t.Errorf("stdout:\n%sstderr:\n%s", stdout, stderr)
	}
	if stdout, _ = ask(0, "get", id, "-o", "table"); !strings.HasPrefix(stdout, "ID ") || !strings.Contains(stdout, id) {
		t.Errorf("table:\n%s", stdout)
	}

	for limit, want := range map[string]int{"--limit=0": 700, "--limit=600": 600, "--limit=3": 3} {
		stdout, _ = ask(0, "list", limit, "--order-by", "+created_at")
		seen := map[string]bool{}
		for line := range strings.Lines(stdout) {
			if err := json.Unmarshal([]byte(line), &user); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			seen[user.ID] = true
		}
		if len(seen) != want {
			t.Errorf("%s: %d users, want %d", limit, len(seen), want)
		}
	}
	if stdout, _ = ask(0, "list", "--filter", "user_ids="+id, "-o", "table"); strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, id) {
		t.Errorf("filtered:\n%s", stdout)
	}
	if _, stderr = ask(exitInvalid, "list", "--order-by", "shoe_size"); !strings.Contains(stderr, "INVALID_ARGUMENT (INVALID_ARGUMENT): order_by") {
		t.Errorf("order: %s", stderr)
	}
	if stdout, _ = ask(0, "count"); stdout != "700\n" {
		t.Errorf("count: %s", stdout)
	}
	if stdout, _ = ask(0, "count", "-o", "json", "--filter", "user_ids="+id); !strings.Contains(stdout, `"total_count": 1,`) {
		t.Errorf("count: %s", stdout)
	}
	if stdout, _ = ask(0, "quota"); !strings.Contains(stdout, "100 requests per 10 s") || !strings.Contains(stdout, "clerkgate-cli") {
		t.Errorf("quota:\n%s", stdout)
	}
	if text := log.String(); !strings.Contains(text, "SIMULATED CLERK") {
		t.Errorf("the log does not say that all is simulated:\n%s", text)
	}
}

func TestPrintJSON(t *testing.T) {
	u := &clerkgatev1.User{
		Id:                 "user_1",
		PublicMetadataJson: `{"big":12345678901234567890,"html":"<b>"}`,
		UnsafeMetadataJson: proto.String("not JSON"),
		OrganizationMemberships: []*clerkgatev1.OrganizationMembership{
			{Organization: &clerkgatev1.Organization{PublicMetadataJson: `[1]`}},
		},
	}
	var out bytes.Buffer
	if err := printJSON(&out, u, false); err != nil {
		t.Fatal(err)
	}
	want := `{"id":"user_1","has_image":false,"public_metadata":{"big":12345678901234567890,"html":"<b>"},"unsafe_metadata_json":"not JSON",`
	if !strings.HasPrefix(out.String(), want) || !strings.Contains(out.String(), `"public_metadata":[1]`) {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestTableHoldsNoControlCharacters(t *testing.T) {
	name := "evil\x1b[2J\u009b\n"
	var out bytes.Buffer
	p, err := newUserPrinter(&out, outputFlag{Output: "table"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.write(&clerkgatev1.User{Id: "user_1", FirstName: &name}); err != nil {
		t.Fatal(err)
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%q", out.String())
	}
}

func TestPrintQuota(t *testing.T) {
	now := time.Unix(1000, 0)
	q := &clerkgatev1.Quota{
		Limit: 100, Window: durationpb.New(10 * time.Second), Burst: 200, Available: 1, EffectiveLimit: 95, Held: 4, InFlight: 2,
		PausedUntil: timestamppb.New(now.Add(3 * time.Second)),
		Upstream:    &clerkgatev1.UpstreamQuota{Limit: 100, Remaining: 6, ObserveTime: timestamppb.New(now.Add(-time.Second))},
		Queue:       &clerkgatev1.Queue{Interactive: &clerkgatev1.QueueLevel{Depth: 5, OldestWait: durationpb.New(time.Second)}},
		Breaker:     &clerkgatev1.Breaker{State: clerkgatev1.Breaker_STATE_HALF_OPEN, TimesOpened: 1},
	}
	used := &clerkgatev1.GetUsageResponse{Callers: []*clerkgatev1.Caller{{Lookups: 3, UpstreamShare: 1.5}}}
	var out bytes.Buffer
	if err := printQuota(&out, q, used, now); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"100 requests per 10 s", "200 requests", "1 of 95 now", "a token bucket holds none; 2 requests are in flight", "for 3.0 s more",
		"6 of 100 left, 1.0 s ago", "5 wait, the oldest for 1.0 s", "nothing waits", "half_open, opened 1 time\n", "1.5"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is missing in\n%s", part, out.String())
		}
	}
}

// TestSimCommand asks the lone simulator over TLS, trusting what it wrote.
func TestSimCommand(t *testing.T) {
	cert := filepath.Join(t.TempDir(), "cert.pem")
	out, errs := &output{first: make(chan string, 1), shows: true}, &output{}
	line := out.first
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sim", "--listen", "127.0.0.1:0", "--users", "5", "--tls", "--tls-cert-file", cert}, streams{out, errs})
	}()
	fields := strings.Fields(<-line)
	url := fields[len(fields)-1]
	pool, err := rootCAs("clerk-ca-file", cert)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true})}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+simulatedKey)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
	client.CloseIdleConnections()
	stop()
	if code := <-done; code != 0 || !strings.Contains(errs.String(), "SIMULATED") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
