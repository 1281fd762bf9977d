package quotatest

import (
	"container/heap"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// event is an event of a simulated run: a request arrives at Clerk, or its answer (or
// the end of waiting for it) comes to us.
type event struct {
	at     time.Time
	kind   eventKind
	permit quota.Permit
	sent   time.Time
}

type eventKind int

const (
	arrives eventKind = iota
	answers
	givesUp
	asks
)

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// run drives a Limiter with a caller that always wants more, over a network with random
// delays. It returns the arrivals at Clerk in order.
func run(t *rapid.T, l Limiter, length time.Duration) []time.Time {
	var (
		queue    events
		arrivals []time.Time
	)
	delay := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 400).Draw(t, "delay ms")) * time.Millisecond
	})
	heap.Push(&queue, event{at: epoch, kind: asks})
	asking := true
	for queue.Len() > 0 {
		e := heap.Pop(&queue).(event)
		if e.at.Sub(epoch) > length {
			continue
		}
		switch e.kind {
		case arrives:
			arrivals = append(arrivals, e.at)
		case answers:
			l.Answered(e.permit, e.sent, e.at, e.at, nil)
		case givesUp:
			l.Lost(e.permit, e.at)
		case asks:
			asking = false
		}
		if asking && e.kind != answers && e.kind != givesUp {
			continue
		}
		for {
			p, ok, again := l.Take(e.at)
			if !ok {
				if !again.IsZero() {
					if !again.After(e.at) {
						t.Fatalf("told at %v to ask again at %v", e.at, again)
					}
					asking = true
					heap.Push(&queue, event{at: again, kind: asks})
				}
				break
			}
			arrival := e.at.Add(delay.Draw(t, "there"))
			answer := arrival.Add(delay.Draw(t, "back"))
			switch rapid.IntRange(0, 19).Draw(t, "fate") {
			case 0:
				l.GiveBack(p, e.at)
				asking = true
				heap.Push(&queue, event{at: e.at.Add(time.Millisecond), kind: asks})
				continue
			case 1: // given up before it arrives, which it still does
				late := e.at.Add(500 * time.Millisecond)
				heap.Push(&queue, event{at: late, kind: givesUp, permit: p})
				heap.Push(&queue, event{at: late.Add(delay.Draw(t, "late")), kind: arrives})
				continue
			}
			heap.Push(&queue, event{at: arrival, kind: arrives})
			heap.Push(&queue, event{at: answer, kind: answers, permit: p, sent: e.at})
		}
	}
	return arrivals
}

func noWindowHoldsMoreThanTheQuota(t *testing.T, limiter Make) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := quota.Config{
			Limit:    rapid.IntRange(1, 20).Draw(t, "limit"),
			Window:   time.Duration(rapid.IntRange(100, 3000).Draw(t, "window ms")) * time.Millisecond,
			LostHold: 500 * time.Millisecond,
			Pace:     quota.Pace(rapid.IntRange(0, 1).Draw(t, "pace")),
			Reserve:  rapid.SampledFrom([]float64{0, 0.3, 0.99}).Draw(t, "reserve"),
		}
		got := run(t, limiter(t, cfg, epoch), 6*cfg.Window+2*time.Second)
		n := max(1, int(float64(cfg.Limit)*(1-cfg.Reserve)+1e-9))
		for i := n; i < len(got); i++ {
			if span := got[i].Sub(got[i-n]); span <= cfg.Window {
				t.Fatalf("%d arrivals span %v, which is no more than %v", n+1, span, cfg.Window)
			}
		}
		if len(got) == 0 {
			t.Fatal("nothing was ever sent")
		}
	})
}

func clerksBucketIsNeverEmpty(t *testing.T, limiter Make) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := quota.Config{
			Limit:    rapid.IntRange(1, 20).Draw(t, "limit"),
			Window:   time.Duration(rapid.IntRange(100, 3000).Draw(t, "window ms")) * time.Millisecond,
			Burst:    rapid.IntRange(1, 40).Draw(t, "burst"),
			LostHold: 500 * time.Millisecond,
		}
		got := run(t, limiter(t, cfg, epoch), 6*cfg.Window+2*time.Second)
		level, at := float64(cfg.Burst), epoch
		rate := float64(cfg.Limit) / cfg.Window.Seconds()
		for _, a := range got {
			level = min(float64(cfg.Burst), level+a.Sub(at).Seconds()*rate)
			at = a
			level--
			if level < -1e-3 { // both sides round
				t.Fatalf("at %v Clerk's bucket is at %v", a.Sub(epoch), level)
			}
		}
		if len(got) == 0 {
			t.Fatal("nothing was ever sent")
		}
	})
}
