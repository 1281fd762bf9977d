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
	s, callers, others := g.status()
	s.tellCallers(callers, others)
	return s
}

// status is Status without its callers, and what is to be told of them. What takes
// longer is done without the lock.
func (g *Gate) status() (s Status, named []standing, others standing) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	cfg, q, health := g.limiter.Config(), g.limiter.State(now), g.shut.health(now)
	s = Status{
		Limit:          cfg.Limit,
		Window:         cfg.Window,
		Burst:          cfg.Burst,
		EffectiveLimit: q.Limit,
		Available:      q.Available,
		Held:           q.Held,
		InFlight:       len(g.flights),
		InFlightLimit:  g.bears.limit,
		Leased:         g.leased(),
		Upstream:       g.totals.upstream,
		PausedUntil:    q.PausedUntil,
		Queue:          g.waiting(now),
		EstimatedWait:  g.estimate(g.queue.AheadOfNewcomer(), now),
		Breaker:        BreakerStatus{State: g.shut.state, Since: g.shut.since, TimesOpened: g.shut.opened},
		KeyRefused:     health.KeyRefused,
		KeyTaken:       health.KeyTaken,
		Totals:         g.figures.totals(),
		Figures:        g.figures.clone(),
	}
	s.Totals.Lookups, s.Totals.Low = g.totals.lookups, g.totals.low
	if g.shared != nil {
		share := g.sharing
		share.ShareState = g.shared.ShareState(now)
		s.Shared = &share
	}
	named, others = g.callers.standings()
	return s, named, others
}

// waiting tells what waits, in the lines or apart from them.
func (g *Gate) waiting(now time.Time) (waits [2]QueueLevel) {
	for _, p := range priorities {
		waits[p] = QueueLevel{Depth: g.queue.Depth(p), Oldest: g.queue.Oldest(p, now)}
	}
	for gr := range g.groups { // the queue counts each as one
		of, n := Batch, -1
		for _, w := range gr.wants {
			for _, x := range w.waiters {
				of = min(of, x.pending.line.Priority())
			}
			if len(w.waiters) > 0 {
				n++
			}
		}
		waits[of].Depth += max(0, n)
	}
	apart := g.apart()
	for _, d := range g.shut.doubts {
		apart = append(apart, d.flight.wants...)
	}
	for _, w := range apart {
		if len(w.waiters) == 0 { // all have left
			continue
		}
		of := Batch
		for _, x := range w.waiters {
			p := x.pending.line.Priority()
			waits[p].Oldest = max(waits[p].Oldest, now.Sub(x.pending.since))
			of = min(of, p)
		}
		waits[of].Depth++
	}
	return waits
}

// Health tells whether Clerk can be asked. It costs little enough to be asked for
// many times a second.
func (g *Gate) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut.health(time.Now())
}
