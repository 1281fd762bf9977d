package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// want is something that callers wait for: a user, the answer to a list or count, or a
// lease. It belongs to no caller: it ends with an answer, or when the last of its
// waiters leaves before it was sent.
//
// A want is in one of these places:
//   - in lines of the queue, by itself or in a part of a refused lookup;
//   - in Gate.delayed, until its next try;
//   - in a request that is under way;
//   - in Gate.doubts, with a request whose answer a probe is to explain;
//   - among the leases that gather their permits or are lent.
type want struct {
	id          string       // of the user; empty for all else
	listOrCount *listOrCount // nil for all else
	lease       *lease       // nil for all else
	query       uint64       // identifies what is asked for; 0 for a lease
	alone       bool         // an id that shares no request, since it has spoilt one
	item        fairqueue.Item
	part        *part // in which it waits; nil if it waits by itself
	waiters     []*waiter

	tries       int  // failed tries
	ownLimits   int  // 429s that were taken for its own
	crowdLimits int  // 429s that were taken for those of a limit on concurrency
	resent      bool // it was sent again because a kept connection was dead

	eta    time.Time    // when it is expected to be sent, as first estimated
	sentAt time.Time    // when the last request that carries it left
	trace  RequestTrace // of that request; nil if nothing is traced
}

// listOrCount is a list or a count, which needs a request of its own.
type listOrCount struct {
	endpoint string // "list" or "count"
	do       func(context.Context) (any, clerkapi.Meta, error)
}

// newWant completes w, which must have an id, a list or count, or a lease.
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

// permits returns how many permits w takes for itself.
func (w *want) permits() int {
	if w.lease != nil {
		return w.lease.request.Permits
	}
	return 1
}

// askAlone makes w share no request from now on. It must not wait in a line.
func (w *want) askAlone() { w.alone, w.item.Kind = true, fairqueue.Whole }

// payer returns the waiter that pays for w if it leaves by the turn of line l: the first
// waiter in l, or any other if l has none left.
func (w *want) payer(l *fairqueue.Line) *waiter {
	for _, x := range w.waiters {
		if x.call.line == l {
			return x
		}
	}
	return w.waiters[0]
}

// wantOf returns the want of an item that is one.
func wantOf(it *fairqueue.Item) *want { return it.Value.(*want) }

// wantsOf returns the wants of an item: one, or those of a part.
func wantsOf(it *fairqueue.Item) []*want {
	if pt, ok := it.Value.(*part); ok {
		return pt.wants
	}
	return []*want{wantOf(it)}
}

// part is a part of a refused lookup, which is sent by itself. It waits in the lines of
// all who wait for its ids and takes a whole request's turn there, so that nobody else
// pays for it or waits behind it.
type part struct {
	wants  []*want
	item   fairqueue.Item
	search *search // for the culprit, to which it belongs
}

// search counts what the search for the culprit in one refused lookup has cost.
type search struct {
	requests int
	turns    []fairqueue.Taken // those that were charged for it
}

// waiter is one result of a waiting call, which a want will set.
type waiter struct {
	want    *want
	call    *waitingCall
	index   int  // in waitingCall.results
	slot    int  // index in want.waiters; -1 once answered or gone
	counted bool // by the occupancy
}

// waitingCall is a call that waits for one or more wants.
type waitingCall struct {
	occupancy  *occupancy
	caller     *usage.Caller
	party      Party
	line       *fairqueue.Line // in which its wants wait, or would wait again; held until all are answered
	since      time.Time       // when the call came
	deadline   time.Time       // zero: none
	results    []Result
	value      any // the answer to a list or count
	unanswered int
	done       chan struct{} // closed when unanswered drops to 0
	waiters    []waiter
	trace      CallTrace // nil: it is not traced
}

// fill sets result i.
func (p *waitingCall) fill(i int, r Result) {
	p.results[i] = r
	if p.unanswered--; p.unanswered == 0 {
		p.line.Release()
		close(p.done)
	}
}

// join makes result i of p wait for w.
func (w *want) join(p *waitingCall, i int) *waiter {
	x := &p.waiters[i]
	*x = waiter{want: w, call: p, index: i, slot: len(w.waiters)}
	w.waiters = append(w.waiters, x)
	return x
}

// detach removes x from its want's waiters.
func (x *waiter) detach() {
	w := x.want
	last := w.waiters[len(w.waiters)-1]
	w.waiters[x.slot] = last
	last.slot = x.slot
	w.waiters = w.waiters[:len(w.waiters)-1]
	x.slot = -1
	x.count(false)
}

// answer answers all waiters.
func (w *want) answer(r Result, value any) {
	for _, x := range w.waiters {
		x.slot = -1
		x.count(false)
		x.call.value = value
		x.call.fill(x.index, r)
	}
	w.waiters = nil
}
