package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// Status describes the quota, the queue and the breaker.
type Status struct {
	Limit          int           // requests per Window that the quota allows
	Window         time.Duration //
	Burst          int           // size of the token bucket, 0: strict window
	EffectiveLimit int           // permits that may be held at once now
	FullLimit      int           // Limit less the reserve
	Available      int           // requests that could be sent at once
	Held           int           // permits held
	KeptBack       int           // of these: for what may have been spent before the start
	KeptUntil      time.Time     // when the last of KeptBack comes free
	InFlight       int           // requests in flight
	InFlightLimit  int           // the most requests in flight: Config.MaxInFlight, or fewer if Clerk accepts fewer
	Leased         int           // permits held by leases
	Upstream       *Upstream     // the last headers of Clerk's, nil if none came
	PausedUntil    time.Time     // zero if not paused
	Shared         *SharedStatus // nil if the quota is not shared
	Queue          [2]QueueLevel // by Priority
	EstimatedWait  time.Duration // of an interactive list that arrives now
	Breaker        BreakerStatus
	KeyRefused     bool // as in Health
	KeyTaken       bool // as in Health
	Callers        usage.Report
}

// SharedStatus describes the sharing of the quota.
type SharedStatus struct {
	quota.ShareState
	Exchanges int64         // with the shared state, those that failed included
	Failures  int64         // exchanges that had no answer in time
	Latency   time.Duration // sum of the times that exchanges took
}

// QueueLevel describes the wants that wait at one priority.
type QueueLevel struct {
	Depth  int           // wants waiting; one that waits at both priorities is Interactive's
	Oldest time.Duration // the longest wait so far, 0 if nobody waits
}

// Health reports whether Clerk can be asked.
type Health struct {
	Breaker    BreakerState
	KeyRefused bool // Clerk refuses the key, as its last answer showed
	KeyTaken   bool // Clerk has taken a key since the start
	AskingKey  bool // Config.AskKey is set and Clerk has not answered yet; for 3 s at most
}

// Health reports whether Clerk can be asked. It is cheap enough to be called many times
// a second.
func (g *Gate) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.health(time.Now())
}

func (g *Gate) health(now time.Time) Health {
	return Health{
		Breaker:    g.breaker.status().State,
		KeyRefused: g.key.refused != nil || g.key.untried,
		KeyTaken:   g.key.taken,
		AskingKey:  g.key.asking && now.Before(g.key.askUntil),
	}
}

// Status describes the quota, the queue and the breaker.
func (g *Gate) Status() Status {
	s := g.status()
	s.Callers = g.cfg.Callers.Report() // takes long enough to be done without the lock
	return s
}

// status returns the Status without its callers.
func (g *Gate) status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	cfg, q, health := g.limiter.Config(), g.limiter.State(now), g.health(now)
	s := Status{
		Limit:          cfg.Limit,
		Window:         cfg.Window,
		Burst:          cfg.Burst,
		EffectiveLimit: q.Limit,
		FullLimit:      q.FullLimit,
		Available:      q.Available,
		Held:           q.Held,
		KeptBack:       q.KeptBack,
		KeptUntil:      q.KeptUntil,
		InFlight:       len(g.requests),
		InFlightLimit:  g.concurrency.limit,
		Leased:         g.leased(),
		Upstream:       g.headers,
		PausedUntil:    q.PausedUntil,
		Queue:          g.waiting(now),
		EstimatedWait:  g.estimate(g.queue.AheadOfNewcomer(), now),
		Breaker:        g.breaker.status(),
		KeyRefused:     health.KeyRefused,
		KeyTaken:       health.KeyTaken,
	}
	if g.shared != nil {
		shared := g.exchanges
		shared.ShareState = g.shared.ShareState(now)
		s.Shared = &shared
	}
	return s
}

// waiting returns how many wants wait, in lines or outside the queue, and for how long.
func (g *Gate) waiting(now time.Time) (waits [2]QueueLevel) {
	for _, p := range priorities {
		waits[p] = QueueLevel{Depth: g.queue.Depth(p), Oldest: g.queue.Oldest(p, now)}
	}
	for pt := range g.parts { // the queue counts each as one
		of, n := Batch, -1
		for _, w := range pt.wants {
			for _, x := range w.waiters {
				of = min(of, x.call.line.Priority())
			}
			if len(w.waiters) > 0 {
				n++
			}
		}
		waits[of].Depth += max(0, n)
	}
	apart := g.outsideQueue()
	for _, d := range g.doubts.all {
		apart = append(apart, d.request.wants...)
	}
	for _, w := range apart {
		if len(w.waiters) == 0 { // all have left
			continue
		}
		of := Batch
		for _, x := range w.waiters {
			p := x.call.line.Priority()
			waits[p].Oldest = max(waits[p].Oldest, now.Sub(x.call.since))
			of = min(of, p)
		}
		waits[of].Depth++
	}
	return waits
}
