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

// soleReplica is the only one that shares the quota. It reports as often as a
// replica must, and whenever it has no permit that is asked for.
type soleReplica struct {
	*quota.Shared
	t     rapid.TB
	store *Store
}

func newSoleReplica(t rapid.TB, store *Store, cfg quota.Config, now time.Time) *soleReplica {
	r := &soleReplica{quota.NewShared(cfg, "sole", now), t, store}
	r.report(now)
	return r
}

// report makes the reports that were due until now.
func (r *soleReplica) report(now time.Time) {
	for {
		due := r.Due(now, [2]int{})
		if due.After(now) {
			return
		}
		r.exchange(due, [2]int{})
	}
}

func (r *soleReplica) exchange(now time.Time, wants [2]int) quota.Reply {
	report := r.Report(now, wants)
	r.store.setTime(now)
	reply, err := r.store.Exchange(context.Background(), report)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Reply(report, now, now, reply, nil)
	return reply
}

// Take takes a permit.
func (r *soleReplica) Take(now time.Time) (p quota.Permit, ok bool, again time.Time) {
	r.report(now)
	if p, ok, again = r.Shared.Take(now); ok || !again.IsZero() {
		return p, ok, again
	}
	reply := r.exchange(now, [2]int{1, 0})
	if p, ok, again = r.Shared.Take(now); !ok && again.IsZero() && reply.Again >= 0 {
		again = now.Add(reply.Again.Duration())
	}
	return p, ok, again
}

// State tells how the quota stands at now.
func (r *soleReplica) State(now time.Time) quota.State {
	r.report(now)
	r.exchange(now, [2]int{})
	return r.Shared.State(now)
}
