package fairqueue

import "container/heap"

// Share is what a peer may expect of the requests. The zero Share is that of all peers
// without one of their own.
type Share struct {
	Weight int // the peer's weight among the peers; below 1 it counts as 1
}

// SetShares sets the shares of peers, by Party.Peer, in place of all earlier ones. They
// hold at once, also for what waits. It keeps the map, which must not be changed any more.
func (q *Queue) SetShares(shares map[string]Share) {
	q.shares = shares
	for i := range q.levels {
		v := &q.levels[i]
		for key, from := range v.peers {
			v.setWeight(from, weightOf(shares[key]))
		}
	}
}

func weightOf(s Share) int64 { return int64(max(1, s.Weight)) }

// setWeight changes the weight of a peer. Turns that it has had in advance cost the
// others as many requests as before.
func (v *level) setWeight(from *peer, weight int64) {
	if weight == from.weight {
		return
	}
	v.backlog.move(from.units, 0, from.weight)
	v.backlog.move(0, from.units, weight)
	if advance := from.tag - v.vtime; advance > 0 {
		from.tag = v.vtime + advance*float64(from.weight)/float64(weight)
		v.latest = max(v.latest, from.tag)
	}
	from.weight = weight
	v.fix(from)
	if from.slot >= 0 {
		heap.Fix(&v.indebted, from.slot)
	}
}
