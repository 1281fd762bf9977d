package gate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// load takes the wants whose turn it is out of the queue and returns the request for
// them.
func (g *Gate) load(t turn, now time.Time) *request {
	if t.kind == probeRequest {
		g.leases.limited, g.leases.askedAt = false, now
		if t.asksHang {
			g.places.askedAt = now
		}
		return &request{kind: probeRequest, asksHang: t.asksHang}
	}
	turns := g.queue.Take(t.next, g.lookupSize.limit)
	for _, taken := range turns {
		for range wantsOf(taken.Item) {
			g.cfg.Observer.Dequeued(taken.Line.Priority(), now.Sub(taken.Item.Since()))
		}
	}
	if pt, ok := turns[0].Item.Value.(*part); ok {
		return g.loadPart(pt, turns[0])
	}
	r := &request{kind: lookupRequest}
	if wantOf(turns[0].Item).id == "" {
		r.kind = listOrCountRequest
	} else {
		turns = g.fitRequestLine(turns, now)
	}
	r.turns = turns
	for _, taken := range turns {
		w := wantOf(taken.Item)
		r.add(w, w.payer(taken.Line))
		if w.id != "" {
			delete(g.queued, w.id)
			g.asked[w.id] = w
		}
	}
	return r
}

// loadPart returns the request for a part of a refused lookup, which has been taken out
// of the queue.
func (g *Gate) loadPart(pt *part, taken fairqueue.Taken) *request {
	g.unpark(pt)
	pt.search.turns = append(pt.search.turns, taken)
	r := &request{kind: partRequest, part: pt}
	for _, w := range pt.wants {
		if len(w.waiters) == 0 {
			g.drop(w)
			continue
		}
		g.asked[w.id] = w
		r.add(w, w.waiters[0])
	}
	return r
}

// fitRequestLine puts back the ids that would make the request line too long, and returns the
// others.
func (g *Gate) fitRequestLine(turns []fairqueue.Taken, now time.Time) []fairqueue.Taken {
	length := clerkapi.LookupLine()
	fits := 0
	for ; fits < len(turns); fits++ {
		length += clerkapi.LookupLine(wantOf(turns[fits].Item).id) - clerkapi.LookupLine()
		if length > clerkapi.MaxRequestLine {
			break
		}
	}
	for _, t := range slices.Backward(turns[fits:]) {
		g.queue.Refund(t)
		for _, x := range wantOf(t.Item).waiters {
			g.comeBack(wantOf(t.Item), x, now)
		}
	}
	return turns[:fits]
}

// ask sends r to Clerk and returns the answer. A panic while an answer is read becomes
// an error, so that a fault in one answer does not end the server.
func (g *Gate) ask(ctx context.Context, r *request) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{err: g.panicked(p)}
		}
	}()
	switch r.kind {
	case probeRequest:
		a.meta, a.err = g.probe(ctx)
	case listOrCountRequest:
		a.value, a.meta, a.err = r.wants[0].listOrCount.do(ctx)
	default:
		ids := make([]string, len(r.wants))
		for i, w := range r.wants {
			ids[i] = w.id
		}
		var lookup *clerkapi.Lookup
		if lookup, a.err = g.cfg.Upstream.LookupUsers(ctx, ids); a.err == nil {
			a.meta = lookup.Meta
			a.results = g.keep(r, ids, lookup.Results)
			a.unclear = make([]bool, len(ids))
			for i, result := range lookup.Results {
				a.unclear[i] = result.Unclear && len(ids) > 1
			}
		}
	}
	return a
}

// keep calls Config.Keep with each answer, and returns the results for the waiters.
func (g *Gate) keep(r *request, ids []string, users []clerkapi.UserResult) []Result {
	results := make([]Result, len(users))
	for i, u := range users {
		result := Result{User: u.User, Err: u.Err, FetchTime: r.sentAt, Stamp: r.stamp}
		if result.Err == nil || errors.Is(result.Err, clerkapi.ErrNotFound) {
			result.Kept = g.cfg.Keep(ids[i], result)
		}
		results[i] = result
	}
	return results
}
