package gate

import (
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// crowd counts who waits, for the limits of the queue. Everybody counts that waits in
// the queue or until a retry. Of those whom a request under way serves, its payers do
// not, since MaxInFlight bounds them; those who have joined them do.
type crowd struct {
	total   int
	byLine  map[*fairqueue.Line]int
	callers *callers
}

// crowded is the error for one more waiter in l, nil if there is room.
//
// The last hundredth of the queue is kept for lines in which few wait, so that the
// calls of others are not turned away as long as a few fill the queue.
func (g *Gate) crowded(l *fairqueue.Line) error {
	room := g.cfg.QueueLimit - g.crowd.total
	here := g.crowd.byLine[l]
	switch {
	case room <= 0, room <= g.cfg.QueueLimit/100 && here >= max(1, room/10):
		return ErrQueueFull
	case here >= g.cfg.CallerQueueLimit:
		return ErrCallerQueueFull
	}
	return nil
}

// count has x counted, or not any more.
func (x *waiter) count(counted bool) {
	if x.counted == counted {
		return
	}
	x.counted = counted
	c, who, l := x.pending.crowd, x.pending.caller, x.pending.line
	if counted {
		c.total++
		c.byLine[l]++
		c.callers.wait(who)
		return
	}
	c.total--
	if c.byLine[l]--; c.byLine[l] == 0 {
		delete(c.byLine, l)
	}
	c.callers.leave(who)
}
