package gate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// checkStats checks that the statistics of a gate without requests under way agree with
// each other and with what clerk was asked.
func checkStats(t *testing.T, g *Gate, clerk *fakeClerk) {
	t.Helper()
	s := g.Status()
	f := s.Stats
	if got, want := s.Totals.Requests+f.Unsent, int64(clerk.count()); got != want {
		t.Errorf("%d requests counted, those that were not sent included; there were %d", got, want)
	}
	byEndpoint := map[string]int64{}
	for r, n := range f.Requests {
		byEndpoint[r.Endpoint] += n
	}
	for endpoint, n := range byEndpoint {
		if got := f.Durations[endpoint].Count(); got != uint64(n) {
			t.Errorf("the time of %d requests of %s taken, there were %d", got, endpoint, n)
		}
	}
	if got := f.LookupSizes.Count(); got != uint64(byEndpoint[lookupEndpoint]) {
		t.Errorf("the ids of %d lookups counted, there were %d", got, byEndpoint[lookupEndpoint])
	}
	var asked int
	for _, ids := range clerk.requests {
		asked += len(ids)
	}
	if f.Unsent == 0 && f.LookupSizes.Sum != float64(asked) {
		t.Errorf("%v ids counted in lookups, there were %d", f.LookupSizes.Sum, asked)
	}

	var refused int64
	for _, n := range f.Refused {
		refused += n
	}
	shown, first := s.Callers.Others, s.Callers.Later
	for sum, callers := range map[*usage.Counts][]usage.Counts{&shown: s.Callers.Busiest, &first: s.Callers.First} {
		for _, c := range callers {
			sum.Lookups += c.Lookups
			sum.Requests += c.Requests
			sum.Refused += c.Refused
		}
		if sum.Refused != refused {
			t.Errorf("%d wants refused, the callers' are %d", refused, sum.Refused)
		}
		// Used permits of leases are paid for, too.
		if paid, sent := sum.Requests, float64(s.Totals.Requests-byEndpoint["probe"]); paid < sent-1e-6 {
			t.Errorf("%v requests paid for, %v were sent", paid, sent)
		}
	}
}

func TestHowRequestsEnd(t *testing.T) {
	for err, want := range map[error]string{
		nil: "ok",
		&clerkapi.Error{Kind: clerkapi.ErrNotFound, Status: 404}: "not_found",
		refused: "rejected",
		limited: "rate_limited",
		badKey:  "key_rejected",
		&clerkapi.Error{Kind: clerkapi.ErrPlanLimit, Status: 402}: "plan_limit",
		down: "server_error",
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 408}: "server_error",
		&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 200}: "no_answer", // it broke off at the timeout
		lostLink: "no_answer",
		unsent:   "not_sent",
		&clerkapi.Error{Kind: clerkapi.ErrKeyRejected, NotSent: true}:       "not_sent",
		&clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}:           "bad_answer",
		&clerkapi.Error{Kind: clerkapi.ErrAbandoned, Err: context.Canceled}: "cancelled",
	} {
		if got := outcomeOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestRequestsAreCounted makes requests of each kind.
func TestRequestsAreCounted(t *testing.T) {
	clerk := &fakeClerk{latency: 300 * time.Millisecond}
	clerk.user = func(string) clerkapi.UserResult { return clerkapi.UserResult{Err: clerkapi.ErrNotFound} }
	replies := []error{nil, nil, nil, nil, refused, unsent, down, nil}
	clerk.reply = func(n int, _ []string) error { return replies[n-1] }
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		_ = one(t.Context(), g, "user_1", Options{Caller: "a"})         // missing
		_ = g.Lookup(t.Context(), userIDs("", 3), Options{Caller: "a"}) // missing, too, which a list of users does not say
		_, _ = g.Count(t.Context(), nil, Options{Caller: "b", Priority: Batch})
		_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{Caller: "b"})
		_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{Caller: "b"}) // refused
		_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{Caller: "b"}) // not sent, failed, answered
		s := g.Status()
		got := maps.Clone(s.Stats.Requests)
		maps.DeleteFunc(got, func(_ Ended, n int64) bool { return n == 0 })
		want := map[Ended]int64{
			{"lookup", "not_found"}: 1, {"lookup", "ok"}: 1, {"count", "ok"}: 1,
			{"list", "ok"}: 2, {"list", "rejected"}: 1, {"list", "server_error"}: 1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if n := len(s.Stats.Requests); n != 4*12 {
			t.Errorf("%d pairs from the start", n)
		}
		if diff := cmp.Diff(map[string]int64{"not_sent": 1, "server_error": 1, "no_answer": 0, "bad_answer": 0}, s.Stats.Retries); diff != "" {
			t.Errorf("retries (-want +got):\n%s", diff)
		}
		if s.Stats.Unsent != 1 || s.Totals.Requests != 7 || s.Totals.Retries != 2 || s.Totals.UsersPerRequest != 2 {
			t.Errorf("%d unsent, %+v", s.Stats.Unsent, s.Totals)
		}
		// All took 0.3 s, which is above the fifth bound.
		wantCounts := []uint64{0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0}
		if h := s.Stats.Durations["list"]; !slices.Equal(h.Counts, wantCounts) || h.Bounds[5] != 0.5 || h.Sum != 4*0.3 {
			t.Errorf("the lists took %+v", h)
		}
		if shares := [2]float64{s.Callers.Busiest[0].Requests, s.Callers.Busiest[1].Requests}; shares != [2]float64{5, 2} {
			t.Errorf("paid for %v requests", shares)
		}
	})
}

// TestWaitsAreCounted: the quota is spent, so later calls wait for a window.
func TestWaitsAreCounted(t *testing.T) {
	inBubble(t, &fakeClerk{}, Config{Quota: quota.Config{Limit: 1, Window: 4 * time.Second}}, func(t *testing.T, g *Gate) {
		_ = g.Lookup(t.Context(), userIDs("first", 2), Options{})
		go func() { _ = g.Lookup(t.Context(), userIDs("second", 3), Options{Priority: Batch}) }()
		synctest.Wait()
		leaves, leave := context.WithCancel(t.Context())
		go func() { _, _ = g.List(leaves, clerkapi.ListParams{}, Options{}) }()
		synctest.Wait()
		leave()
		time.Sleep(5 * time.Second)
		var got []string
		for _, h := range g.Status().Stats.Waits {
			got = append(got, fmt.Sprintf("%d waits, %.2f s", h.Count(), h.Sum))
		}
		if want := []string{"2 waits, 0.00 s", "3 waits, 12.06 s"}; !slices.Equal(got, want) {
			t.Errorf("interactive, batch: %q, want %q", got, want)
		}
	})
}

// TestWhatComesBackWaitsAnew: a want that drew a 429 waits for Retry-After.
func TestWhatComesBackWaitsAnew(t *testing.T) {
	clerk := &fakeClerk{latency: 100 * time.Millisecond, reply: first(time.Second, limited)}
	inBubble(t, clerk, Config{}, func(t *testing.T, g *Gate) {
		if r := one(t.Context(), g, "user_1", Options{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		if h := g.Status().Stats.Waits[Interactive]; h.Count() != 2 || h.Sum < limited.RetryAfter.Seconds() || h.Sum > limited.RetryAfter.Seconds()+0.3 {
			t.Errorf("%d waits of %v s, want 2 of which one was %v, and what a probe took", h.Count(), h.Sum, limited.RetryAfter)
		}
	})
}

// TestRefusalsAreCounted: wants are refused for every reason that there is.
func TestRefusalsAreCounted(t *testing.T) {
	for reason, tt := range map[string]struct {
		cfg   Config
		reply error
		calls func(t *testing.T, g *Gate)
		want  int64
	}{
		"queue_full": {Config{QueueLimit: 3}, nil, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 5), Options{})
		}, 2},
		"caller_queue_full": {Config{CallerQueueLimit: 3}, nil, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 4), Options{})
		}, 1},
		"deadline_too_short": {Config{Quota: quota.Config{Limit: 1}}, nil, func(t *testing.T, g *Gate) {
			spend(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = g.Lookup(ctx, userIDs("", 2), Options{})
			_, _ = g.Acquire(ctx, LeaseRequest{Permits: 1}, Options{})
		}, 3},
		"rate_limited": {Config{}, limited, func(t *testing.T, g *Gate) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) // sent, answered 429
			_, _ = g.Count(ctx, nil, Options{})                  // comes while the key is held
		}, 2},
		"breaker_open": {Config{BreakerFailures: 1}, down, func(t *testing.T, g *Gate) {
			// It fails, and so does the probe that it causes; its retry is refused.
			_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{})
			_ = g.Lookup(t.Context(), userIDs("", 2), Options{})
		}, 3},
		"key_rejected": {Config{}, badKey, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 2), Options{})
			_, _ = g.Count(t.Context(), nil, Options{})
		}, 3},
		"shutting_down": {Config{Quota: quota.Config{Limit: 1}}, nil, func(t *testing.T, g *Gate) {
			spend(t, g)
			waits := make(chan struct{})
			go func() {
				defer close(waits)
				_ = g.Lookup(t.Context(), userIDs("", 2), Options{})
			}()
			synctest.Wait()
			g.close()
			<-waits
			_, _ = g.Count(t.Context(), nil, Options{})
		}, 3},
	} {
		t.Run(reason, func(t *testing.T) {
			clerk := &fakeClerk{latency: 10 * time.Millisecond, reply: func(int, []string) error { return tt.reply }}
			inBubble(t, clerk, tt.cfg, func(t *testing.T, g *Gate) {
				tt.calls(t, g)
				got := g.Status().Stats.Refused
				if len(got) != 7 || got[reason] != tt.want {
					t.Errorf("got %v, want %d", got, tt.want)
				}
				got[reason] = 0
				for other, n := range got {
					if n != 0 {
						t.Errorf("%d of %s", n, other)
					}
				}
			})
		})
	}
}
