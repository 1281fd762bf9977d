package fairqueue

import (
	"testing"

	"pgregory.net/rapid"
)

// asker is a caller that always has as much waiting: what leaves is replaced at once.
type asker struct {
	line      *Line
	kind      Kind
	weight    int
	backlog   int // items that wait
	got       float64
	turns     int // requests in which something of it left
	leftovers int // ... and something of it stayed
}

// perWeight is what a got, in requests for each unit of its weight.
func (a *asker) perWeight() float64 { return a.got / float64(a.weight) }

// light reports whether a always got at once all that it asked of a request that
// others share, so that it could have no more.
func (a *asker) light() bool { return a.kind == Shared && a.leftovers == 0 }

// run takes so many requests, and counts who got them.
func run(q *Queue, askers []*asker, requests int) {
	byLine := make(map[*Line]*asker)
	add := func(a *asker) { q.Add(&Item{Kind: a.kind}, a.line, epoch) }
	for _, a := range askers {
		byLine[a.line] = a
		for range a.backlog {
			add(a)
		}
	}
	for range requests {
		p, k, _ := q.Next(100)
		taken := q.Take(p, k, 100)
		again := make(map[*asker]int)
		for _, t := range taken {
			a := byLine[t.Line]
			a.got += 1 / float64(len(taken))
			again[a]++
		}
		for a, n := range again {
			a.turns++
			if a.line.Len() > 0 {
				a.leftovers++
			}
			for range n {
				add(a)
			}
		}
	}
}

// TestEachGetsItsShareOfRequests: callers that ask for lookups one at a time, for
// batches and for lists have equal shares of the requests by weight, within a
// fifth over 100 windows of ten. Who gets all that it asks of shared requests may
// have less.
func TestEachGetsItsShareOfRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		p := Priority(rapid.IntRange(0, 1).Draw(t, "priority"))
		askers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *asker {
			a := &asker{weight: rapid.IntRange(1, 3).Draw(t, "weight")}
			if rapid.Bool().Draw(t, "lists") {
				a.kind, a.backlog = Whole, rapid.IntRange(1, 20).Draw(t, "lists waiting")
			} else {
				a.backlog = rapid.SampledFrom([]int{1, 1, 2, 10, 50, 100, 150, 1000}).Draw(t, "ids waiting")
			}
			return a
		}), 1, 8).Draw(t, "callers")
		for _, a := range askers {
			a.line = q.NewLine(p, a.weight)
		}
		run(q, askers, 1000)

		var heavy, heavyWeight, mostShared float64
		shared := false
		for _, a := range askers {
			if !a.light() {
				heavy += a.got
				heavyWeight += float64(a.weight)
			}
			if a.kind == Shared {
				shared = true
				mostShared = max(mostShared, a.perWeight())
			}
		}
		if heavyWeight == 0 {
			return // all were always served
		}
		fair := heavy / heavyWeight
		for _, a := range askers {
			if got := a.perWeight(); got > 1.2*fair || !a.light() && got < 0.8*fair {
				t.Fatalf("of %d waiting of kind %d %.0f requests per weight left, the fair share is %.0f", a.backlog, a.kind, got, fair)
			}
		}
		// What is light gets its turns, too: some caller's lookups come to the fair share.
		if shared && mostShared < 0.8*fair {
			t.Fatalf("no lookups had more than %.0f requests, the fair share is %.0f", mostShared, fair)
		}
	})
}

// TestALoneLookupPaysForItsRequest: who asks for one user at a time has as many
// requests as who lists, and no more.
func TestALoneLookupPaysForItsRequest(t *testing.T) {
	q := New()
	lists := &asker{line: q.NewLine(Interactive, 1), kind: Whole, backlog: 10}
	looks := &asker{line: q.NewLine(Interactive, 1), backlog: 1}
	run(q, []*asker{lists, looks}, 1000)
	if lists.got < 450 || lists.got > 550 {
		t.Errorf("the lists had %.0f of 1,000 requests, the lookups %.0f; want half each", lists.got, looks.got)
	}
}
