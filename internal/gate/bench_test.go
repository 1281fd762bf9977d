package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// fill returns a gate with n users that wait, wanted by the given number of callers.
func fill(n, callers int) (*Gate, []*waitingCall) {
	g := New(Config{Upstream: &fakeClerk{}, QueueLimit: 10 * n, CallerQueueLimit: 10 * n})
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := make([]*waitingCall, n)
	for i := range waiting {
		waiting[i] = g.wish(fmt.Sprintf("user_%d", i), fmt.Sprintf("caller%d", i%callers))
	}
	return g, waiting
}

// wish begins a lookup, up to where it would block.
func (g *Gate) wish(id, caller string) *waitingCall {
	p := &waitingCall{occupancy: &g.occupancy, results: make([]Result, 1), unanswered: 1, done: make(chan struct{}), waiters: make([]waiter, 1)}
	o := Options{Caller: caller}
	g.enter(p, o)
	g.lookup(p, 0, id, o, time.Now())
	return p
}

// BenchmarkQueue shows that the cost of a want does not grow with the number that wait:
// one comes and leaves again, or comes and is sent in a full request.
func BenchmarkQueue(b *testing.B) {
	for _, size := range []struct{ wants, callers int }{{100, 10}, {10_000, 100}, {100_000, 1000}} {
		name := fmt.Sprintf("%dwants/%dcallers", size.wants, size.callers)
		b.Run("cancel/"+name, func(b *testing.B) {
			g, _ := fill(size.wants, size.callers)
			g.mu.Lock()
			defer g.mu.Unlock()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := g.wish(fmt.Sprintf("user_new%d", i), fmt.Sprintf("caller%d", i%size.callers))
				g.leave(&p.waiters[0])
			}
		})
		b.Run("dispatch/"+name, func(b *testing.B) {
			g, _ := fill(size.wants, size.callers)
			g.mu.Lock()
			defer g.mu.Unlock()
			b.ReportAllocs()
			n := 0
			for b.Loop() { // one want in, and one out as a hundredth of a request
				g.wish(fmt.Sprintf("user_new%d", n), fmt.Sprintf("caller%d", n%size.callers))
				if n++; n%clerkapi.MaxLookup == 0 {
					r := g.load(turn{kind: lookupRequest, next: fairqueue.Turn{Kind: fairqueue.Shared}}, time.Now())
					if len(r.wants) != clerkapi.MaxLookup {
						b.Fatalf("%d wants in a request", len(r.wants))
					}
					g.failRequest(r, down)
				}
			}
		})
	}
}

func BenchmarkLimiter(b *testing.B) {
	now := time.Now()
	l := quota.New(quota.Config{Limit: 1000}, now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Millisecond)
		if p, ok, _ := l.Take(now); ok {
			l.Answered(p, now, now, now, nil)
		}
	}
}
