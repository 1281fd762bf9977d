package fairqueue

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// crowded returns a queue in which the given number of items of several peers wait, in
// any order.
func crowded(items, peers int) (*Queue, []*Line) {
	q := New()
	lines := make([]*Line, peers)
	for i := range lines {
		lines[i] = q.Line(Party{Peer: fmt.Sprint(i)}, Interactive)
	}
	order := rand.New(rand.NewPCG(1, 2))
	for i := range items {
		l := lines[i%peers]
		if i >= peers {
			l = lines[order.IntN(peers)]
		}
		q.Add(&Item{}, l, epoch)
	}
	for range items / 100 / 4 { // so that tags differ
		for _, t := range q.Take(Turn{Priority: Interactive, Kind: Shared}, 100) {
			q.Add(t.Item, t.Line, epoch)
		}
	}
	return q, lines
}

// BenchmarkQueue measures the cost of an item while others wait: to come and leave
// again; to come and be taken as a hundredth of a request; to come, be taken, return
// because of a 429, and be taken again; to be compared with a pause; and to come from a
// new caller.
func BenchmarkQueue(b *testing.B) {
	for _, size := range []struct{ items, peers int }{{100, 1}, {100, 100}, {10_000, 1}, {10_000, 10_000}, {100_000, 1}, {100_000, 10_000}} {
		name := fmt.Sprintf("items=%d/peers=%d", size.items, size.peers)
		run := func(what string, op func(q *Queue, lines []*Line, i int)) {
			b.Run(what+"/"+name, func(b *testing.B) {
				q, lines := crowded(size.items, size.peers)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					op(q, lines, i)
				}
			})
		}
		run("cancel", func(q *Queue, lines []*Line, i int) {
			it, l := &Item{}, lines[i%len(lines)]
			q.Add(it, l, epoch)
			q.Leave(it, l)
		})
		run("take", func(q *Queue, lines []*Line, i int) {
			q.Add(&Item{}, lines[i%len(lines)], epoch)
			if i%100 == 99 {
				q.Take(Turn{Priority: Interactive, Kind: Shared}, 100)
			}
		})
		run("429", func(q *Queue, lines []*Line, i int) {
			q.Add(&Item{}, lines[i%len(lines)], epoch)
			if i%100 == 99 {
				taken := q.Take(Turn{Priority: Interactive, Kind: Shared}, 100)
				for _, t := range taken {
					q.Refund(t)
					q.Return(t.Item, t.Line, epoch, epoch)
				}
				q.Take(Turn{Priority: Interactive, Kind: Shared}, 100)
			}
		})
		run("recheck", func(q *Queue, _ []*Line, _ int) {
			if !q.Scan(1, func(*Item, int) {}) {
				q.BeginScan()
			}
		})
		run("newcomer", func(q *Queue, _ []*Line, i int) {
			l := q.Line(Party{Peer: fmt.Sprint("new", i)}, Interactive)
			it := &Item{}
			q.Add(it, l, epoch)
			q.Leave(it, l)
			l.Release()
		})
	}
}
