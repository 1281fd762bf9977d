package gate

import "time"

// totals are sums since the start beside the figures.
type totals struct {
	lookups  int64 // ids answered
	low      int64 // times less than a tenth of the quota was left
	upstream *Upstream
}

// Status tells how the quota, the queue and the breaker stand.
func (g *Gate) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	cfg, q := g.limiter.Config(), g.limiter.State(now)
	s := Status{
		Limit:          cfg.Limit,
		Window:         cfg.Window,
		Burst:          cfg.Burst,
		EffectiveLimit: q.Limit,
		Available:      q.Available,
		Held:           q.Held,
		InFlight:       len(g.flights),
		Upstream:       g.totals.upstream,
		PausedUntil:    q.PausedUntil,
		EstimatedWait:  g.estimate(g.callers.stranger(), 0, callCost, now),
		Breaker:        BreakerStatus{State: g.shut.state, Since: g.shut.since, TimesOpened: g.shut.opened},
		Totals:         g.figures.totals(),
		Figures:        g.figures.clone(),
	}
	s.Totals.Lookups, s.Totals.Low = g.totals.lookups, g.totals.low
	if g.shared != nil {
		share := g.sharing
		share.ShareState = g.shared.ShareState(now)
		s.Shared = &share
	}
	for p := range s.Queue {
		v := &g.queue.levels[p]
		s.Queue[p].Depth = v.entries
		if v.all.first != nil {
			s.Queue[p].Oldest = now.Sub(v.all.first.since)
		}
	}
	g.callers.tell(&s)
	return s
}

// Health tells whether Clerk can be asked. It costs little enough to be asked for
// many times a second.
func (g *Gate) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut.health(time.Now())
}

// stranger is the line of an interactive caller never seen before, for estimates.
func (c *callers) stranger() *line {
	return &line{level: &c.queue.levels[Interactive], weight: 1}
}
