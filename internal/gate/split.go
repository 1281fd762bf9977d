package gate

import (
	"errors"
	"net/http"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// maxSplit is how many requests may be spent on finding out which ids of a
// refused batch Clerk refuses. Halving 100 ids down to one takes 14.
const maxSplit = 16

// rememberBatchSize is how long a batch size that was too large is not tried again.
const rememberBatchSize = 10 * time.Minute

// batchSize is how many ids go into a request.
type batchSize struct {
	limit int
	until time.Time // when twice as many are tried again
}

func (b *batchSize) size(now time.Time) int {
	if b.limit < maxBatch && now.After(b.until) {
		b.limit = min(maxBatch, 2*b.limit)
		b.until = now.Add(rememberBatchSize)
	}
	return b.limit
}

func (b *batchSize) tooLarge(n int, now time.Time) {
	b.limit = max(1, min(b.limit, n/2))
	b.until = now.Add(rememberBatchSize)
}

// splits holds the parts of batches that Clerk refused, each to be sent by
// itself. They go before all else, but take at most a tenth of the quota.
type splits struct {
	groups []*group
	sent   []time.Time // in the last window
}

// group is a part of a refused batch.
type group struct {
	wants []*want
	job   *splitJob
}

// splitJob is what is spent on one refused batch.
type splitJob struct{ requests int }

func (s *splits) ready(now time.Time, l limiter) bool {
	cfg := l.Config()
	for len(s.sent) > 0 && now.Sub(s.sent[0]) >= cfg.Window {
		s.sent = s.sent[1:]
	}
	return len(s.groups) > 0 && len(s.sent) < max(1, cfg.Limit/10)
}

// next is when a group may go that may not now. It is to be called after ready.
func (s *splits) next(window time.Duration) time.Time {
	if len(s.groups) == 0 || len(s.sent) == 0 {
		return time.Time{}
	}
	return s.sent[0].Add(window)
}

// loadSplit fills f with the next group.
func (g *Gate) loadSplit(f *flight, now time.Time) {
	gr := g.splits.groups[0]
	g.splits.groups = g.splits.groups[1:]
	f.kind, f.group = fairqueue.Shared, gr
	for _, w := range gr.wants {
		if len(w.waiters) == 0 {
			g.drop(w)
			continue
		}
		f.wants = append(f.wants, w)
		f.payers = append(f.payers, w.waiters[0].pending.caller)
	}
	if len(f.wants) > 0 {
		g.splits.sent = append(g.splits.sent, now)
	}
}

// split halves a batch that Clerk refused, until the culprit stands alone.
func (g *Gate) split(f *flight, now time.Time, err error) {
	var e *clerkapi.Error
	if errors.As(err, &e) && (e.Status == http.StatusRequestEntityTooLarge || e.Status == http.StatusRequestURITooLong) {
		g.batch.tooLarge(len(f.wants), now)
	}
	job := &splitJob{}
	if f.group != nil {
		job = f.group.job
	}
	if job.requests += 2; job.requests > maxSplit {
		g.failFlight(f, err)
		return
	}
	half := len(f.wants) / 2
	g.splits.groups = append(g.splits.groups,
		&group{wants: f.wants[:half], job: job}, &group{wants: f.wants[half:], job: job})
}

// chargeCulprit makes the line that asked for an id which Clerk refuses pay for
// finding it.
func (g *Gate) chargeCulprit(f *flight) {
	if w := f.wants[0]; len(w.waiters) > 0 {
		g.queue.Charge(w.waiters[0].pending.line, float64(f.group.job.requests))
	}
}
