package server

import (
	"context"
	"time"
)

// pulse is how often the server reads the gate's state: the delay until health and watchers
// of the quota notice a change.
const pulse = 50 * time.Millisecond

// runPeriodic runs the server's periodic tasks until ctx ends.
func (s *Server) runPeriodic(ctx context.Context) {
	s.guard.countReplicas(s.cfg.Quota)
	frequent, rare := time.NewTicker(pulse), time.NewTicker(tellGap)
	defer frequent.Stop()
	defer rare.Stop()
	for {
		select {
		case <-frequent.C:
			s.ready.update()
			s.feed.refresh()
		case <-rare.C:
			s.edge.calls.tellLeftOut()
			s.guard.countReplicas(s.cfg.Quota)
			s.guard.forgetMeters(time.Now())
			s.edge.arrivals.endLate(time.Now())
			s.edge.outbox.closeStuck(2*s.cfg.SendTimeout, s.cfg.Logger)
		case <-ctx.Done():
			s.edge.calls.tellLeftOut()
			return
		}
	}
}
