package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// upstream is Clerk's API. It is a *clerkapi.Client.
type upstream interface {
	LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error)
	ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error)
	CountUsers(ctx context.Context, f *clerkgatev1.UserFilter) (*clerkapi.Count, error)
}

// kind is what a permit is used for.
type kind int

const (
	noRequest     kind = iota
	lookupRequest      // users by their ids
	callRequest        // one list or count
	probeRequest       // a small list that no caller has asked for
	partRequest        // users: a part of a refused lookup
	leasePermit        // no request: a permit for a lease
)

// request is one request to Clerk. It is built by dispatch and does not change while
// it is under way, but for overtaken.
type request struct {
	kind    kind
	part    *part             // of a partRequest, else nil
	wants   []*want           // none for a probe
	turns   []fairqueue.Taken // what the lines were charged, in the order of wants; none for a part
	payers  []*caller         // who pays for it, in the order of wants
	parties []Party           // who these are
	permit  quota.Permit
	sentAt  time.Time
	stamp   uint64
	number  uint64        // counts all requests that have left
	beside  int           // how many were under way when it left, itself included
	done    func(error)   // reports its end to the breaker
	trace   *requestTrace // nil if nothing is traced

	asksHang  bool   // a probe: it asks whether Clerk hangs
	cancel    func() // ends it; nil for a probe
	overtaken bool   // it takes no place in flight; guarded by Gate.mu
}

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
	turns := g.queue.Take(t.priority, t.item, g.lookupSize.limit)
	for _, taken := range turns {
		for range wantsOf(taken.Item) {
			g.stats.Waits[taken.Line.Priority()].observe(now.Sub(taken.Item.Since()).Seconds())
		}
	}
	if pt, ok := turns[0].Item.Value.(*part); ok {
		return g.loadPart(pt, turns[0])
	}
	r := &request{kind: lookupRequest}
	if wantOf(turns[0].Item).id == "" {
		r.kind = callRequest
	} else {
		turns = g.cutLine(turns, now)
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

// cutLine puts back the ids that would make the request line too long, and returns the
// others.
func (g *Gate) cutLine(turns []fairqueue.Taken, now time.Time) []fairqueue.Taken {
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

// add adds a want for which x pays. MaxInFlight bounds those who pay, so the occupancy
// does not count them.
func (r *request) add(w *want, x *waiter) {
	r.wants = append(r.wants, w)
	r.payers = append(r.payers, x.pending.caller)
	r.parties = append(r.parties, x.pending.party)
	x.count(false)
}

// forUsers reports whether r asks for users by their ids.
func (r *request) forUsers() bool { return r.kind == lookupRequest || r.kind == partRequest }

// alone reports whether other ids must not join r.
func (r *request) alone() bool { return r.kind == partRequest || len(r.wants) > 0 && r.wants[0].alone }

// severalCallers reports whether the wants of r are those of several callers.
func (r *request) severalCallers() bool {
	return slices.ContainsFunc(r.parties, func(p Party) bool { return p != r.parties[0] })
}

// callers returns who has asked for the wants of r, as far as that is proven: a caller
// that uses several names is one caller.
func (r *request) callers() []string {
	var all []string
	for _, p := range r.parties {
		who := "peer " + p.Peer
		if p.Peer == "" {
			who = "name " + p.Name
		}
		if !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return all
}

// failedBefore reports whether a want of r has failed before.
func (r *request) failedBefore() bool {
	return slices.ContainsFunc(r.wants, func(w *want) bool { return w.tries > 0 })
}

// queries returns the queries of the wants of r.
func (r *request) queries() []uint64 {
	queries := make([]uint64, len(r.wants))
	for i, w := range r.wants {
		queries[i] = w.query
	}
	return queries
}

// endpoint returns the name of what r asks Clerk, for the log.
func (r *request) endpoint() string {
	switch {
	case r.kind == probeRequest:
		return "probe"
	case r.kind == callRequest:
		return r.wants[0].call.endpoint
	case len(r.wants) == 1:
		return "get"
	}
	return lookupEndpoint
}

// answer is what a request has brought.
type answer struct {
	results []Result // to a lookup
	unclear []bool   // to a lookup of several ids: only a request for the id alone shows what became of it
	value   any      // to a list or count
	meta    clerkapi.Meta
	err     error
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
	case callRequest:
		a.value, a.meta, a.err = r.wants[0].call.do(ctx)
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

// panicked logs a panic in reading an answer, and returns it as an error.
func (g *Gate) panicked(p any) error {
	g.cfg.Logger.Error("reading Clerk's answer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Err: errors.New("reading it panicked")}
}
