package fairqueue

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// asker is a caller that always has the same number of items waiting: each that leaves
// is replaced at once.
type asker struct {
	line      *Line
	peer      int
	kind      Kind
	weight    int
	backlog   int // items that wait
	got       float64
	turns     int     // requests in which something of it left
	leftovers int     // ... and something of it stayed
	served    float64 // requests that were its own, or took all that it had waiting
}

// perWeight returns what a got, in requests for each unit of its weight.
func (a *asker) perWeight() float64 { return a.got / float64(a.weight) }

// light reports whether a got, nine times of ten, all its items into a request that
// others share, so that it could not get more.
func (a *asker) light() bool { return a.kind == Shared && 10*a.leftovers <= a.turns }

// run takes a number of requests, and counts who got them.
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
		turn, _ := q.Next(100)
		taken := q.Take(turn, 100)
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
				a.served += float64(n) / float64(len(taken))
			} else {
				a.served++
			}
			for range n {
				add(a)
			}
		}
	}
}

// drawAsker draws a caller that looks up users one at a time or in batches, or lists.
func drawAsker(t *rapid.T, peers int) *asker {
	a := &asker{weight: 1, peer: rapid.IntRange(1, peers).Draw(t, "peer")}
	if rapid.Bool().Draw(t, "lists") {
		a.kind, a.backlog = Whole, rapid.IntRange(1, 20).Draw(t, "lists waiting")
	} else {
		a.backlog = rapid.SampledFrom([]int{1, 1, 2, 10, 50, 100, 150, 300}).Draw(t, "ids waiting")
	}
	return a
}

func drawAskers(t *rapid.T, peers int) []*asker {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *asker { return drawAsker(t, peers) }), 1, 8).Draw(t, "callers")
}

// TestEachGetsItsShareOfRequests: peers by weight, or names of one peer, get equal parts
// of the requests within a fifth, over 100 windows of ten, whatever they ask for. One
// that gets all its items into shared requests may have less, but leaves in as many of
// them as an equal part has.
func TestEachGetsItsShareOfRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		p := Priority(rapid.IntRange(0, 1).Draw(t, "priority"))
		inside := rapid.Bool().Draw(t, "names of one peer")
		askers := drawAskers(t, 1)
		shares := make(map[string]Share)
		q.SetShares(shares)
		for i, a := range askers {
			who := Party{Name: fmt.Sprint(i)}
			if !inside {
				a.weight = rapid.IntRange(1, 3).Draw(t, "weight")
				who = Party{Peer: fmt.Sprint(i)}
				shares[who.Peer] = Share{Weight: a.weight}
			}
			a.line = q.Line(who, p)
		}
		run(q, askers, 1000)

		var weights, heavy, heavyWeight float64
		for _, a := range askers {
			weights += float64(a.weight)
			if !a.light() {
				heavy += a.got
				heavyWeight += float64(a.weight)
			}
			t.Logf("weight %d, %d waiting of kind %d: %.1f in %d requests", a.weight, a.backlog, a.kind, a.got, a.turns)
		}
		if heavyWeight == 0 {
			return // all were always served
		}
		fair := heavy / heavyWeight
		for i, a := range askers {
			got := a.perWeight()
			if got > 1.2*fair || !a.light() && got < 0.8*fair || float64(a.turns) < 0.8*1000/weights {
				t.Fatalf("%d left in %d requests and had %.0f of them per weight, the fair share is %.0f", i, a.turns, got, fair)
			}
		}
	})
}

// TestNoNameGetsLessThanItsShare: with several names at each of several peers, each gets
// at least its part of its peer's equal part of the requests, less a fifth.
func TestNoNameGetsLessThanItsShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		askers := drawAskers(t, 4)
		names := make(map[int]int) // by peer
		for i, a := range askers {
			a.line = q.Line(Party{Peer: fmt.Sprint(a.peer), Name: fmt.Sprint(i)}, Interactive)
			names[a.peer]++
		}
		run(q, askers, 1000)
		for _, a := range askers {
			t.Logf("peer %d, %d waiting of kind %d: %.1f in %d requests", a.peer, a.backlog, a.kind, a.got, a.turns)
		}
		for i, a := range askers {
			if fair := 1000 / float64(len(names)*names[a.peer]); float64(a.turns) < 0.8*fair-2 {
				t.Fatalf("%d left in %d requests, its share is %.0f", i, a.turns, fair)
			}
		}
	})
}

// TestALoneLookupPaysForItsRequest: a caller that asks for one user at a time gets as
// many requests as one that lists, and no more.
func TestALoneLookupPaysForItsRequest(t *testing.T) {
	q := New()
	lists := &asker{line: q.Line(Party{Peer: "a"}, Interactive), kind: Whole, backlog: 10}
	looks := &asker{line: q.Line(Party{Peer: "b"}, Interactive), backlog: 1}
	run(q, []*asker{lists, looks}, 1000)
	if lists.got < 450 || lists.got > 550 {
		t.Errorf("the lists had %.0f of 1,000 requests, the lookups %.0f; want half each", lists.got, looks.got)
	}
}
