package fairqueue

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawGuarantees draws shares of 1 to 5 peers, whose guarantees add up to 80 % at most.
func drawGuarantees(t *rapid.T) []Share {
	var all []Share
	left := 80
	for range rapid.IntRange(1, 5).Draw(t, "guarantees") {
		if left == 0 {
			break
		}
		s := Share{Weight: rapid.IntRange(1, 3).Draw(t, "weight"), Guaranteed: rapid.IntRange(1, left).Draw(t, "percent")}
		left -= s.Guaranteed
		all = append(all, s)
	}
	return all
}

// TestAGuaranteeHolds: beside up to 100 others of any weight and priority, each peer has
// its guaranteed part of the requests, less two, whatever it asks for: they are its own, or
// take along all that it has waiting. If all list, the others have what they have without
// guarantees less these parts, within a tenth.
func TestAGuaranteeHolds(t *testing.T) {
	const requests = 1000
	rapid.Check(t, func(t *rapid.T) {
		shares := make(map[string]Share)
		var parties []Party
		var levels []Priority
		var drawn []asker
		add := func(a asker, key string, s Share, p Priority) {
			shares[key] = s
			parties, levels, drawn = append(parties, Party{Peer: key}), append(levels, p), append(drawn, a)
		}
		guaranteed := drawGuarantees(t)
		parts := 0.0
		for i, s := range guaranteed {
			parts += float64(s.Guaranteed) / 100
			add(*drawAsker(t, 1), fmt.Sprint("guaranteed", i), s, Priority(rapid.IntRange(0, 1).Draw(t, "priority")))
		}
		lists := rapid.Bool().Draw(t, "all others list")
		for i := range rapid.SampledFrom([]int{1, 2, 10, 100}).Draw(t, "others") {
			a := asker{weight: 1, backlog: 1 + i%3}
			if lists || i%5 == 0 {
				a.kind = Whole
			}
			add(a, fmt.Sprint("other", i), Share{Weight: 1 + i*7%100}, Priority(i%4/3))
		}
		have := func(shares map[string]Share) (askers []*asker, othersLists float64) {
			q := New()
			q.SetShares(shares)
			for i, a := range drawn {
				a.line = q.Line(parties[i], levels[i])
				askers = append(askers, &a)
			}
			run(q, askers, requests)
			for _, a := range askers[len(guaranteed):] {
				if a.kind == Whole {
					othersLists += a.got
				}
			}
			return askers, othersLists
		}
		askers, othersLists := have(shares)
		for i, a := range askers[:len(guaranteed)] {
			t.Logf("%+v, %d waiting of kind %d: %.1f in %d requests", guaranteed[i], a.backlog, a.kind, a.got, a.turns)
			if want := float64(guaranteed[i].Guaranteed)/100*requests - 2; a.served < want {
				t.Fatalf("%d has %.1f requests, want %.1f", i, a.served, want)
			}
		}
		for key, s := range shares {
			shares[key] = Share{Weight: s.Weight}
		}
		if slices.ContainsFunc(drawn, func(a asker) bool { return a.kind != Whole }) {
			return // what lists have beside lookups depends on how many share their requests
		}
		// Batch keeps its tenth, so the parts are taken from nine tenths.
		if _, without := have(shares); othersLists < 0.9*without*(1-parts/0.9)-3-float64(len(guaranteed)) {
			t.Errorf("the others list %.1f times, without guarantees %.1f", othersLists, without)
		}
	})
}

// TestBatchKeepsItsTenth: beside guarantees, also of batch peers, every tenth request is
// another batch peer's.
func TestBatchKeepsItsTenth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		q.SetShares(map[string]Share{"a": {Guaranteed: rapid.IntRange(1, 50).Draw(t, "a")}, "b": {Guaranteed: rapid.IntRange(1, 30).Draw(t, "b")}})
		batch := &asker{line: q.Line(Party{Peer: "batch"}, Batch), kind: Whole, weight: 1, backlog: 1}
		ofB := Priority(rapid.IntRange(0, 1).Draw(t, "priority"))
		run(q, []*asker{
			{line: q.Line(Party{Peer: "a"}, Interactive), kind: Whole, weight: 1, backlog: 2},
			{line: q.Line(Party{Peer: "b"}, ofB), kind: Whole, weight: 1, backlog: 2},
			{line: q.Line(Party{Peer: "other"}, Interactive), kind: Whole, weight: 1, backlog: 2},
			batch,
		}, 1000)
		want := 100.0
		if ofB == Batch {
			want = 50 // b has its turns beside it
		}
		if batch.got < want-2 || ofB == Interactive && batch.got > want+1 {
			t.Errorf("batch has %v of 1,000 requests, want %v", batch.got, want)
		}
	})
}

// TestAGuaranteeCostsOthersNoMoreThanItsPart: a peer whose lookups fill little of a request
// does not keep a peer that lists from its turns, though others' lookups share its requests.
func TestAGuaranteeCostsOthersNoMoreThanItsPart(t *testing.T) {
	lists := func(percent int) float64 {
		q := New()
		q.SetShares(map[string]Share{"looks": {Guaranteed: percent}})
		list := &asker{line: q.Line(Party{Peer: "lists"}, Interactive), kind: Whole, weight: 1, backlog: 10}
		askers := []*asker{list, {line: q.Line(Party{Peer: "looks"}, Interactive), weight: 1, backlog: 1}}
		for i := range 20 {
			askers = append(askers, &asker{line: q.Line(Party{Peer: fmt.Sprint(i)}, Interactive), weight: 1, backlog: 1})
		}
		run(q, askers, 1000)
		return list.got
	}
	if without, with := lists(0), lists(20); with < without*8/10-2 {
		t.Errorf("the lists have %v of 1,000 requests beside a guarantee of 20 %%, without it %v", with, without)
	}
}

// TestAGuaranteeKeepsNothingFree: what a peer does not use is the others', and a peer that
// is alone has everything.
func TestAGuaranteeKeepsNothingFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		q.SetShares(map[string]Share{"a": {Guaranteed: 50}, "b": {Guaranteed: 30}})
		var lines []*Line
		for _, peer := range []string{"a", "b", "c"} {
			for p := range Priority(priorities) {
				lines = append(lines, q.Line(Party{Peer: peer}, p))
			}
		}
		n := rapid.IntRange(1, 50).Draw(t, "items")
		for range n {
			it := &Item{Kind: Kind(rapid.IntRange(0, 1).Draw(t, "kind"))}
			q.Add(it, rapid.SampledFrom(lines).Draw(t, "line"), epoch)
		}
		for q.Len() > 0 {
			turn, ok := q.Next(100)
			if !ok || len(q.Take(turn, 100)) == 0 {
				t.Fatalf("%d items wait, and none goes", q.Len())
			}
		}
	})
}

// TestAGuaranteeForgets: a peer that has had all requests for a while has its guaranteed
// part as soon as others come, and no more if it has had none for a while. When the others
// have gone but for one, it has its turns beside that one.
func TestAGuaranteeForgets(t *testing.T) {
	q := New()
	q.SetShares(map[string]Share{"a": {Guaranteed: 20}})
	list := func(peer string) *asker {
		return &asker{line: q.Line(Party{Peer: peer}, Interactive), kind: Whole, weight: 1, backlog: 3}
	}
	a, one := list("a"), list("one")
	var flood []*asker
	for i := range 100 {
		flood = append(flood, list(fmt.Sprint("flood", i)))
	}
	for _, step := range []struct {
		what     string
		askers   []*asker
		requests int
		want     float64
	}{
		{"alone", []*asker{a}, 50, 50},
		{"beside a flood", append(flood, one, a), 500, 100},
		{"beside one", []*asker{one, a}, 20, 10},
		{"while it wants nothing", append(flood, one), 500, 0},
		{"beside a flood, after a pause", append(flood, one, a), 50, 12}, // the bucket has had 3
	} {
		a.got = 0
		run(q, step.askers, step.requests)
		if a.got < step.want-1 || a.got > step.want+1 {
			t.Errorf("%s: %v of %d requests, want %v", step.what, a.got, step.requests, step.want)
		}
		for _, x := range step.askers {
			for x.line.Len() > 0 && x != one { // if nothing waited, all would be alike afterwards
				q.Remove(x.line.heads[Whole].first.item)
			}
		}
	}
}

// TestEstimatesKnowOfTheOwnGuarantee: an item of a peer with a fifth of the requests, behind
// ten others of that peer, leaves within 60 requests, and the estimate says so.
func TestEstimatesKnowOfTheOwnGuarantee(t *testing.T) {
	for p := range Priority(priorities) {
		q := New()
		q.SetShares(map[string]Share{"a": {Guaranteed: 20}, "b": {Guaranteed: 20}})
		for i := range 100 {
			for range 50 {
				q.Add(&Item{Kind: Whole}, q.Line(Party{Peer: fmt.Sprint(i)}, Interactive), epoch)
			}
		}
		a := q.Line(Party{Peer: "a"}, p)
		for range 10 {
			q.Add(&Item{Kind: Whole}, a, epoch)
		}
		estimate, last := q.Ahead(a, Whole, 1), &Item{Kind: Whole}
		q.Add(last, a, epoch)
		took := 0
		for turn, _ := q.Next(100); q.Take(turn, 100)[0].Item != last; turn, _ = q.Next(100) {
			took++
		}
		if took < 40 || estimate < took || estimate > 60 {
			t.Errorf("priority %d: %d requests were ahead, the estimate was %d", p, took, estimate)
		}
	}
}

// TestEstimatesKnowOfGuarantees: an item leaves after about as many requests as estimated
// when it came, if nothing else comes.
func TestEstimatesKnowOfGuarantees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		shares := make(map[string]Share)
		sum := 0
		for i, s := range drawGuarantees(t) {
			shares[fmt.Sprint(i)] = s
			sum += s.Guaranteed
		}
		q.SetShares(shares)
		var lines []*Line
		for i := range rapid.IntRange(1, 10).Draw(t, "peers") {
			l := q.Line(Party{Peer: fmt.Sprint(i)}, Priority(rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "priority")))
			lines = append(lines, l)
			for range rapid.IntRange(0, 300).Draw(t, "waiting") {
				q.Add(&Item{Kind: Whole}, l, epoch)
			}
		}
		for range rapid.IntRange(0, 50).Draw(t, "taken before") {
			if turn, ok := q.Next(100); ok {
				q.Take(turn, 100)
			}
		}
		l := rapid.SampledFrom(lines).Draw(t, "line")
		last := &Item{Kind: Whole}
		estimate := q.Ahead(l, Whole, 1)
		q.Add(last, l, epoch)
		took := 0
		for ; ; took++ {
			turn, _ := q.Next(100)
			if q.Take(turn, 100)[0].Item == last {
				break
			}
		}
		// Estimates do not know who is next in the round of turns by weight that has begun. All
		// others' turns in it may come first, between those that are guaranteed, or once in ten
		// requests.
		round := float64(len(lines)+1) / (0.9 - float64(sum)/100)
		if l.priority == Batch {
			round = float64(len(lines)+1) * BatchTurn
		}
		// Those of batch do not know either that guaranteed turns leave its tenth to the others.
		// And none knows that a peer has turns by weight beside its guaranteed ones, so it may be
		// served after half as many requests, or half as many again.
		ahead, e := float64(took), float64(estimate)
		if ahead > e*1.5+round || l.priority == Interactive && ahead < e*0.5-round {
			t.Fatalf("%d requests were ahead, the estimate was %d", took, estimate)
		}
	})
}
