package quota

import (
	"container/heap"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// event is something that happens in a simulated run: a request arrives at
// Clerk, or its answer (or the end of waiting for it) comes to us.
type event struct {
	at     time.Time
	kind   eventKind
	permit Permit
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

// run drives a Limiter with a caller that always wants more, over a network of
// random delays, and returns the arrivals at Clerk in order.
func run(t *rapid.T, l *Limiter, length time.Duration, giveBacks bool) []time.Time {
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
				if giveBacks {
					l.GiveBack(p, e.at)
					asking = true
					heap.Push(&queue, event{at: e.at.Add(time.Millisecond), kind: asks})
					continue
				}
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

func TestNoWindowHoldsMoreThanTheQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Limit:    rapid.IntRange(1, 20).Draw(t, "limit"),
			Window:   time.Duration(rapid.IntRange(100, 3000).Draw(t, "window ms")) * time.Millisecond,
			LostHold: 500 * time.Millisecond,
			Pace:     Pace(rapid.IntRange(0, 1).Draw(t, "pace")),
			Reserve:  rapid.SampledFrom([]float64{0, 0.3, 0.99}).Draw(t, "reserve"),
		}
		l := New(cfg, epoch)
		got := run(t, l, 6*cfg.Window+2*time.Second, true)
		n := cfg.share(cfg.Limit)
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

func TestClerksBucketIsNeverEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Limit:    rapid.IntRange(1, 20).Draw(t, "limit"),
			Window:   time.Duration(rapid.IntRange(100, 3000).Draw(t, "window ms")) * time.Millisecond,
			Burst:    rapid.IntRange(1, 40).Draw(t, "burst"),
			LostHold: 500 * time.Millisecond,
		}
		l := New(cfg, epoch)
		got := run(t, l, 6*cfg.Window+2*time.Second, true)
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

// saturate runs a Limiter with a caller that always wants more and a fixed
// round trip, and counts the requests sent.
func saturate(l *Limiter, length, roundTrip time.Duration) int {
	n := 0
	sends(l, length, roundTrip, func(time.Time) { n++ })
	return n
}

// sends tells of each request that such a caller sends.
func sends(l *Limiter, length, roundTrip time.Duration, sent func(time.Time)) {
	type flight struct {
		p    Permit
		sent time.Time
	}
	var flights []flight
	for now := epoch; now.Before(epoch.Add(length)); {
		for len(flights) > 0 && !flights[0].sent.Add(roundTrip).After(now) {
			l.Answered(flights[0].p, flights[0].sent, now, now, nil)
			flights = flights[1:]
		}
		p, ok, again := l.Take(now)
		if ok {
			sent(now)
			flights = append(flights, flight{p, now})
			continue
		}
		if len(flights) > 0 {
			if done := flights[0].sent.Add(roundTrip); again.IsZero() || done.Before(again) {
				again = done
			}
		}
		now = again
	}
}

func TestSaturationUsesTheQuota(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		rtt  time.Duration
		min  float64 // of the quota
	}{
		{"development", Config{}, 60 * time.Millisecond, 0.985},
		{"development, evenly", Config{Pace: PaceAlways}, 60 * time.Millisecond, 0.95}, // see spacing
		{"production", Config{Limit: 1000}, 100 * time.Millisecond, 0.98},
		{"pro", Config{Limit: 100, Burst: 200}, 60 * time.Millisecond, 0.99},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const windows = 20
			l := New(tt.cfg, epoch)
			cfg := l.Config()
			got := saturate(l, windows*cfg.Window, tt.rtt)
			share := float64(got) / float64(windows*cfg.Limit)
			if share < tt.min {
				t.Errorf("used %.1f %% of the quota, want at least %.1f %%", 100*share, 100*tt.min)
			}
		})
	}
}

// TestNobodyWaitsLongForTheNextPermit: however greedy a caller is, permits keep
// coming, so that whoever comes in between has one soon.
func TestNobodyWaitsLongForTheNextPermit(t *testing.T) {
	for _, cfg := range []Config{{}, {Limit: 1000}, {Limit: 20}} {
		l := New(cfg, epoch)
		cfg = l.Config()
		even := cfg.Window / time.Duration(cfg.Limit)
		last := epoch
		sends(l, 5*cfg.Window, 60*time.Millisecond, func(now time.Time) {
			if gap := now.Sub(last); gap > 3*even {
				t.Errorf("%d per window: at %v nothing was sent for %v", cfg.Limit, now.Sub(epoch), gap)
			}
			last = now
		})
	}
}

// take takes a permit that must be there.
func take(t *testing.T, l *Limiter, now time.Time) Permit {
	t.Helper()
	p, ok, again := l.Take(now)
	if !ok {
		t.Fatalf("no permit at %v, ask again at %v", now.Sub(epoch), again.Sub(epoch))
	}
	return p
}

// refused says when to ask again; a permit must not be there.
func refused(t *testing.T, l *Limiter, now time.Time) time.Duration {
	t.Helper()
	_, ok, again := l.Take(now)
	if ok {
		t.Fatalf("a permit was given at %v", now.Sub(epoch))
	}
	if again.IsZero() {
		return -1
	}
	return again.Sub(now)
}

func TestA429HoldsTheKeyAndOneProbeGoesFirst(t *testing.T) {
	l := New(Config{}, epoch)
	a, b := take(t, l, epoch), take(t, l, epoch)
	now := epoch.Add(50 * time.Millisecond)
	l.Limited(a, now, 3*time.Second, nil)
	l.Limited(b, now, 3*time.Second, nil) // of the same event: no longer pause
	if got := refused(t, l, now); got != 3*time.Second {
		t.Errorf("paused for %v, want 3s", got)
	}
	now = now.Add(3 * time.Second)
	probe := take(t, l, now)
	if got := refused(t, l, now); got != -1 {
		t.Errorf("beside the probe: ask again in %v, want to be told to wait for it", got)
	}
	l.Lost(probe, now.Add(time.Second)) // it told nothing: another may go
	now = now.Add(time.Second)
	probe = take(t, l, now)
	l.Limited(probe, now, time.Second, nil)
	if got, want := refused(t, l, now), 1500*time.Millisecond; got != want {
		t.Errorf("after a second 429 paused for %v, want Retry-After and W/20: %v", got, want)
	}
	now = now.Add(1500 * time.Millisecond)
	probe = take(t, l, now)
	l.Answered(probe, now, now, now, nil)
	if got := refused(t, l, now); got <= 0 {
		t.Errorf("after the probe the rest must follow slowly; got %v", got)
	}
}

func TestPausesWithoutRetryAfterGrow(t *testing.T) {
	l := New(Config{Window: time.Second}, epoch)
	now := epoch
	for _, want := range []time.Duration{1, 2, 4, 8} {
		p := take(t, l, now)
		l.Limited(p, now, 0, nil)
		if got := refused(t, l, now); got < want*time.Second || got > want*time.Second+200*time.Millisecond {
			t.Errorf("paused for %v, want about %vs", got, int(want))
		}
		now = now.Add(refused(t, l, now))
	}
	p := take(t, l, now)
	l.Limited(p, now, time.Hour, nil)
	if got := refused(t, l, now); got > maxPause+time.Second {
		t.Errorf("a Retry-After of an hour pauses for %v, want it believed up to %v", got, maxPause)
	}
}

func TestTheLimitFallsAndRegrows(t *testing.T) {
	l := New(Config{}, epoch)
	now := epoch
	for range 80 {
		p, ok, again := l.Take(now)
		if !ok {
			now = again
			p = take(t, l, now)
		}
		l.Answered(p, now, now, now, nil)
	}
	p, ok, again := l.Take(now)
	if !ok {
		now = again
		p = take(t, l, now)
	}
	l.Limited(p, now, time.Second, nil)
	if got := l.State(now).Limit; got != 76 {
		t.Errorf("limit is %d, want 76: 95 %% of the 80 accepted", got)
	}
	w := l.Config().Window
	if got := l.State(now.Add(6*w - 1)).Limit; got != 76 {
		t.Errorf("limit is %d before six windows have passed, want 76", got)
	}
	if got := l.State(now.Add(6 * w)).Limit; got != 77 {
		t.Errorf("limit is %d after six windows, want 77", got)
	}
	if got := l.State(now.Add(200 * w)).Limit; got != 100 {
		t.Errorf("limit is %d in the end, want 100", got)
	}
}

func TestHeadersOnlyTighten(t *testing.T) {
	l := New(Config{}, epoch)
	p := take(t, l, epoch)
	l.Answered(p, epoch, epoch, epoch, &Headers{Limit: 100, Remaining: 2, Reset: 4 * time.Second})
	sent := 0
	for now := epoch; now.Before(epoch.Add(4 * time.Second)); now = now.Add(time.Millisecond) {
		if _, ok, _ := l.Take(now); ok {
			sent++
		}
	}
	if sent > 2 {
		t.Errorf("%d sent where 2 remained", sent)
	}
	for range 40 { // with the reset all is as it was
		take(t, l, epoch.Add(4*time.Second))
	}

	l = New(Config{Limit: 1}, epoch)
	p = take(t, l, epoch)
	l.Answered(p, epoch, epoch, epoch, &Headers{Limit: 1000, Remaining: 999, Reset: time.Second})
	if got := refused(t, l, epoch); got < 10*time.Second {
		t.Errorf("a generous header let a request through in %v", got)
	}
}

func TestEstimateIsWhatHappens(t *testing.T) {
	for _, cfg := range []Config{{}, {Limit: 20, Burst: 40}} {
		l := New(cfg, epoch)
		// Spend what is free, then ask how long the next 50 take.
		now := epoch
		for {
			p, ok, again := l.Take(now)
			if ok {
				l.Answered(p, now, now, now, nil)
				continue
			}
			if l.State(now).Available == 0 {
				break
			}
			now = again
		}
		want := make([]time.Duration, 50)
		for k := range want {
			want[k] = l.Estimate(now, k+1)
		}
		start := now
		for k := range want {
			for {
				p, ok, again := l.Take(now)
				if ok {
					l.Answered(p, now, now, now, nil)
					break
				}
				now = again
			}
			got := now.Sub(start)
			if diff := got - want[k]; diff.Abs() > max(got/5, 200*time.Millisecond) {
				t.Errorf("%+v: permit %d came after %v, the estimate was %v", cfg, k+1, got, want[k])
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Config
	}{
		{"development", Config{Limit: 100, Window: 10 * time.Second}},
		{"production", Config{Limit: 1000, Window: 10 * time.Second}},
		{"free", Config{Limit: 20, Window: 10 * time.Second, Burst: 40}},
		{"pro", Config{Limit: 100, Window: 10 * time.Second, Burst: 200}},
		{"250/10s", Config{Limit: 250, Window: 10 * time.Second}},
		{"1/24h", Config{Limit: 1, Window: 24 * time.Hour}},
	} {
		got, err := Parse(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "Development", "0/10s", "-1/10s", "10", "10/", "10/0s", "10/10", "9999999/1s", "1/25h", "1/1ns", "1/1.2.3s"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, got)
		}
	}
}
