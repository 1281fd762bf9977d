package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// recorder records what it observes, but traces nothing.
type recorder struct {
	noObserver
	mu sync.Mutex
	record
}

// record is what a recorder has recorded; guarded by its mu.
type record struct {
	answered []AnsweredRequest
	retried  []error
	refused  map[error]int
	waits    [2][]time.Duration
	low      int
}

func (r *recorder) Dequeued(p Priority, waited time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits[p] = append(r.waits[p], waited)
}

func (r *recorder) Answered(a AnsweredRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = append(r.answered, a)
}

func (r *recorder) Retried(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retried = append(r.retried, err)
}

func (r *recorder) Refused(kind error, wants int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil {
		r.refused = make(map[error]int)
	}
	r.refused[kind] += wants
}

func (r *recorder) QuotaLow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.low++
}

// recorded returns a copy of what the recorder of g has recorded.
func recorded(g *Gate) record {
	r := g.cfg.Observer.(*recorder)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.record
	c.answered, c.retried, c.refused = slices.Clone(c.answered), slices.Clone(c.retried), maps.Clone(c.refused)
	for p := range c.waits {
		c.waits[p] = slices.Clone(c.waits[p])
	}
	return c
}

// seen is what a recorder has seen.
type seen struct {
	requests, unsent, probes, limited int
	retries, low, refused             int
	lookupIDs                         int // in lookups that were sent
}

// seenAt returns what the recorder of g has seen.
func seenAt(g *Gate) seen {
	r := recorded(g)
	s := seen{retries: len(r.retried), low: r.low}
	for _, a := range r.answered {
		if errors.Is(a.Err, clerkapi.ErrNotSent) {
			s.unsent++
			continue
		}
		s.requests++
		if a.Endpoint == "probe" {
			s.probes++
		}
		if a.Endpoint == "lookup" {
			s.lookupIDs += a.Wants
		}
		if errors.Is(a.Err, clerkapi.ErrRateLimited) {
			s.limited++
		}
	}
	for _, n := range r.refused {
		s.refused += n
	}
	return s
}

// checkSeen checks that what was seen of a gate without requests under way agrees with
// its callers and with what clerk was asked.
func checkSeen(t *testing.T, g *Gate, clerk *fakeClerk) {
	t.Helper()
	s := seenAt(g)
	if got, want := s.requests+s.unsent, clerk.count(); got != want {
		t.Errorf("%d requests seen, those that were not sent included; there were %d", got, want)
	}
	var asked int
	for _, ids := range clerk.requests {
		asked += len(ids)
	}
	if s.unsent == 0 && s.lookupIDs != asked {
		t.Errorf("%v ids seen in lookups, there were %d", s.lookupIDs, asked)
	}
	r := g.Status().Callers
	for sum, callers := range map[*usage.Counts][]usage.Counts{&r.Others: r.Busiest, &r.Later: r.First} {
		for _, c := range callers {
			sum.Lookups += c.Lookups
			sum.Requests += c.Requests
			sum.Refused += c.Refused
		}
		if sum.Refused != int64(s.refused) {
			t.Errorf("%d wants refused, the callers' are %d", s.refused, sum.Refused)
		}
		// Used permits of leases are paid for, too.
		if paid, sent := sum.Requests, float64(s.requests-s.probes); paid < sent-1e-6 {
			t.Errorf("%v requests paid for, %v were sent", paid, sent)
		}
	}
}

// TestRequestsAreReported makes requests of each kind.
func TestRequestsAreReported(t *testing.T) {
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
		want := []AnsweredRequest{
			{Endpoint: "lookup", Wants: 1, Ids: 1, Missing: true},
			{Endpoint: "lookup", Wants: 3, Ids: 3},
			{Endpoint: "count", Wants: 1},
			{Endpoint: "list", Wants: 1},
			{Endpoint: "list", Wants: 1, Err: refused},
			{Endpoint: "list", Wants: 1, Err: unsent},
			{Endpoint: "list", Wants: 1, Err: down},
			{Endpoint: "list", Wants: 1},
		}
		for i := range want {
			want[i].Took = clerk.latency
		}
		o := recorded(g)
		if diff := cmp.Diff(want, o.answered, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]error{unsent, down}, o.retried, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("retries (-want +got):\n%s", diff)
		}
		callers := g.Status().Callers.Busiest
		if shares := [2]float64{callers[0].Requests, callers[1].Requests}; shares != [2]float64{5, 2} {
			t.Errorf("paid for %v requests", shares)
		}
	})
}

func sum(waits []time.Duration) (all time.Duration) {
	for _, d := range waits {
		all += d
	}
	return all
}

// TestWaitsAreReported: the quota is spent, so later calls wait for a window.
func TestWaitsAreReported(t *testing.T) {
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
		for _, waits := range recorded(g).waits {
			got = append(got, fmt.Sprintf("%d waits, %.2f s", len(waits), sum(waits).Seconds()))
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
		waits := recorded(g).waits[Interactive]
		if all := sum(waits); len(waits) != 2 || all < limited.RetryAfter || all > limited.RetryAfter+300*time.Millisecond {
			t.Errorf("waits of %v, want 2 of which one was %v, and what a probe took", waits, limited.RetryAfter)
		}
	})
}

// TestRefusalsAreReported: wants are refused for every reason that there is.
func TestRefusalsAreReported(t *testing.T) {
	for kind, tt := range map[error]struct {
		cfg   Config
		reply error
		calls func(t *testing.T, g *Gate)
		want  int
	}{
		ErrQueueFull: {Config{QueueLimit: 3}, nil, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 5), Options{})
		}, 2},
		ErrCallerQueueFull: {Config{CallerQueueLimit: 3}, nil, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 4), Options{})
		}, 1},
		ErrDeadlineTooShort: {Config{Quota: quota.Config{Limit: 1}}, nil, func(t *testing.T, g *Gate) {
			spend(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = g.Lookup(ctx, userIDs("", 2), Options{})
			_, _ = g.Acquire(ctx, LeaseRequest{Permits: 1}, Options{})
		}, 3},
		ErrRateLimited: {Config{}, limited, func(t *testing.T, g *Gate) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) // sent, answered 429
			_, _ = g.Count(ctx, nil, Options{})                  // comes while the key is held
		}, 2},
		ErrBreakerOpen: {Config{BreakerFailures: 1}, down, func(t *testing.T, g *Gate) {
			// It fails, and so does the probe that it causes; its retry is refused.
			_, _ = g.List(t.Context(), clerkapi.ListParams{}, Options{})
			_ = g.Lookup(t.Context(), userIDs("", 2), Options{})
		}, 3},
		clerkapi.ErrKeyRejected: {Config{}, badKey, func(t *testing.T, g *Gate) {
			_ = g.Lookup(t.Context(), userIDs("", 2), Options{})
			_, _ = g.Count(t.Context(), nil, Options{})
		}, 3},
		ErrShuttingDown: {Config{Quota: quota.Config{Limit: 1}}, nil, func(t *testing.T, g *Gate) {
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
		t.Run(kind.Error(), func(t *testing.T) {
			// Clerk answers at once: a retry must not go before the probe has failed.
			clerk := &fakeClerk{reply: func(int, []string) error { return tt.reply }}
			inBubble(t, clerk, tt.cfg, func(t *testing.T, g *Gate) {
				tt.calls(t, g)
				if diff := cmp.Diff(map[error]int{kind: tt.want}, recorded(g).refused); diff != "" {
					t.Errorf("refused (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestNoTraceCostsNothing: without a trace of the call, no report allocates.
func TestNoTraceCostsNothing(t *testing.T) {
	g := New(Config{})
	w := &want{id: "user_1"}
	p := g.newWaitingCall(t.Context(), 1)
	w.join(p, 0)
	r := &request{kind: lookupRequest, wants: []*want{w}}
	n := testing.AllocsPerRun(100, func() {
		g.reportSent(r)
		w.reportLeft(r.trace, time.Time{})
		r.reportReturned(time.Time{})
		g.reportAnswered(r, answer{})
	})
	if n != 0 || p.trace != nil || r.trace != nil || w.trace != nil {
		t.Errorf("%v allocations", n)
	}
}
