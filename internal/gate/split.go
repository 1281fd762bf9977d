package gate

import (
	"cmp"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// maxSearch is how many requests may be spent on finding which of one caller's ids in a
// refused lookup Clerk refuses. Halving 100 ids down to one takes 14.
const maxSearch = 16

// refuse answers the wants of r, which Clerk has refused, with err. A lookup of several
// ids is split first, until the culprit stands alone or, after maxSearch requests,
// among ids of one caller only.
func (g *Gate) refuse(r *request, v clerkapi.Verdict, now time.Time, err error) {
	if r.forUsers() && v.Shrink {
		g.lookupSize.tooLarge(len(r.wants))
	}
	if r.forUsers() && v.Split && len(r.wants) > 1 && g.split(r, now) {
		return
	}
	if r.part != nil {
		g.chargeCulprit(r)
	}
	if r.forUsers() && v.Split {
		for _, w := range r.wants {
			g.culprits.add(w.query, now)
		}
	}
	g.failRequest(r, err)
}

// split parks the wants of r in two parts. It divides first between callers, so that
// callers without a refused id soon have their answers, then between the ids of one
// caller. It returns false if no more requests may be spent on the search.
func (g *Gate) split(r *request, now time.Time) bool {
	s := &search{}
	if r.part != nil {
		s = r.part.search
	}
	order := make([]int, len(r.wants))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := r.parties[i], r.parties[j]
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Name, b.Name))
	})
	party := func(i int) Party { return r.parties[order[i]] }
	half := len(order) / 2
	if party(0) != party(len(order)-1) {
		half = boundary(half, len(order), func(i int) bool { return party(i-1) != party(i) })
	} else if s.requests+2 > maxSearch {
		return false
	}
	s.requests += 2
	for _, indices := range [][]int{order[:half], order[half:]} {
		pt := &part{search: s}
		for _, i := range indices {
			pt.wants = append(pt.wants, r.wants[i])
		}
		g.park(pt, now)
	}
	return true
}

// boundary returns the index from 1 to n-1 nearest to the middle for which is returns
// true.
func boundary(middle, n int, is func(i int) bool) int {
	for d := 0; d < n; d++ {
		for _, i := range []int{middle - d, middle + d} {
			if i > 0 && i < n && is(i) {
				return i
			}
		}
	}
	return max(1, middle)
}

// chargeCulprit refunds the turns that were spent on finding an id which Clerk refuses,
// and charges them to the line that asked for it.
func (g *Gate) chargeCulprit(r *request) {
	if w := r.wants[0]; len(w.waiters) > 0 {
		for _, t := range r.part.search.turns {
			g.queue.Refund(t)
			g.queue.Charge(w.waiters[0].call.line, 1)
		}
		r.part.search.turns = nil
	}
}
