package gate

import (
	"cmp"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// maxSplit is how many requests may be spent on finding out which of one caller's
// ids in a refused batch Clerk refuses. Halving 100 ids down to one takes 14.
const maxSplit = 16

// group is a part of a refused batch, which is sent by itself. It waits in the lines
// of those who want its ids and takes a whole request's turn there, so that nobody
// else pays for it or waits behind it.
type group struct {
	wants []*want
	item  fairqueue.Item
	job   *splitJob
}

// splitJob is what is spent on one refused batch.
type splitJob struct {
	requests int
	turns    []fairqueue.Taken // that were spent on it
}

// wantsOf returns the wants of an item: one, or those of a group.
func wantsOf(it *fairqueue.Item) []*want {
	if gr, ok := it.Value.(*group); ok {
		return gr.wants
	}
	return []*want{wantOf(it)}
}

// park puts gr to the front of the lines of all who wait for its wants, but for
// those that nobody wants any more.
func (g *Gate) park(gr *group, now time.Time) {
	gr.wants = slices.DeleteFunc(gr.wants, func(w *want) bool {
		if len(w.waiters) > 0 {
			return false
		}
		g.drop(w)
		return true
	})
	if len(gr.wants) == 0 {
		return
	}
	gr.item = fairqueue.Item{Value: gr, Kind: fairqueue.Whole}
	g.groups[gr] = struct{}{}
	for _, w := range gr.wants {
		w.group = gr
		if g.flying[w.id] == w {
			delete(g.flying, w.id) // who comes now does not wait behind the group
		}
		for _, x := range w.waiters {
			g.queue.Return(&gr.item, x.pending.line, x.pending.since, now)
			x.count(true)
		}
	}
}

// unpark makes gr one that waits nowhere.
func (g *Gate) unpark(gr *group) {
	g.queue.Remove(&gr.item)
	delete(g.groups, gr)
	for _, w := range gr.wants {
		w.group = nil
	}
}

// loadGroup fills f with a group that has been taken.
func (g *Gate) loadGroup(f *flight, gr *group, turn fairqueue.Taken) {
	g.unpark(gr)
	gr.job.turns = append(gr.job.turns, turn)
	f.kind, f.group = fairqueue.Shared, gr
	for _, w := range gr.wants {
		if len(w.waiters) == 0 {
			g.drop(w)
			continue
		}
		g.flying[w.id] = w
		f.add(w, w.waiters[0])
		w.waiters[0].count(false)
	}
}

// refuse answers the wants of a request that Clerk does not like with err. A batch
// is split first, until the culprit stands alone or, after maxSplit requests, among
// ids of one caller only.
func (g *Gate) refuse(f *flight, v clerkapi.Verdict, now time.Time, err error) {
	if f.lookup() && v.Shrink {
		g.batch.tooLarge(len(f.wants))
	}
	if f.lookup() && v.Split && len(f.wants) > 1 && g.split(f, now) {
		return
	}
	if f.group != nil {
		g.chargeCulprit(f)
	}
	if f.lookup() && v.Split {
		for _, w := range f.wants {
			g.culprits.add(w.query, now)
		}
	}
	g.failFlight(f, err)
}

// split parks the halves of f's batch: between callers first, so that those who asked
// for nothing that Clerk refuses are soon out of it, and then inside one caller's
// ids. It returns false if there is nothing left to be spent on that.
func (g *Gate) split(f *flight, now time.Time) bool {
	job := &splitJob{}
	if f.group != nil {
		job = f.group.job
	}
	order := make([]int, len(f.wants))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := f.parties[i], f.parties[j]
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Name, b.Name))
	})
	party := func(i int) Party { return f.parties[order[i]] }
	half := len(order) / 2
	if party(0) != party(len(order)-1) {
		half = boundary(half, len(order), func(i int) bool { return party(i-1) != party(i) })
	} else if job.requests+2 > maxSplit {
		return false
	}
	job.requests += 2
	for _, part := range [][]int{order[:half], order[half:]} {
		gr := &group{job: job}
		for _, i := range part {
			gr.wants = append(gr.wants, f.wants[i])
		}
		g.park(gr, now)
	}
	return true
}

// boundary returns the place from 1 to n-1 nearest to the middle at which is holds.
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

// chargeCulprit makes the line that asked for an id which Clerk refuses pay for all
// that was spent on finding it, in the place of those that did.
func (g *Gate) chargeCulprit(f *flight) {
	if w := f.wants[0]; len(w.waiters) > 0 {
		for _, t := range f.group.job.turns {
			g.queue.Refund(t)
			g.queue.Charge(w.waiters[0].pending.line, 1)
		}
		f.group.job.turns = nil
	}
}
