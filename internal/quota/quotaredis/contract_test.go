package quotaredis

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotatest"
)

func TestSharedLimiter(t *testing.T) {
	store := newStore(t)
	quotatest.Contract(t, func(t rapid.TB, cfg quota.Config, now time.Time) quotatest.Limiter {
		store.empty(t)
		return newSoleReplica(t, store, cfg, now)
	})
}

// soleReplica is the only replica that shares the quota. It reports as often as a
// replica must, and whenever it has no permit that is wanted.
type soleReplica struct {
	*quota.Shared
	t       rapid.TB
	store   *Store
	wants   [2]int    // one, from a Take that got nothing on
	settled bool      // something was, since the last report
	again   time.Time // when the last reply said that there is more
}

func newSoleReplica(t rapid.TB, store *Store, cfg quota.Config, now time.Time) *soleReplica {
	r := &soleReplica{Shared: quota.NewShared(cfg, "sole", now), t: t, store: store}
	r.report(now)
	return r
}

// report sends the reports that were due until now.
func (r *soleReplica) report(now time.Time) {
	for due := r.Due(now, r.wants); !due.After(now); due = r.Due(now, r.wants) {
		r.exchange(due)
	}
}

func (r *soleReplica) exchange(now time.Time) {
	report := r.Report(now, r.wants)
	r.settled = false
	r.store.setTime(now)
	reply, err := r.store.Exchange(context.Background(), report)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Reply(report, now, now, reply, nil)
	if r.again = (time.Time{}); reply.Again >= 0 {
		r.again = now.Add(reply.Again.Duration())
	}
}

// Take takes a permit. It returns when to ask again if that is known, so that a caller
// need not ask at every beat.
func (r *soleReplica) Take(now time.Time) (p quota.Permit, ok bool, again time.Time) {
	r.report(now)
	if p, ok, again = r.Shared.Take(now); !ok && again.IsZero() {
		r.wants = [2]int{1, 0}
		r.report(now)
		p, ok, again = r.Shared.Take(now)
	}
	switch {
	case ok:
		r.wants = [2]int{}
	case again.IsZero() && r.again.IsZero() && r.settled:
		again = r.Due(now, r.wants) // what comes free now is told then
	case again.IsZero():
		again = r.again
	}
	return p, ok, again
}

// Answered settles a permit.
func (r *soleReplica) Answered(p quota.Permit, sent, at, now time.Time, h *quota.Headers) {
	r.Shared.Answered(p, sent, at, now, h)
	r.settled = true
}

// Lost settles a permit.
func (r *soleReplica) Lost(p quota.Permit, now time.Time) {
	r.Shared.Lost(p, now)
	r.settled = true
}

// State describes the quota at now.
func (r *soleReplica) State(now time.Time) quota.State {
	r.report(now)
	r.exchange(now)
	return r.Shared.State(now)
}
