package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// posted returns the messages that replicas have posted.
func (s *fakeState) posted() (all []quota.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reports {
		all = append(all, r.Mail...)
	}
	return all
}

// TestAReleaseIsForwarded: a release goes to the replica that has granted the lease, and
// its result comes back.
func TestAReleaseIsForwarded(t *testing.T) {
	other := strings.Repeat("A", 26)
	state := newState()
	inBubble(t, &fakeClerk{}, Config{Shared: state}, func(t *testing.T, g *Gate) {
		time.Sleep(time.Second)
		for result, want := range map[string]error{"ok": nil, "no_lease": ErrNoLease, "use": ErrLeaseUse, "unanswered": ErrUnanswered} {
			before := len(state.posted())
			got := make(chan error, 1)
			go func() {
				got <- g.Release(t.Context(), other+".LEASE", LeaseUse{Used: 3, Unanswered: 1, RateLimited: true})
			}()
			synctest.Wait()
			posted := state.posted()
			if len(posted) != before+1 {
				t.Fatalf("%d messages at once, want one", len(posted)-before)
			}
			m := posted[before]
			if m.To != other || m.From != g.shared.Tag() || m.Lease != other+".LEASE" || m.Used != 3 || m.Unanswered != 1 || !m.Limited {
				t.Errorf("told %+v", m)
			}
			state.change(func() { state.mail = []quota.Message{{Token: m.Token, Result: result}} })
			state.news() <- struct{}{}
			if err := <-got; !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s: %v", result, err)
			}
		}
		// No reply comes; the receiver does not exist; the caller leaves.
		start := time.Now()
		if err := g.Release(t.Context(), other+".LEASE", LeaseUse{}); !errors.Is(err, ErrLeaseUnreachable) || time.Since(start) > 3*time.Second {
			t.Errorf("without an answer: %v after %v", err, time.Since(start))
		}
		state.change(func() { state.bounces = true })
		start = time.Now()
		if err := g.Release(t.Context(), other+".LEASE", LeaseUse{}); !errors.Is(err, ErrLeaseUnreachable) || time.Since(start) > 500*time.Millisecond {
			t.Errorf("with nobody there: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Release(ctx, other+".LEASE", LeaseUse{}); err == nil {
			t.Error("released for a caller that has left")
		}
		state.change(func() { state.hangs = true })
		time.Sleep(time.Second)
		if err := g.Release(t.Context(), other+".LEASE", LeaseUse{}); !errors.Is(err, ErrLeaseUnreachable) {
			t.Errorf("without Redis: %v", err)
		}
		for _, id := range []string{"LEASE", "x.LEASE", g.shared.Tag() + ".LEASE"} {
			if err := g.Release(t.Context(), id, LeaseUse{}); !errors.Is(err, ErrNoLease) {
				t.Errorf("%s: %v", id, err)
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if n := len(g.forwarded.waiting); n != 0 {
			t.Errorf("%d are waited for in the end", n)
		}
	})
}

// TestAReleaseOfAnotherReplicasCallerIsDone: it is done once, however often the message
// comes.
func TestAReleaseOfAnotherReplicasCallerIsDone(t *testing.T) {
	state := newState()
	inBubble(t, &fakeClerk{}, Config{Shared: state}, func(t *testing.T, g *Gate) {
		le, err := g.Acquire(t.Context(), LeaseRequest{Permits: 2}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range []quota.Message{
			{Token: "1", Used: 3}, {Token: "2", Used: 1}, {Token: "2", Used: 1}, {Token: "3", Used: 1},
		} {
			m.Lease, m.From, m.To = le.ID, "OTHER", g.shared.Tag()
			state.change(func() { state.mail = []quota.Message{m} })
			state.news() <- struct{}{}
			time.Sleep(time.Second)
			want := []string{"use", "ok", "ok", "no_lease"}[i]
			posted := state.posted()
			if last := posted[len(posted)-1]; len(posted) != i+1 || last.Result != want || last.To != "OTHER" || last.Token != m.Token {
				t.Errorf("message %d: answered %+v, want %s", i, posted, want)
			}
		}
		if g.Status().Leased != 0 {
			t.Error("it is still lent")
		}
		state.mu.Lock()
		defer state.mu.Unlock()
		if r := state.reports; !slices.ContainsFunc(r, func(r quota.Report) bool { return r.Full && len(r.Lent) == 0 && len(r.Releases) == 1 }) {
			t.Error("the state is not told that only one permit was used")
		}
	})
}
