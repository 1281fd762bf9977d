package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// keepSharing exchanges reports for permits until stop is closed, and then sends the
// last report.
func (g *Gate) keepSharing(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		hurry := false
		select {
		case <-stop:
			g.sayGoodbye()
			return
		case <-g.exchangeDue:
		case <-timer.C:
		case <-g.cfg.Shared.News():
			hurry = true
		}
		g.mu.Lock()
		now := time.Now()
		wants := g.permitsWanted()
		due := g.shared.Due(now, wants)
		if due.After(now) && !hurry {
			g.mu.Unlock()
			timer.Reset(due.Sub(now))
			continue
		}
		r := g.shared.Report(now, wants)
		g.mu.Unlock()
		g.exchange(r, now)
		g.poke()
		timer.Reset(0)
	}
}

// exchange sends a report made at sent, and evaluates the reply.
func (g *Gate) exchange(r quota.Report, sent time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout)
	defer cancel()
	reply, err := g.cfg.Shared.Exchange(ctx, r)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.exchanges.Exchanges++
	g.exchanges.Latency += now.Sub(sent)
	if err != nil {
		g.exchanges.Failures++
	}
	g.shared.Reply(r, sent, now, reply, err)
	g.handOverKept(false)
	if err == nil {
		g.readMail(reply, now)
	}
	// The end of one pause may shift by as much as an exchange takes.
	if until := g.limiter.State(now).PausedUntil; until.After(g.recheck.until.Add(exchangeTimeout)) {
		g.recheck.until = until
		g.beginRecheck(now, nil)
	}
	s := g.shared.ShareState(now)
	if s.Decider == g.decider {
		return
	}
	g.decider = s.Decider
	switch s.Decider {
	case quota.DecidesState:
		g.cfg.Logger.Info("the quota is shared through Redis", "replicas", s.Replicas)
	case quota.DecidesLearning:
		g.cfg.Logger.Warn("the quota's state in Redis is new: keeping to this replica's share until the state knows all held permits",
			"replicas", s.Replicas, "permits", s.Allowance)
	case quota.DecidesFallback:
		g.cfg.Logger.Warn("the quota's state in Redis can't be reached: keeping to this replica's share",
			"replicas", s.Replicas, "permits", s.Allowance, "error", err)
	}
}

// permitsWanted returns how many permits are wanted: interactive and batch ones.
func (g *Gate) permitsWanted() [2]int {
	if !g.needsPermit {
		return [2]int{}
	}
	var wants [2]int
	for _, p := range priorities {
		wants[p] = g.queue.Requests(p)
	}
	if all := wants[Interactive] + wants[Batch]; len(g.leases.gathering) > 0 {
		w := g.leases.gathering[0]
		n := w.lease.request.Permits - len(w.lease.permits)
		if all > 0 {
			n = min(n, all) // they take turns
		}
		wants[w.waiters[0].call.line.Priority()] += n
	}
	if wants == [2]int{} {
		wants[Interactive] = 1 // a probe
	}
	return wants
}

// sayGoodbye leaves the quota to the other replicas.
func (g *Gate) sayGoodbye() {
	g.mu.Lock()
	now := time.Now()
	r := g.shared.Goodbye(now)
	g.mu.Unlock()
	g.exchange(r, now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handOverKept(true)
}
