package fairqueue

import "slices"

// guarantee is the part of all requests that a peer has at least, at both priorities
// together and while it has items, however many others wait and whatever their weights
// are. What the peer does not use is the others'.
//
// It is a token bucket whose clock is the number of requests. Each request adds its part.
// While the bucket is not empty, the peer goes first, and that costs a request; in turns by
// weight its items cost what they cost there. Of several peers, the one goes first whose
// bucket would be full first (earliest deadline first: as long as the parts add up to less
// than one, each has its turn within 1/part requests).
//
// Turns by weight can't overdraw the bucket by more than a request. So a peer that had more
// than its part while others did not need it does not pay for that later.
type guarantee struct {
	queue *Queue
	key   string            // Party.Peer
	part  float64           // above 0, below 1
	due   float64           // the number of the request that the peer may have next
	peers [priorities]*peer // nil: not remembered at this priority
}

// guarantee returns the guarantee of a peer, nil if it has none.
func (q *Queue) guarantee(key string) *guarantee {
	i := slices.IndexFunc(q.guarantees, func(g *guarantee) bool { return g.key == key })
	if i < 0 {
		return nil
	}
	return q.guarantees[i]
}

// period returns the number of requests of which one is the peer's.
func (g *guarantee) period() float64 { return 1 / g.part }

// next returns the number of the next request.
func (q *Queue) next() float64 { return float64(q.round + 1) }

// charge takes the cost of items out of the bucket, or puts it back if it is negative.
func (g *guarantee) charge(units float64) {
	requests, now := units/wholeCost, float64(g.queue.round)
	if requests < 0 {
		g.due += requests * g.period()
		return
	}
	// A full bucket has three requests. Others that are due, and Batch, may delay the peer's
	// turn by up to its period and one request.
	g.due = max(g.due, now-2*g.period())
	most := max(g.due, now+max(1, requests)*g.period())
	g.due = min(g.due+requests*g.period(), most)
}

// units returns the cost of all items that wait at the peer.
func (g *guarantee) units() (units int64) {
	for _, from := range g.peers {
		if from != nil {
			units += from.units
		}
	}
	return units
}

// owed returns the guaranteed turn that is due, if there is one that may go now.
func (q *Queue) owed(most int) (t Turn, ok bool) {
	var first *guarantee
	for _, g := range q.guarantees {
		if g.due > q.next() || first != nil && first.due+first.period() <= g.due+g.period() {
			continue
		}
		for p, from := range g.peers {
			if from == nil {
				continue
			}
			if k, may := from.may(q.together(most)); may {
				first, t = g, Turn{Priority(p), k, from}
				break
			}
		}
	}
	return t, first != nil
}

// may returns the kind of the peer's next item that may go, and whether there is one.
func (from *peer) may(together int) (Kind, bool) {
	if from.turns[Shared].Len() == 0 || together == 0 {
		return Whole, from.turns[Whole].Len() > 0
	}
	return from.next(together), true
}

// haveOwed calls take for a guaranteed turn of the peer. The turn costs a whole request of
// what is guaranteed, even if others share it: the rest of the peer's items wait for its
// next turn. Guaranteed turns do not use up turns by weight: they delay the next of these
// by at most one request.
func (from *peer) haveOwed(take func()) {
	g, v, due, tag := from.guarantee, from.level, from.guarantee.due, from.tag
	take()
	g.due = due
	g.charge(wholeCost)
	if most := max(tag, v.vtime+wholeCost/float64(from.weight)); from.tag > most {
		v.setTag(from, most)
	}
}

// withGuarantees returns how many units go before an item of a peer if ahead units go
// before it by turns alone. By then each other peer has had the given turns for each unit
// of its weight, or its guaranteed part if that is more. If the item is interactive, a
// tenth of the units of Batch goes before it, too.
func (q *Queue) withGuarantees(of *peer, turns float64, ahead, batch int64) int64 {
	units, parts := 0.0, 0.0
	for _, g := range q.guarantees {
		if n := g.units(); n > 0 && g != of.guarantee {
			units += float64(n)
			parts += g.part
		}
	}
	if units == 0 {
		return ahead + min(ahead/(BatchTurn-1), batch)
	}
	// The guaranteed parts are parts of the result itself. The iteration approaches it from
	// above, so that it is never too small. It includes the request of the item, for which the item
	// waits as for those before.
	own := float64(ahead) + wholeCost
	most := own + units + float64(batch)
	if rest := 1 - parts - 1./BatchTurn; rest > 0 {
		most = min(most, own/rest)
	}
	for range 4 {
		sum := own
		for _, g := range q.guarantees {
			if g != of.guarantee {
				sum += max(0, min(g.part*most, float64(g.units()))-g.had(of, turns))
			}
		}
		most = sum + min(sum/(BatchTurn-1), float64(batch))
	}
	return int64(most) - wholeCost
}

// had returns how many units of g's peer go before an item of another one by turns, if
// each peer has had the given turns for each unit of its weight.
func (g *guarantee) had(of *peer, turns float64) (units float64) {
	for p, from := range g.peers {
		switch {
		case from == nil:
		case Priority(p) == of.level.priority:
			units += min(float64(from.units), turns*float64(from.weight))
		case of.level.priority == Batch: // interactive items go first
			units += float64(from.units)
		}
	}
	return units
}

// ahead returns how many units go before an item of g's peer at most, if own units wait
// ahead of it there. All others with a guarantee, and Batch, may have a turn first.
func (g *guarantee) ahead(own int64, v *level) int64 {
	if from := g.peers[Interactive]; from != nil && v.priority == Batch {
		own += from.units
	}
	first := 1
	for _, other := range g.queue.guarantees {
		if other != g && other.units() > 0 {
			first++
		}
	}
	wait := max(0, g.due-g.queue.next())
	return int64((wait+float64(first))*wholeCost + float64(own)*g.period())
}
