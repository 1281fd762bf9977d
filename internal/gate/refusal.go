package gate

import "time"

// probes is the state of the probes. At most one is under way. A probe is a request that
// no caller has a part in, so its answer concerns everybody.
type probes struct {
	next     time.Time     // while the gate refuses: the earliest time of the next probe
	underWay bool          //
	took     time.Duration // the last one that was answered; 0 once another request was
}

// refusing reports whether only probes may go to Clerk: the breaker is not closed, or
// Clerk refuses the key.
func (g *Gate) refusing() bool { return !g.breaker.closed() || g.key.refused != nil }

// refusal returns the error for newcomers while the gate refuses.
func (g *Gate) refusal(now time.Time) error {
	if g.key.refused != nil {
		return g.key.refused
	}
	return &Error{Kind: ErrBreakerOpen, RetryAfter: max(g.breaker.openFor/10, g.probes.next.Sub(now)), Err: g.breaker.failure}
}
