package gate

import (
	"context"
	"sync"
	"time"
)

// Run sends what waits until ctx ends. Then it answers everything that still waits or
// is under way with ErrShuttingDown, and returns nil when all that it has started has
// ended. It must be called at most once.
func (g *Gate) Run(ctx context.Context) error {
	var requests, keepers sync.WaitGroup
	stop := make(chan struct{})
	if g.ledger != nil {
		keepers.Go(func() { g.keepLedger(stop) })
	}
	if g.shared != nil {
		keepers.Go(func() { g.keepSharing(stop) })
		keepers.Go(func() { g.keepReleased(stop) })
	}
	defer func() { // once the last request has ended
		close(stop)
		keepers.Wait()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			g.close()
			requests.Wait()
			g.lateProbes.Wait()
			return nil
		case <-g.wake:
		case <-timer.C:
		}
		next := g.dispatch(func(r *request) {
			if r.kind == probeRequest { // its answer is awaited after it has been settled, too
				requests.Go(func() { g.serve(ctx, r) })
				return
			}
			ctx, cancel := context.WithCancel(ctx)
			r.cancel = cancel
			requests.Go(func() {
				defer cancel()
				g.serve(ctx, r)
			})
		})
		if g.recheckSome() {
			g.poke()
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// serve sends r to Clerk and settles it.
func (g *Gate) serve(ctx context.Context, r *request) {
	if r.trace != nil {
		ctx = r.trace.Context(ctx)
	}
	a := g.ask(ctx, r)
	g.reportAnswered(r, a)
	g.settle(r, a)
	g.poke()
}

// close refuses what comes from now on and answers what waits. Requests under way end
// by their context.
func (g *Gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.failWaiting(&Error{Kind: ErrShuttingDown})
}
