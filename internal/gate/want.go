package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// upstream is Clerk, as the gate asks it. A *clerkapi.Client is one.
type upstream interface {
	LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error)
	ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error)
	CountUsers(ctx context.Context, f *clerkgatev1.UserFilter) (*clerkapi.Count, error)
}

// want is what the gate is asked for: a user, the answer to one call, or a
// lease. It belongs to nobody: it ends with an answer, or when the last
// of its waiters leaves before it was sent.
//
// A want is in one of these places: in lines of the queue, by itself or in a group;
// delayed until a retry; in a flight, or in one that has landed with an answer that
// a probe is to explain; or among the leases that gather their permits or are lent.
type want struct {
	id      string                                            // of a user; empty for all else
	call    func(context.Context) (any, clerkapi.Meta, error) // of a list or count
	asks    string                                            // of a call: list or count
	lease   *lease                                            // of permits
	query   uint64                                            // tells what it asks for from all else; 0 for a lease
	alone   bool                                              // an id that shares no request, since it has spoilt one
	item    fairqueue.Item                                    // its places in the queue; Shared if it is a user's id
	group   *group                                            // in which it waits; nil if it does not
	waiters []*waiter
	tries   int
	refused int       // times that a 429 was its own
	limited int       // times that a 429 was taken for one of a limit on concurrency
	resent  bool      // it was sent again because a kept connection was dead
	batch   *batch    // of its latest flight; nil if nothing is traced
	eta     time.Time // when it is expected to be sent, as first estimated
	left    time.Time // when the request left that carries it, the last one
}

// permits is how many permits w wants for itself.
func (w *want) permits() int {
	if w.lease != nil {
		return w.lease.request.Permits
	}
	return 1
}

// newWant completes w, which must have an id, a call or a lease.
func newWant(w *want) *want {
	w.item.Value = w
	if w.id != "" {
		w.query = queryOf("user:" + w.id)
	}
	if w.id == "" || w.alone {
		w.item.Kind = fairqueue.Whole
	}
	return w
}

// askAlone has w, which must not wait in a line, share no request.
func (w *want) askAlone() { w.alone, w.item.Kind = true, fairqueue.Whole }

func wantOf(it *fairqueue.Item) *want { return it.Value.(*want) }

// waiter is one place of a pending call that a want will fill.
type waiter struct {
	want    *want
	pending *pending
	index   int  // in pending.results
	at      int  // in want.waiters, -1 once answered or gone
	counted bool // by the crowd
}

// pending is a call that waits for one or more wants.
type pending struct {
	crowd    *crowd
	caller   *caller
	party    Party
	line     *fairqueue.Line // in which its wants wait, or would if they came back to the queue; held until all are answered
	since    time.Time       // when it came
	deadline time.Time       // zero: none
	results  []Result
	value    any // the answer to a call
	left     int
	done     chan struct{} // closed when left comes to 0
	waiters  []waiter
	trace    *callTrace // nil: it is not traced
}

func (g *Gate) newPending(ctx context.Context, n int) *pending {
	p := &pending{
		crowd:   &g.crowd,
		since:   time.Now(),
		results: make([]Result, n),
		left:    n,
		done:    make(chan struct{}),
		waiters: make([]waiter, n),
		trace:   g.trace(ctx, n),
	}
	p.deadline, _ = ctx.Deadline()
	return p
}

// fill answers one place.
func (p *pending) fill(i int, r Result) {
	p.results[i] = r
	if p.left--; p.left == 0 {
		p.line.Release()
		close(p.done)
	}
}

// join makes place i of p wait for w.
func (w *want) join(p *pending, i int) *waiter {
	x := &p.waiters[i]
	*x = waiter{want: w, pending: p, index: i, at: len(w.waiters)}
	w.waiters = append(w.waiters, x)
	return x
}

// part takes x out of its want's waiters.
func (x *waiter) part() {
	w := x.want
	last := w.waiters[len(w.waiters)-1]
	w.waiters[x.at] = last
	last.at = x.at
	w.waiters = w.waiters[:len(w.waiters)-1]
	x.at = -1
	x.count(false)
}

// answer gives r to all who wait.
func (w *want) answer(r Result, value any) {
	for _, x := range w.waiters {
		x.at = -1
		x.count(false)
		x.pending.value = value
		x.pending.fill(x.index, r)
	}
	w.waiters = nil
}
