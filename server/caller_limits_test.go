package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// TestGetUsageShowsLimits: GetUsage has the limits and the guarantee of each caller in the
// file, what is left of the limits, and what was refused because of them. The page has them,
// too.
func TestGetUsageShowsLimits(t *testing.T) {
	counts := usage.New()
	g := startGuarded(t, Config{Callers: counts})
	token := caller.NewToken()
	g.write(t, "  - name: limited\n    identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}\n"+
		"    allow: {methods: [GetUser, BatchGetUsers, CountUsers, GetUsage, StreamUsers], max_lookups: 102/24h, max_requests: 3/24h, guaranteed: 20%, permits: true}\n")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	conn := g.dialAs(t, "Bearer "+token)
	users, quotas := clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	limits := &clerkgatev1.Caller{
		Name: "limited", GuaranteedPercent: 20,
		MaxLookups:     &clerkgatev1.CallerLimit{Count: 102, Window: durationpb.New(24 * time.Hour)},
		MaxRequests:    &clerkgatev1.CallerLimit{Count: 3, Window: durationpb.New(24 * time.Hour)},
		LookupsBucket:  &clerkgatev1.CallerBucket{Size: 102, Available: 102},
		RequestsBucket: &clerkgatev1.CallerBucket{Size: 3, Available: 3},
	}
	// billing is in the file without limits, gone is not in the file.
	want := []*clerkgatev1.Caller{{Name: "billing", Refused: 1}, {Name: "gone", Refused: 1}, limits}
	check := func(when string) {
		t.Helper()
		g.up.mu.Lock()
		g.up.status.Callers = counts.Report()
		g.up.mu.Unlock()
		resp, err := quotas.GetUsage(t.Context(), &clerkgatev1.GetUsageRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, resp.Callers, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	for _, name := range []string{"billing", "gone"} {
		counts.Get(name).Refused(1)
	}
	counts.Get("limited")
	check("at first")

	for range 2 {
		if _, err := users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_a"}); err != nil {
		t.Fatal(err)
	}
	limits.LookupsBucket.Available, limits.RequestsBucket.Available = 101, 1
	check("within the limits")

	_, permits := quotas.AcquirePermits(t.Context(), &clerkgatev1.AcquirePermitsRequest{Count: 2})
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = "user_a" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	_, most := users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids})
	_, batch := users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: ids[:3]})
	for name, err := range map[string]error{"AcquirePermits": permits, "BatchGetUsers": batch} {
		if got := reasonOf(err); got != "ResourceExhausted CALLER_OVER_QUOTA" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if most != nil {
		t.Errorf("a batch within the limit: %v", most)
	}
	limits.LookupsBucket.Available, limits.OverLimit = 1, 5
	check("beyond the limits")

	if got, want := g.guard.limits("limited"), (page.Limits{Guaranteed: 20, Cap: "102 lookups per day, 3 requests per day"}); got != want {
		t.Errorf("on the page: %+v, want %+v", got, want)
	}
	for _, name := range []string{"billing", "gone"} {
		if got := g.guard.limits(name); got != (page.Limits{}) {
			t.Errorf("on the page, %s: %+v", name, got)
		}
	}
}

// TestUsageIsOnlyForThoseWhoMayHaveIt: the limits of callers are for those alone who may call
// GetUsage.
func TestUsageIsOnlyForThoseWhoMayHaveIt(t *testing.T) {
	g := startGuarded(t, Config{})
	for name, want := range map[string]string{"nobody": "Unauthenticated CALLER_UNKNOWN", "support": "PermissionDenied CALLER_NOT_ALLOWED"} {
		_, err := clerkgatev1.NewQuotaServiceClient(g.conns[name]).GetUsage(t.Context(), &clerkgatev1.GetUsageRequest{})
		if got := reasonOf(err); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestAStreamOverItsLimit: pages of a stream that wait for a limit are not counted as refused;
// those that can't be had before the deadline are.
func TestAStreamOverItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := usage.New()
		g := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler))
		g.counts = counts
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		with := func(window time.Duration) context.Context {
			return context.WithValue(ctx, admittedKey{}, &caller.Caller{Name: "limited", Requests: caller.Limit{Count: 1, Window: window}})
		}
		for range 3 {
			if err := g.awaitRequests(with(time.Second), 1); err != nil {
				t.Fatal(err)
			}
		}
		if got := counts.Report().Busiest; len(got) != 0 {
			t.Errorf("after waiting: %+v", got)
		}
		if err := g.awaitRequests(with(time.Hour), 1); !errors.Is(err, errOverLimit) {
			t.Errorf("beyond the deadline: %v", err)
		}
		if got := counts.Report().Busiest; len(got) != 1 || got[0] != (usage.Counts{Name: "limited", OverLimit: 1}) {
			t.Errorf("after a refusal: %+v", got)
		}
	})
}

// TestPartsOfALimit: the replicas that are alive have equal parts of a limit, and a batch of
// lookups always fits.
func TestPartsOfALimit(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		replicas    int64
		limit       int
		least       int
		spent, size int
	}{
		{0, 1000, maxBatch, 10, 1000}, {1, 1000, maxBatch, 10, 1000}, {3, 1000, maxBatch, 10, 333}, {20, 1000, maxBatch, 10, maxBatch},
		{3, 10, 1, 2, 3}, {20, 10, 1, 1, 1},
	} {
		g := newGuard(nil, false, leaktest.Logger(slog.DiscardHandler))
		g.replicas.Store(tt.replicas)
		limit := caller.Limit{Count: tt.limit, Window: time.Minute}
		if err := g.spend("a", limit, tt.spent, tt.least, now); err != nil {
			t.Fatal(err)
		}
		for _, after := range []struct {
			time.Duration
			left int
		}{{0, tt.size - tt.spent}, {time.Hour, tt.size}} {
			if size, left := g.bucket("a", limit, tt.least, now.Add(after.Duration)); size != tt.size || left != after.left {
				t.Errorf("%d replicas, after %v: %d of %d left, want %d of %d", tt.replicas, after.Duration, left, size, after.left, tt.size)
			}
		}
	}
}

// TestLimitsBeforeTheReplicasAreKnown: a replica that does not know of the others yet has the
// whole of a limit. When it knows of them, what it has let through before is at most a whole
// bucket, and what flows into one meanwhile.
func TestLimitsBeforeTheReplicasAreKnown(t *testing.T) {
	const replicas, undivided = 4, time.Second
	limit := caller.Limit{Count: 1000, Window: 10 * time.Second}
	for _, alone := range []bool{false, true} {
		quota := &fakeUpstream{}
		quota.status.Shared = &gate.SharedStatus{}
		g := newGuard(nil, true, leaktest.Logger(slog.DiscardHandler))
		passed := map[bool]int{}
		start := time.Now()
		for at := start; at.Before(start.Add(11 * time.Second)); at = at.Add(time.Millisecond) {
			known := at.Sub(start) >= undivided
			if known && !alone {
				quota.status.Shared.Replicas = replicas
			}
			g.countReplicas(quota)
			for g.spend("a", limit, 1, 1, at) == nil {
				passed[known]++
			}
		}
		// At first a bucket of 1,000, and 100 in a second. Then in 10 s the part of a quarter.
		want := map[bool]int{false: 1100, true: 250}
		if alone {
			want[true] = 1000
		}
		for known, n := range want {
			if got := passed[known]; got < n-2 || got > n+2 {
				t.Errorf("alone %v, replicas known %v: %d pass, want %d", alone, known, got, n)
			}
		}
	}
}
