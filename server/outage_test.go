package server

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// TestAnOutageOfClerks: users read before are still answered, marked stale once too old;
// others are UNAVAILABLE with the time to try again; the simulator receives only probes;
// and after the outage, answers are fresh again.
func TestAnOutageOfClerks(t *testing.T) { synctest.Test(t, outageOfClerks) }

func outageOfClerks(t *testing.T) {
	const ttl = 5 * time.Second
	users, sim, stop := lineInBubble(t, clerksim.Config{Users: 300, Latency: 20 * time.Millisecond}, quota.Config{Limit: 1000}, usercache.Config{TTL: ttl})
	defer stop()
	ids := sim.UserIDs(300)
	known, unknown := ids[:200], ids[200:]
	read := func(ids []string) []*clerkgatev1.LookupResult {
		t.Helper()
		var all []*clerkgatev1.LookupResult
		for some := range slices.Chunk(ids, 100) {
			resp, err := users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: some})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, resp.Results...)
		}
		return all
	}
	read(known)
	warm := time.Now()
	if err := sim.AddFault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 503}); err != nil {
		t.Fatal(err)
	}
	for time.Since(warm) < 3*ttl {
		before := time.Now()
		for _, r := range read(known) {
			if r.GetUser().GetId() != r.UserId {
				t.Fatalf("after %v: %v", time.Since(warm), r)
			}
			old := before.Sub(r.Freshness.FetchTime.AsTime())
			if r.Freshness.Stale && old < ttl*9/10-10*time.Millisecond || !r.Freshness.Stale && old > ttl {
				t.Fatalf("a copy %v old is marked stale: %v", old, r.Freshness.Stale)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: unknown[0]})
	st := status.Convert(err)
	retry := slices.ContainsFunc(st.Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
	if st.Code() != codes.Unavailable || !retry {
		t.Errorf("who was never read: %v with %v", err, st.Details())
	}
	// The breaker is open now: one probe per second, and nothing else.
	requests, begin := sim.Stats().Requests, time.Now()
	for time.Since(begin) < 2500*time.Millisecond {
		read(known)
		time.Sleep(100 * time.Millisecond)
	}
	if n := sim.Stats().Requests - requests; n > 3 {
		t.Errorf("%d requests in 2.5 s of an outage, want probes only", n)
	}

	sim.ClearFaults()
	back := time.Now()
	for {
		if time.Since(back) > 2*time.Second {
			t.Fatal("2 s after Clerk is back answers are still stale")
		}
		stale := slices.ContainsFunc(read(known), func(r *clerkgatev1.LookupResult) bool { return r.Freshness.GetStale() })
		if !stale {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: unknown[0]}); err != nil {
		t.Error(err)
	}
}
