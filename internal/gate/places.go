package gate

import (
	"cmp"
	"slices"
	"time"
)

// A request that hangs keeps its place in flight until the client gives it up, though
// Clerk may have recovered long before. So if all places are taken by requests that are
// older than a probe may be, and something waits, a probe goes without a place. Its answer
// shows that Clerk has overtaken these requests: those without waiters are cancelled, and
// others lose their places, at most half as many as there are places. They go on without
// one, since they may only be slow.

// hangProbeEvery is how often a probe asks whether Clerk hangs.
const hangProbeEvery = time.Second

// places counts the requests that have lost their places in flight.
type places struct {
	overtaken int       // requests under way that take no place
	askedAt   time.Time // when the last probe left that asks whether Clerk hangs
}

// hangProbe reports whether a probe must be sent now to find out whether the requests in
// all places hang. If not, again is when to ask again.
func (g *Gate) hangProbe(now time.Time) (due bool, again time.Time) {
	if g.probes.underWay || g.placesTaken() < g.concurrency.limit || g.queue.Len() == 0 {
		return false, time.Time{}
	}
	at := g.places.askedAt.Add(hangProbeEvery)
	useful := g.mayOvertake() > 0
	for r := range g.requests {
		if r.overtaken {
			continue
		}
		useful = useful || r.deserted()
		if old := r.sentAt.Add(g.probeTimeout()); old.After(at) {
			at = old
		}
	}
	switch {
	case !useful:
		return false, time.Time{}
	case at.After(now):
		return false, at
	}
	return true, time.Time{}
}

// mayOvertake returns how many more requests that somebody waits for may lose their
// places.
func (g *Gate) mayOvertake() int { return max(1, g.concurrency.limit/2) - g.places.overtaken }

// overtake frees the places of requests that hang, after the answer to a probe that left
// later.
func (g *Gate) overtake(probe *request, now time.Time) {
	if g.placesTaken() < g.concurrency.limit {
		return
	}
	var old []*request
	for r := range g.requests {
		if !r.overtaken && r.kind != probeRequest && r.sentAt.Before(probe.sentAt) && now.Sub(r.sentAt) >= g.probeTimeout() {
			old = append(old, r)
		}
	}
	slices.SortFunc(old, func(a, b *request) int { return cmp.Compare(a.number, b.number) })
	for _, r := range old {
		switch {
		case r.deserted():
			r.cancel()
		case g.mayOvertake() <= 0:
			continue
		}
		r.overtaken = true
		g.places.overtaken++
		for _, w := range r.wants { // later lookups of the same user don't wait for r
			if w.id != "" && g.asked[w.id] == w {
				delete(g.asked, w.id)
			}
		}
	}
}

// deserted reports whether r is no probe and nobody waits for it.
func (r *request) deserted() bool {
	return r.kind != probeRequest && !slices.ContainsFunc(r.wants, func(w *want) bool { return len(w.waiters) > 0 })
}
