package fairqueue

import (
	"fmt"
	"testing"
)

// TestInventingNamesWinsNothing: a peer with a thousand names gets the turns of one, and
// no more than MaxNames lines and one.
func TestInventingNamesWinsNothing(t *testing.T) {
	q := New()
	var lines []*Line
	for i := range 1000 {
		lines = append(lines, q.Line(Party{Peer: "many", Name: fmt.Sprint(i)}, Interactive))
	}
	one := q.Line(Party{Peer: "one"}, Interactive)
	for range 1000 {
		q.Add(&Item{Kind: Whole}, one, epoch)
		for _, l := range lines[:20] {
			q.Add(&Item{Kind: Whole}, l, epoch)
		}
	}
	got := 0
	for range 200 {
		turn, _ := q.Next(100)
		if q.Take(turn, 100)[0].Line == one {
			got++
		}
	}
	if got != 100 {
		t.Errorf("one name had %d of 200 turns beside a thousand of another peer", got)
	}
	different := make(map[*Line]bool)
	for _, l := range lines {
		different[l] = true
	}
	if len(different) != MaxNames+1 {
		t.Errorf("a thousand names had %d lines", len(different))
	}
}

// TestANameThatWantsNothingGivesItsPlaceUp: names that come later take its place.
func TestANameThatWantsNothingGivesItsPlaceUp(t *testing.T) {
	q := New()
	for i := range 10 * MaxNames {
		l := q.Line(Party{Peer: "a", Name: fmt.Sprint(i)}, Interactive)
		if l == l.peer.others {
			t.Fatalf("name %d has no line of its own, though all before it want nothing", i)
		}
		l.Release()
	}
	if len(q.levels[Interactive].peers) != 0 {
		t.Error("a peer that wanted nothing is remembered")
	}
}

// TestPeersAreForgotten: peers that have had turns in advance are remembered until the
// others have had as many, and never more than maxIndebted.
func TestPeersAreForgotten(t *testing.T) {
	q := New()
	busy := q.Line(Party{Peer: "busy"}, Interactive)
	for range 10 {
		q.Add(&Item{Kind: Whole}, busy, epoch)
	}
	peers := q.levels[Interactive].peers
	for i := range 2 * maxIndebted {
		l := q.Line(Party{Peer: fmt.Sprint(i)}, Interactive)
		q.Add(&Item{}, l, epoch)
		q.Take(Turn{Priority: Interactive, Kind: Shared}, 1)
		l.Release()
		if len(peers) > maxIndebted+1 {
			t.Fatalf("%d peers are remembered", len(peers))
		}
	}
	if len(peers) < maxIndebted {
		t.Errorf("%d peers are remembered that have had turns ahead", len(peers))
	}
	for range 9 {
		q.Take(Turn{Priority: Interactive, Kind: Whole}, 1)
	}
	q.Remove(q.Head(Turn{Priority: Interactive, Kind: Whole}))
	busy.Release()
	if err := q.CheckEmpty(); err != nil {
		t.Error(err)
	}
}
