package fairqueue

import (
	"testing"
)

// TestSharesHoldForWhatWaits: a weight that changes while items wait holds for the next
// turns, and for estimates.
func TestSharesHoldForWhatWaits(t *testing.T) {
	q := New()
	q.SetShares(map[string]Share{"a": {Weight: 9}})
	lines := map[string]*Line{}
	for _, peer := range []string{"a", "b"} {
		lines[peer] = q.Line(Party{Peer: peer}, Interactive)
		for range 200 {
			q.Add(&Item{Kind: Whole}, lines[peer], epoch)
		}
	}
	ofB := func(requests int) (n int) {
		for range requests {
			turn, _ := q.Next(100)
			if q.Take(turn, 100)[0].Line == lines["b"] {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		shares map[string]Share
		want   int
	}{
		{map[string]Share{"a": {Weight: 9}}, 10},
		{map[string]Share{"b": {Weight: 3}}, 75},
		{map[string]Share{"a": {Weight: 1}, "b": {Weight: 1}}, 50},
		{nil, 50},
	} {
		q.SetShares(step.shares)
		if got := ofB(100); got < step.want-1 || got > step.want+1 {
			t.Errorf("with %v b has %d of 100 turns, want %d", step.shares, got, step.want)
		}
		for _, l := range lines {
			for l.Len() < 200 {
				q.Add(&Item{Kind: Whole}, l, epoch)
			}
		}
		// The last of a new line's ten has nine of its own ahead of it, and of each peer as
		// many per weight.
		want := 9 + 9*(max(1, step.shares["a"].Weight)+max(1, step.shares["b"].Weight))
		if got := q.Ahead(q.Line(Party{Peer: "new"}, Interactive), Whole, 10); got < want*4/5 || got > want*6/5 {
			t.Errorf("with %v %d requests are ahead, want %d", step.shares, got, want)
		}
	}
}

// TestAChangedWeightHoldsForTurnsInAdvance: a peer that has had 20 requests in advance waits
// for as many turns of the other as are worth 20 requests at its new weight.
func TestAChangedWeightHoldsForTurnsInAdvance(t *testing.T) {
	for _, weight := range []int{1, 2, 20} {
		q := New()
		ahead, other := q.Line(Party{Peer: "ahead"}, Interactive), q.Line(Party{Peer: "other"}, Interactive)
		for range 200 {
			q.Add(&Item{Kind: Whole}, ahead, epoch)
			q.Add(&Item{Kind: Whole}, other, epoch)
		}
		q.Charge(ahead, 20)
		q.SetShares(map[string]Share{"ahead": {Weight: weight}})
		n := 0
		for turn, _ := q.Next(100); q.Take(turn, 100)[0].Line == other; turn, _ = q.Next(100) {
			n++
		}
		if want := 20 / weight; n < want-1 || n > want+1 {
			t.Errorf("weight %d: the other has %d turns first, want %d", weight, n, want)
		}
	}
}
