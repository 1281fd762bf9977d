package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// watched is a server with its simulated Clerk, and what its callers have seen.
type watched struct {
	t       *testing.T
	users   clerkgatev1.UserServiceClient
	quota   clerkgatev1.QuotaServiceClient
	http    string // base URL of the server's probes
	clerk   string // ... of the simulator
	log     *output
	userIDs []string

	mu      sync.Mutex
	asked   map[string]int64                 // ids, by caller; guarded by mu
	refused map[string]map[string]int64      // wants, by reason and caller; guarded by mu
	sources map[clerkgatev1.ServedFrom]int64 // ids answered; guarded by mu
}

func watch(t *testing.T) *watched {
	address, _, log := serveSim(t, "--log-format", "json", "--quota", "1000/10s", "--upstream-timeout", "1m", "--breaker-open", "100ms", "--cache-ttl", "1h")
	w := &watched{t: t, log: log, asked: map[string]int64{}, refused: map[string]map[string]int64{}, sources: map[clerkgatev1.ServedFrom]int64{}}
	for _, l := range w.logged() {
		if strings.HasPrefix(l.Msg, "SIMULATED CLERK") {
			w.clerk = l.URL
		}
		if l.Msg == "serving" {
			w.http = "http://" + l.HTTP
		}
	}
	conn, err := leaktest.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	w.users, w.quota = clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	page, err := w.users.ListUsers(w.as("first"), &clerkgatev1.ListUsersRequest{PageSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Users {
		w.userIDs = append(w.userIDs, u.Id)
	}
	return w
}

// logLine is what the test reads of a line of the log.
type logLine struct{ Msg, URL, HTTP, Error string }

func (w *watched) logged() []logLine {
	var lines []logLine
	for text := range strings.Lines(w.log.String()) {
		var l logLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			w.t.Errorf("%v in %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

// as is the context of a caller's calls.
func (w *watched) as(caller string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(w.t.Context(), append([]string{"clerkgate-caller", caller}, more...)...)
}

// note takes down how a call for a number of wants has ended.
func (w *watched) note(caller string, wants int, err error) {
	if err == nil {
		return
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			w.noteReason(caller, wants, info.Reason)
			return
		}
	}
	w.t.Errorf("%s: %v", caller, err)
}

// refusals are the contract's reasons for which the server refuses calls.
var refusals = map[string]string{
	"QUEUE_FULL": "queue_full", "CALLER_OVER_QUOTA": "caller_queue_full", "DEADLINE_TOO_SHORT": "deadline_too_short",
	"CLERK_RATE_LIMITED": "rate_limited", "BREAKER_OPEN": "breaker_open", "CLERK_KEY_REJECTED": "key_rejected",
}

func (w *watched) noteReason(caller string, wants int, reason string) {
	if reason = refusals[reason]; reason == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused[reason] == nil {
		w.refused[reason] = map[string]int64{}
	}
	w.refused[reason][caller] += int64(wants)
}

// get looks users up, of Clerk itself unless a copy will do.
func (w *watched) get(ctx context.Context, caller string, copies bool, ids ...string) {
	// An id that is malformed keeps the call from failing as a whole, with one reason
	// for ids that have failed for several.
	req := &clerkgatev1.BatchGetUsersRequest{UserIds: append(slices.Clone(ids), "-malformed")}
	if !copies {
		req.MaxAge = durationpb.New(0)
	}
	resp, err := w.users.BatchGetUsers(ctx, req)
	w.note(caller, len(ids), err)
	w.mu.Lock()
	w.asked[caller] += int64(len(ids))
	for _, r := range resp.GetResults() {
		if r.Freshness != nil {
			w.sources[r.Freshness.ServedFrom]++
		}
	}
	w.mu.Unlock()
	for _, r := range resp.GetResults() {
		if e := r.GetError(); e != nil {
			w.noteReason(caller, 1, strings.TrimPrefix(e.Reason.String(), "ERROR_REASON_"))
		}
	}
}

func (w *watched) list(ctx context.Context, caller string) {
	_, err := w.users.ListUsers(ctx, &clerkgatev1.ListUsersRequest{PageSize: 3})
	w.note(caller, 1, err)
}

func (w *watched) count(ctx context.Context, caller string) {
	_, err := w.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{})
	w.note(caller, 1, err)
}

func (w *watched) stream(ctx context.Context, caller string) {
	stream, err := w.users.StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		w.note(caller, 1, err)
	}
}

// load has callers of both priorities make calls of all kinds at once.
func (w *watched) load(copies bool) {
	var calls sync.WaitGroup
	for n, caller := range []string{"web", "mail", "report"} {
		ctx := w.as(caller)
		if caller == "report" {
			ctx = w.as(caller, "clerkgate-priority", "batch")
		}
		calls.Go(func() { w.stream(ctx, caller) })
		calls.Go(func() {
			for range 5 {
				w.list(ctx, caller)
				w.count(ctx, caller)
			}
		})
		for g := range 4 {
			calls.Go(func() {
				for i := range 5 {
					at := 100*n + 20*g + i
					w.get(ctx, caller, copies, w.userIDs[at])
					w.get(ctx, caller, copies, w.userIDs[at:at+10]...)
					w.get(ctx, caller, copies, "user_nobody"+strconv.Itoa(at))
				}
			})
		}
	}
	calls.Wait()
}

// fault switches a fault of the simulator on.
func (w *watched) fault(f clerksim.Fault) {
	w.t.Helper()
	body, err := json.Marshal(f)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.Post(w.clerk+"/sim/faults", "application/json", bytes.NewReader(body))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		w.t.Fatalf("%+v: %v, %v", f, resp, err)
	}
	_ = resp.Body.Close()
}

func (w *watched) clearFaults() {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, w.clerk+"/sim/faults", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func (w *watched) read(url string) []byte {
	w.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// stats is what the simulator has counted.
func (w *watched) stats() (s clerksim.Stats) {
	w.t.Helper()
	if err := json.Unmarshal(w.read(w.clerk+"/sim/stats"), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// series are samples of /metrics by name and labels.
type series map[string]float64

// sum adds up the samples of a metric that have all the labels.
func (s series) sum(name string, labels ...string) (sum float64) {
	for sample, v := range s {
		matches := sample == name || strings.HasPrefix(sample, name+"{")
		for _, l := range labels {
			matches = matches && strings.Contains(sample, l)
		}
		if matches {
			sum += v
		}
	}
	return sum
}

// settled waits until nothing is under way, and returns the metrics of that moment.
func (w *watched) settled() series {
	w.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		s := series{}
		for line := range strings.Lines(string(w.read(w.http + "/metrics"))) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					w.t.Fatalf("%v in %s", err, line)
				}
				s[name] = v
			}
		}
		if s.sum("clerkgate_upstream_requests_in_flight")+s.sum("clerkgate_queue_wants") == 0 && s[`clerkgate_breaker_state{state="closed"}`] == 1 {
			return s
		}
		select {
		case <-again.C:
		case <-w.t.Context().Done():
			w.t.Fatal("it never settles")
		}
	}
}
