package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// fakeState is a shared state that grants all permits that are wanted.
type fakeState struct {
	mu       sync.Mutex
	hangs    bool // no exchange is answered
	replicas int
	grants   int       // the most that is granted from here on; below 0: no bound
	paused   time.Time // until when it grants nothing
	mail     []quota.Message
	bounces  bool // what is posted has no receiver

	lendsFrom time.Time // nothing may be lent before
	entries   map[string]entryThere
	reports   []quota.Report
	news      func() chan struct{} // made in the bubble
}

func newState() *fakeState {
	return &fakeState{replicas: 2, grants: -1, news: sync.OnceValue(func() chan struct{} { return make(chan struct{}, 1) })}
}

// entryThere is an entry of Swap.
type entryThere struct {
	text  string
	until time.Time
}

func (s *fakeState) Swap(ctx context.Context, name, prev, next string, keep time.Duration) (entry string, left time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return "", 0, ctx.Err()
	}
	if s.entries == nil {
		s.entries = map[string]entryThere{}
	}
	e := s.entries[name]
	if !e.until.After(time.Now()) {
		e = entryThere{}
	}
	if e.text == prev {
		e = entryThere{next, time.Now().Add(keep)}
	}
	s.entries[name] = e
	return e.text, time.Until(e.until), nil
}

func (s *fakeState) News() <-chan struct{} { return s.news() }

func (s *fakeState) Exchange(ctx context.Context, r quota.Report) (quota.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	if s.hangs {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return quota.Reply{}, ctx.Err()
	}
	now := time.Now()
	var bounced []string
	for _, m := range r.Mail {
		if s.bounces {
			bounced = append(bounced, m.Token)
		}
	}
	mail := s.mail
	s.mail = nil
	if len(r.Limited) > 0 {
		s.paused = now.Add(r.Limited[0].After.Duration())
	}
	reply := quota.Reply{
		Status: "ok", Now: fmt.Sprint(now.UnixMicro()), Epoch: "e", Era: 1, Again: -1, Paused: quota.Microseconds(max(0, s.paused.Sub(now)).Microseconds()),
		Limit: 100, Capacity: 100, Available: 100, Quota: 100, Window: 10_000_000, Replicas: s.replicas, Active: 1,
		Share: 50, Ready: 4, Lend: r.Lend, Mail: mail, Bounced: strings.Join(bounced, " "),
	}
	if wait := s.lendsFrom.Sub(now); wait > 0 {
		reply.Lend, reply.LendAfter = 0, quota.Microseconds(wait.Microseconds())
	}
	if !r.Fallback && r.Epoch == "e" && reply.Paused == 0 {
		n := r.Wants[0] + r.Wants[1]
		if s.grants >= 0 {
			n = min(n, s.grants)
			s.grants -= n
		}
		reply.Grants = strings.TrimSpace(strings.Repeat("0 ", n))
	}
	return reply, nil
}

func (s *fakeState) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *fakeState) last() quota.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1]
}

func (s *fakeState) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reports)
}

func TestASharedGateSendsWhatItIsGranted(t *testing.T) {
	clerk, state := &fakeClerk{latency: 50 * time.Millisecond}, newState()
	inBubble(t, clerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
		state.change(func() { state.grants = 3 })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) })
		}
		time.Sleep(time.Second)
		if got := clerk.count(); got != 3 {
			t.Errorf("%d requests left for three grants", got)
		}
		if r := state.last(); r.Wants != [2]int{2, 0} || r.Out != 0 {
			t.Errorf("wants %v with %d out, want the two that wait, and nothing out", r.Wants, r.Out)
		}
		state.change(func() { state.grants = -1 })
		calls.Wait()
		if got := clerk.count(); got != 5 {
			t.Errorf("%d requests, want all five", got)
		}
		before := state.count()
		time.Sleep(10 * time.Second)
		if got := state.count() - before; got < 20 || got > 40 {
			t.Errorf("an idle gate made %d exchanges in 10 s, want two to four a second", got)
		}
		if s := g.Status(); s.Shared == nil || s.Shared.Decider != quota.DecidesState || s.Shared.Replicas != 2 {
			t.Errorf("the status of sharing is %+v", s.Shared)
		}
	})
	if r := state.last(); !r.Bye || r.Out != 0 {
		t.Errorf("the last report is %+v, want a goodbye with nothing out", r)
	}
}

// TestPermitsThatNobodyWantsGoBack: the caller leaves between the report and the grant.
func TestPermitsThatNobodyWantsGoBack(t *testing.T) {
	clerk, state := &fakeClerk{latency: 50 * time.Millisecond}, newState()
	inBubble(t, clerk, Config{Shared: state, MaxInFlight: 1}, func(t *testing.T, g *Gate) {
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for range 4 { // four permits are granted, one is used at a time
			calls.Go(func() { _, _ = g.List(ctx, clerkapi.ListParams{}, Options{}) })
		}
		time.Sleep(10 * time.Millisecond)
		cancel()
		calls.Wait()
		time.Sleep(time.Second)
		if r := state.last(); r.Out != 0 || r.Unused != 0 {
			t.Errorf("%d permits are out, %d of them unused, want none", r.Out, r.Unused)
		}
		if got := clerk.count(); got != 1 {
			t.Errorf("%d requests left for the one that was under way", got)
		}
	})
}

// TestAStateThatHangsHoldsUpNobodyForLong: after 600 ms the gate goes on within its own
// share, and returns when the state answers again.
func TestAStateThatHangsHoldsUpNobodyForLong(t *testing.T) {
	clerk, state := &fakeClerk{latency: 50 * time.Millisecond}, newState()
	inBubble(t, clerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
		list := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := g.List(ctx, clerkapi.ListParams{}, Options{})
			return err
		}
		for range 3 {
			if err := list(); err != nil {
				t.Fatal(err)
			}
		}
		state.change(func() { state.hangs = true })
		time.Sleep(time.Second)
		if s := g.Status().Shared; s.Decider != quota.DecidesFallback || s.Allowance != 4 {
			t.Errorf("without the state: %+v, want the four that were kept ready", s)
		}
		start := time.Now()
		for i, most := range []time.Duration{5 * time.Second, 11 * time.Second} {
			if err := list(); err != nil {
				t.Errorf("without the state: %v", err)
			}
			if took := time.Since(start); took > most {
				t.Errorf("list %d without the state is there after %v, want %v", i, took, most)
			}
		}
		if took := time.Since(start); took < 8*time.Second {
			t.Errorf("a fifth permit was there after %v, want the first of before when it comes free", took)
		}
		if n := seenAt(g).low; n != 0 {
			t.Errorf("told %d times that little is left of the quota, of which nothing is known", n)
		}
		time.Sleep(10 * time.Second)
		if s := g.Status().Shared; s.Allowance != 50 {
			t.Errorf("after a window: %+v, want half of the quota", s)
		}
		state.change(func() { state.hangs = false })
		time.Sleep(time.Second)
		if s := g.Status().Shared; s.Decider != quota.DecidesState {
			t.Errorf("with the state back: %+v", s)
		}
		if r := state.last(); r.Fallback {
			t.Errorf("it reports that it does without the state")
		}
	})
}

func TestNewsLeadsToAnExchangeAtOnce(t *testing.T) {
	clerk, state := &fakeClerk{latency: 50 * time.Millisecond}, newState()
	inBubble(t, clerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
		time.Sleep(time.Second)
		synctest.Wait()
		before := state.count()
		state.change(func() { state.paused = time.Now().Add(5 * time.Second) })
		state.news() <- struct{}{}
		synctest.Wait()
		if got := state.count() - before; got != 1 {
			t.Errorf("%d exchanges at the news, want one", got)
		}
		if g.Status().PausedUntil.IsZero() {
			t.Error("the pause is not known")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.List(ctx, clerkapi.ListParams{}, Options{})
		if !errors.Is(err, ErrRateLimited) {
			t.Errorf("a list that can't wait for the end of the pause: %v", err)
		}
	})
}

// TestAPauseRefusesWhatCannotWait: as soon as an exchange reports the pause, or fails.
// It refuses what waits for a permit or for its next try, at the replica that met the
// 429 and at others.
func TestAPauseRefusesWhatCannotWait(t *testing.T) {
	pause := func(s *fakeState) {
		s.change(func() { s.paused = time.Now().Add(limited.RetryAfter) })
		s.news() <- struct{}{}
	}
	nothing := func(*fakeState) {}
	hang := func(s *fakeState) { s.change(func() { s.hangs = true }) }
	for name, tt := range map[string]struct {
		reply  error
		grants int
		after  time.Duration
		what   func(*fakeState)
		within time.Duration
	}{
		"a 429 of its own":                    {limited, 2, 0, nothing, 30 * time.Millisecond}, // one for the probe
		"a 429 of its own, without permits":   {limited, 1, 0, nothing, 20*time.Millisecond + doubtFor},
		"a 429 of its own, without the state": {limited, 1, time.Millisecond, hang, time.Second},
		"another's, while it waits":           {nil, 0, 20 * time.Millisecond, pause, 20 * time.Millisecond},
		"another's, before its next try":      {down, 1, 11 * time.Millisecond, pause, 11 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			clerk, state := &fakeClerk{latency: 10 * time.Millisecond, reply: func(int, []string) error { return tt.reply }}, newState()
			inBubble(t, clerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
				time.Sleep(time.Second)
				state.change(func() { state.grants = tt.grants })
				start := time.Now()
				ctx, cancel := context.WithDeadline(t.Context(), start.Add(limited.RetryAfter))
				defer cancel()
				time.AfterFunc(tt.after, func() { tt.what(state) })
				_, err := g.List(ctx, clerkapi.ListParams{}, Options{})
				var e *Error
				if !errors.As(err, &e) || e.Kind != ErrRateLimited || e.RetryAfter <= 0 {
					t.Errorf("got %v, want to be told that the key is held, and for how long", err)
				}
				if took := time.Since(start); took > tt.within {
					t.Errorf("told after %v, want within %v", took, tt.within)
				}
			})
		})
	}
}

// TestALeaseOutlivesItsLender: permits that were lent when a replica ended count as
// lost.
func TestALeaseOutlivesItsLender(t *testing.T) {
	clerk, state := &fakeClerk{}, newState()
	inBubble(t, clerk, Config{Shared: state}, func(t *testing.T, g *Gate) {
		if _, err := g.Acquire(t.Context(), LeaseRequest{Permits: 2}, Options{}); err != nil {
			t.Fatal(err)
		}
	})
	r := state.last()
	told := slices.ContainsFunc(state.reports, func(r quota.Report) bool {
		return len(r.Lent) == 1 && r.Lent[0].Permits == 2 && r.Lent[0].After.Duration() > 45*time.Second
	})
	if !told || !r.Bye || r.Out != 0 {
		t.Errorf("the goodbye is %+v, want two permits told that are lent for 30 s and twice the time-out: %v", r, told)
	}
}
