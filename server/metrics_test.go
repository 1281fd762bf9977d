package server_test

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// scrape returns the body of /metrics.
func (l *line) scrape(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(l.httpURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", resp.Status, err, text)
	}
	return string(text)
}

// TestMetricsAgreeWithClerk reads users until Clerk answers 429: the metrics equal what
// the simulator has counted and what the callers have seen.
func TestMetricsAgreeWithClerk(t *testing.T) {
	l := startLine(t, clerksim.Config{Users: 600, Quota: clerksim.Quota{Limit: 4, Window: time.Hour}}, quota.Config{Limit: 1000, Window: time.Hour})
	ids := l.sim.UserIDs(600)
	get := func(ctx context.Context, id string) error {
		_, err := l.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id})
		return err
	}
	for range 3 { // twice from memory
		if err := get(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{ids[1], ids[2], "user_none"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{PageSize: 5}); err != nil {
		t.Fatal(err)
	}
	// Refused at once, since Clerk asks for a longer pause.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := get(ctx, ids[9]); failureOf(err) != "ResourceExhausted CLERK_RATE_LIMITED" {
		t.Fatal(err)
	}

	text := l.scrape(t)
	got := map[string]string{}
	for sample := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(sample), " ")
		got[name] = value
	}
	stats := l.sim.Stats()
	handled := func(method, code string) string {
		return `grpc_server_handled_total{grpc_code="` + code + `",grpc_method="` + method + `",grpc_service="clerkgate.v1.UserService",grpc_type="unary"}`
	}
	for name, want := range map[string]int64{
		`clerkgate_upstream_requests_total{endpoint="lookup",outcome="ok"}`:           2,
		`clerkgate_upstream_requests_total{endpoint="lookup",outcome="rate_limited"}`: 1,
		`clerkgate_upstream_requests_total{endpoint="probe",outcome="rate_limited"}`:  1, // which shows whose it is
		`clerkgate_upstream_requests_total{endpoint="list",outcome="ok"}`:             1,
		`clerkgate_upstream_requests_total{endpoint="count",outcome="ok"}`:            1,
		"clerkgate_upstream_requests_in_flight":                                       0,
		"clerkgate_rate_limited_total":                                                stats.RateLimited,
		"clerkgate_upstream_ids_total":                                                stats.IDs - 1, // one got a 429
		`clerkgate_lookups_total{served_from="upstream"}`:                             stats.IDs - 1,
		`clerkgate_lookups_total{served_from="memory"}`:                               2,
		`clerkgate_retries_total{reason="no_answer"}`:                                 0,
		`clerkgate_refused_total{reason="rate_limited"}`:                              1,
		"clerkgate_quota_paused":                                                      1,
		`clerkgate_breaker_state{state="closed"}`:                                     1,
		`clerkgate_queue_wants{priority="batch"}`:                                     0,
		handled("GetUser", "OK"):                                                      3,
		handled("GetUser", "ResourceExhausted"):                                       1,
		handled("BatchGetUsers", "OK"):                                                1,
		`clerkgate_lookups_total{served_from="redis"}`:                                0,
	} {
		if got[name] != strconv.FormatInt(want, 10) {
			t.Errorf("%s is %q, want %d", name, got[name], want)
		}
	}
	if stats.RateLimited != 2 || stats.Requests != 6 {
		t.Errorf("the simulator has counted %d requests and %d answers of 429", stats.Requests, stats.RateLimited)
	}
	if strings.Contains(text, lineKey) {
		t.Error("the metrics show the secret key")
	}
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool (Debian: apt-get install prometheus): %v\n%s", err, out)
	}
}
