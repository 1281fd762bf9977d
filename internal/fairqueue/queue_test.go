package fairqueue

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// epoch is the time at which tests begin.
var epoch = time.Unix(1_800_000_000, 0)

// model is a queue that works in the simple, slow way. It takes the turns of lines from
// the real one.
type model struct {
	q     *Queue
	now   time.Time
	lines []*Line // each once
	holds []*Line // each as often as it is held
	items []*modelItem
}

type modelItem struct {
	Item
	places []*modelPlace // in no order
}

type modelPlace struct {
	line    *Line
	waiters int
	since   time.Time // of the first
	order   int       // among the places of its line: lower ones go first
}

func (m *modelItem) in(l *Line) *modelPlace {
	for _, p := range m.places {
		if p.line == l {
			return p
		}
	}
	return nil
}

// line adds a holder of a line.
func (m *model) line(who Party, p Priority) {
	l := m.q.Line(who, p)
	m.holds = append(m.holds, l)
	if !slices.Contains(m.lines, l) {
		m.lines = append(m.lines, l)
	}
}

func (m *model) check(t *rapid.T) {
	var depth, shared int
	var byPriority [priorities]int
	var oldest [priorities]time.Duration
	var needs [priorities]int64
	inLine := make(map[*Line]int)
	for _, it := range m.items {
		if it.Waiting() != (len(it.places) > 0) {
			t.Fatalf("Waiting() is %v with %d places", it.Waiting(), len(it.places))
		}
		if len(it.places) == 0 {
			continue
		}
		depth++
		if it.Kind == Shared {
			shared++
		}
		of := Batch
		for _, p := range it.places {
			of = min(of, p.line.priority)
			oldest[p.line.priority] = max(oldest[p.line.priority], m.now.Sub(p.since))
			needs[p.line.priority] += it.Kind.cost()
			inLine[p.line]++
			if !it.In(p.line) {
				t.Fatal("an item is not in a line in which it waits")
			}
		}
		byPriority[of]++
	}
	if m.q.Len() != depth || m.q.Shared() != shared {
		t.Fatalf("%d items wait, %d shared; want %d and %d", m.q.Len(), m.q.Shared(), depth, shared)
	}
	for p := range Priority(priorities) {
		if got := m.q.Depth(p); got != byPriority[p] {
			t.Fatalf("%d items wait at priority %d, want %d", got, p, byPriority[p])
		}
		if got := m.q.Oldest(p, m.now); got != oldest[p] {
			t.Fatalf("the oldest at priority %d waits for %v, want %v", p, got, oldest[p])
		}
		if got, want := m.q.Requests(p), int((needs[p]+wholeCost-1)/wholeCost); got != want {
			t.Fatalf("priority %d needs %d requests, want %d", p, got, want)
		}
	}
	for i, l := range m.lines {
		if l.Len() != inLine[l] {
			t.Fatalf("%d items wait in line %d, want %d", l.Len(), i, inLine[l])
		}
	}
}

// checkTaken checks that nothing of the same kind went before its turn in its line.
func (m *model) checkTaken(t *rapid.T, tk Taken) {
	it := tk.Item.Value.(*modelItem)
	mine := it.in(tk.Line)
	if mine == nil {
		t.Fatal("a line gave what did not wait in it")
	}
	for _, other := range m.items {
		if p := other.in(tk.Line); p != nil && other.Kind == it.Kind && p.order < mine.order {
			t.Fatal("an item left before one that was ahead of it")
		}
	}
	it.places = nil
}

// TestQueueDoesWhatAModelDoes compares the queue with the model while items come, are
// joined, leave, are taken and return, in any order. In the end nothing is left.
func TestQueueDoesWhatAModelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{q: New(), now: epoch}
		for range rapid.IntRange(1, 6).Draw(t, "lines") {
			p := Priority(rapid.IntRange(0, 1).Draw(t, "priority"))
			who := Party{
				Peer: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "peer"),
				Name: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "name"),
			}
			m.line(who, p)
		}
		for range rapid.IntRange(1, 30).Draw(t, "items") {
			it := &modelItem{}
			it.Value, it.Kind = it, Kind(rapid.IntRange(0, 1).Draw(t, "kind"))
			m.items = append(m.items, it)
		}
		back, front := 0, 0
		steps := map[string]func(){
			"add or return": func() {
				it, l := rapid.SampledFrom(m.items).Draw(t, "item"), rapid.SampledFrom(m.lines).Draw(t, "line")
				p := it.in(l)
				if p == nil {
					back++
					p = &modelPlace{line: l, since: m.now, order: back}
					it.places = append(it.places, p)
				}
				p.waiters++
				if rapid.Bool().Draw(t, "return") {
					since := m.now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "since")) * time.Second)
					if p.waiters == 1 {
						front--
						p.order = front
					}
					if since.Before(p.since) {
						p.since = since
					}
					m.q.Return(&it.Item, l, since, m.now)
				} else {
					m.q.Add(&it.Item, l, m.now)
				}
			},
			"leave": func() {
				it, l := rapid.SampledFrom(m.items).Draw(t, "item"), rapid.SampledFrom(m.lines).Draw(t, "line")
				m.q.Leave(&it.Item, l)
				if p := it.in(l); p != nil {
					if p.waiters--; p.waiters == 0 {
						it.places = slices.DeleteFunc(it.places, func(o *modelPlace) bool { return o == p })
					}
				}
			},
			"remove": func() {
				it := rapid.SampledFrom(m.items).Draw(t, "item")
				m.q.Remove(&it.Item)
				it.places = nil
			},
			"take": func() {
				most := rapid.IntRange(0, 5).Draw(t, "most")
				turn, ok := m.q.Next(most)
				if !ok {
					return
				}
				head := m.q.Head(turn)
				want := 1
				if turn.Kind == Shared {
					want = min(most, m.q.Shared())
				}
				taken := m.q.Take(turn, most)
				if len(taken) != want || taken[0].Item != head || taken[0].Line.Priority() != turn.Priority {
					t.Fatalf("took %d items, want %d, the first being the head of the priority", len(taken), want)
				}
				cost := 0.0
				for _, tk := range taken {
					m.checkTaken(t, tk)
					cost += tk.peerUnits
				}
				if math.Abs(cost-wholeCost) > 1e-6 {
					t.Fatalf("one request cost %v units", cost)
				}
			},
			"charge": func() {
				m.q.Charge(rapid.SampledFrom(m.lines).Draw(t, "line"), rapid.Float64Range(-1, 20).Draw(t, "requests"))
			},
			"shares": func() {
				shares := map[string]Share{}
				for _, peer := range []string{"", "a", "b"} {
					shares[peer] = Share{
						Weight:     rapid.IntRange(0, 3).Draw(t, "weight"),
						Guaranteed: rapid.SampledFrom([]int{0, 0, 1, 20}).Draw(t, "guaranteed"),
					}
				}
				m.q.SetShares(shares)
			},
			"wait": func() { m.now = m.now.Add(time.Second) },
		}
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range steps {
				if !yield(name) {
					return
				}
			}
		})
		names = append(names, "add or return", "add or return")
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			steps[rapid.SampledFrom(names).Draw(t, "step")]()
			m.check(t)
		}
		for _, it := range m.items {
			m.q.Remove(&it.Item)
		}
		for _, l := range m.holds {
			l.Release()
		}
		if err := m.q.CheckEmpty(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPeersTakeTurnsByWeight: peers that always want something get whole requests in
// proportion to their weights, within one per weight.
func TestPeersTakeTurnsByWeight(t *testing.T) {
	testTurns(t, 5, func(name string) Party { return Party{Peer: name} })
}

// TestNamesTakeTurns: names of one peer that always want something get equally many whole
// requests, within one.
func TestNamesTakeTurns(t *testing.T) {
	testTurns(t, 1, func(name string) Party { return Party{Name: name} })
}

func testTurns(t *testing.T, greatest int, party func(name string) Party) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		weights := rapid.SliceOfN(rapid.IntRange(1, greatest), 1, 10).Draw(t, "weights")
		sum := 0
		got := make(map[*Line]int)
		lines := make([]*Line, len(weights))
		shares := make(map[string]Share)
		for i, w := range weights {
			shares[fmt.Sprint(i)] = Share{Weight: w}
		}
		q.SetShares(shares)
		add := func(l *Line) { q.Add(&Item{Kind: Whole}, l, epoch) }
		for i, w := range weights {
			sum += w
			lines[i] = q.Line(party(fmt.Sprint(i)), Interactive)
			for range rapid.IntRange(1, 3).Draw(t, "backlog") {
				add(lines[i])
			}
		}
		rounds := rapid.IntRange(1, 20).Draw(t, "rounds")
		for range rounds * sum {
			turn, _ := q.Next(100)
			for _, tk := range q.Take(turn, 100) {
				got[tk.Line]++
				add(tk.Line)
			}
		}
		for i, l := range lines {
			if diff := got[l] - rounds*weights[i]; diff < -weights[i]-1 || diff > weights[i]+1 {
				t.Fatalf("the lines of weights %v had %d and so on of %d turns each", weights, got[l], rounds)
			}
		}
	})
}

// TestEveryTenthRequestIsBatchs: and all others are Interactive's, while both wait.
func TestEveryTenthRequestIsBatchs(t *testing.T) {
	q := New()
	for p := range Priority(priorities) {
		l := q.Line(Party{}, p)
		for range 100 {
			q.Add(&Item{Kind: Whole}, l, epoch)
		}
	}
	for i := 1; i <= 50; i++ {
		want := Interactive
		if i%BatchTurn == 0 {
			want = Batch
		}
		turn, _ := q.Next(100)
		if turn.Priority != want {
			t.Fatalf("request %d is of priority %d, want %d", i, turn.Priority, want)
		}
		q.Take(turn, 1)
	}
}

// TestScanIsInOrder: an item that has waited longer in a line has no more ahead of it.
func TestScanIsInOrder(t *testing.T) {
	q := New()
	a, b := q.Line(Party{Peer: "a"}, Interactive), q.Line(Party{Peer: "b"}, Interactive)
	for i := range 300 {
		q.Add(&Item{Kind: Kind(i % kinds)}, a, epoch)
		q.Add(&Item{Kind: Whole}, b, epoch)
	}
	var ahead []int
	q.BeginScan()
	for q.Scan(7, func(it *Item, n int) {
		if it.In(a) {
			ahead = append(ahead, n)
		}
	}) {
		continue
	}
	if len(ahead) != 300 || !slices.IsSortedFunc(ahead, cmp.Compare[int]) || ahead[0] != 0 {
		t.Errorf("%d items have %v requests ahead of them", len(ahead), ahead)
	}
	// In the line of a, 150 whole and 150 shared items wait, and as many in the line of
	// b.
	if got := q.Ahead(a, Whole, 1); got < 240 || got > 360 {
		t.Errorf("%d requests are ahead of the next one, want about 303", got)
	}
}

// TestAScanSeesAllThatStays: each item is seen once, while others come, leave, are taken
// and return between the slices.
func TestAScanSeesAllThatStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New()
		lines := make([]*Line, 5)
		for i := range lines {
			lines[i] = q.Line(Party{Peer: fmt.Sprint(i)}, Priority(i%priorities))
		}
		add := func(stays bool) *Item {
			it := &Item{Value: stays}
			for _, l := range rapid.SliceOfNDistinct(rapid.SampledFrom(lines), 1, 3, rapid.ID).Draw(t, "lines") {
				q.Add(it, l, epoch)
			}
			return it
		}
		stay := make(map[*Item]int)
		var others []*Item
		for range rapid.IntRange(0, 50).Draw(t, "items") {
			if it := add(rapid.Bool().Draw(t, "stays")); it.Value.(bool) {
				stay[it] = 0
			} else {
				others = append(others, it)
			}
		}
		q.BeginScan()
		see := func(it *Item, _ int) {
			if it.Value.(bool) {
				stay[it]++
			} else if rapid.Bool().Draw(t, "removed when seen") {
				q.Remove(it)
			}
		}
		for q.Scan(rapid.IntRange(1, 10).Draw(t, "slice"), see) {
			for _, it := range others {
				switch rapid.IntRange(0, 5).Draw(t, "what") {
				case 0:
					q.Remove(it)
				case 1:
					q.Return(it, lines[0], epoch, epoch)
				case 2:
					others = append(others, add(false))
				}
			}
			if len(others) > 200 {
				others = nil
			}
		}
		for it, n := range stay {
			if n != 1 {
				t.Fatalf("an item in %d lines was seen %d times", len(it.places), n)
			}
		}
	})
}
