package gate

import (
	"cmp"
	"slices"
	"time"
)

const (
	maxCallers   = 1000 // callers remembered by name
	shownCallers = 100  // callers told by Status
)

// totals are sums since the start.
type totals struct {
	lookups        int64
	lookupRequests int64
	requests       int64
	rateLimited    int64
	retries        int64
	low            int64 // times less than a tenth of the quota was left
	upstream       *Upstream
}

// caller is who asks, with a line in each level.
type caller struct {
	name    string
	lines   [2]*line
	lookups int64
	share   float64
	queued  int
	refused int64
}

func (c *caller) idle() bool { return c.queued == 0 }

// callers are those seen lately. Beyond a bound the least busy are forgotten.
type callers struct {
	queue  *queue
	weight func(string) int
	byName map[string]*caller
}

func (c *callers) init(q *queue, weight func(string) int) {
	c.queue, c.weight, c.byName = q, weight, make(map[string]*caller)
}

// line is where o's wants wait.
func (c *callers) line(o Options) *line {
	who := c.byName[o.Caller]
	if who == nil {
		if len(c.byName) >= maxCallers {
			c.forget()
		}
		who = &caller{name: o.Caller}
		for p := range who.lines {
			who.lines[p] = c.queue.newLine(who, Priority(p), c.weight(o.Caller))
		}
		c.byName[o.Caller] = who
	}
	return who.lines[o.Priority]
}

// forget drops the less busy half of those who want nothing now. A line that is
// dropped loses no turn: an empty one joins at the level's time at any rate, but
// for what it has had ahead, which a busy one keeps.
func (c *callers) forget() {
	idle := make([]*caller, 0, len(c.byName))
	for _, who := range c.byName {
		if who.idle() {
			idle = append(idle, who)
		}
	}
	slices.SortFunc(idle, func(a, b *caller) int { return cmp.Compare(a.share, b.share) })
	for _, who := range idle[:(len(idle)+1)/2] {
		delete(c.byName, who.name)
	}
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
		Totals: Totals{
			Lookups:     g.totals.lookups,
			Requests:    g.totals.requests,
			RateLimited: g.totals.rateLimited,
			Retries:     g.totals.retries,
			Low:         g.totals.low,
		},
	}
	if g.shared != nil {
		share := g.sharing
		share.ShareState = g.shared.ShareState(now)
		s.Shared = &share
	}
	if n := g.totals.lookupRequests; n > 0 {
		s.Totals.UsersPerRequest = float64(g.totals.lookups) / float64(n)
	}
	for p := range s.Queue {
		v := &g.queue.levels[p]
		s.Queue[p].Depth = v.entries
		if v.all.first != nil {
			s.Queue[p].Oldest = now.Sub(v.all.first.since)
		}
	}
	for _, c := range g.callers.byName {
		s.Callers = append(s.Callers, CallerStatus{
			Name: c.name, Lookups: c.lookups, Share: c.share, Queued: c.queued, Refused: c.refused,
		})
	}
	slices.SortFunc(s.Callers, func(a, b CallerStatus) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Name, b.Name))
	})
	s.Callers = s.Callers[:min(len(s.Callers), shownCallers)]
	return s
}

// Health tells whether Clerk can be asked. It costs little enough to be asked for
// many times a second.
func (g *Gate) Health() Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Health{
		Breaker: g.shut.state, KeyRefused: g.shut.keyRejected != nil, KeyTaken: g.shut.keyTaken, AskingKey: g.shut.asking,
	}
}

// stranger is the line of an interactive caller never seen before, for estimates.
func (c *callers) stranger() *line {
	return &line{level: &c.queue.levels[Interactive], weight: 1}
}
