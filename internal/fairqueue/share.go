package fairqueue

import (
	"container/heap"
	"maps"
	"slices"
)

// Share is a peer's weight and guarantee. Peers without a Share have the zero Share.
type Share struct {
	Weight int // the peer's weight among the peers; below 1 it counts as 1
	// Guaranteed is the part of all requests, in percent, that the peer has at least while
	// it has items. 0: none. The parts of all peers must add up to less than 90, since a
	// tenth is Batch's.
	Guaranteed int
}

// SetShares replaces the shares of all peers, by Party.Peer. The new shares apply at once,
// also to items that already wait. SetShares keeps the map: do not change it afterwards.
func (q *Queue) SetShares(shares map[string]Share) {
	var guarantees []*guarantee
	for _, key := range slices.Sorted(maps.Keys(shares)) {
		percent := shares[key].Guaranteed
		if percent <= 0 {
			continue
		}
		g := q.guarantee(key)
		if g == nil {
			g = &guarantee{queue: q, key: key}
		}
		g.part = float64(percent) / 100
		g.due = min(g.due, q.next()+g.period())
		guarantees = append(guarantees, g)
	}
	q.shares, q.guarantees = shares, guarantees
	for i := range q.levels {
		v := &q.levels[i]
		for _, from := range v.peers {
			v.setWeight(from, weightOf(shares[from.key]))
			q.guaranteeTo(from)
		}
	}
}

func weightOf(s Share) int64 { return int64(max(1, s.Weight)) }

// guaranteeTo connects a peer with its guarantee.
func (q *Queue) guaranteeTo(from *peer) {
	from.guarantee = nil
	if q.shares[from.key].Guaranteed > 0 {
		from.guarantee = q.guarantee(from.key)
		from.guarantee.peers[from.level.priority] = from
	}
}

// setWeight changes the weight of a peer. Turns that it has had in advance cost the
// others as many requests as before.
func (v *level) setWeight(from *peer, weight int64) {
	if weight == from.weight {
		return
	}
	v.backlog.move(from.units, 0, from.weight)
	v.backlog.move(0, from.units, weight)
	tag := from.tag
	if advance := tag - v.vtime; advance > 0 {
		tag = v.vtime + advance*float64(from.weight)/float64(weight)
	}
	from.weight = weight
	v.setTag(from, tag)
}

// setTag changes the tag of a peer.
func (v *level) setTag(from *peer, tag float64) {
	from.tag = tag
	v.latest = max(v.latest, tag)
	v.fix(from)
	if from.slot >= 0 {
		heap.Fix(&v.indebted, from.slot)
	}
}
