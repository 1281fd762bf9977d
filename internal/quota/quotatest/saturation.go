package quotatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// saturate runs a Limiter with a caller that always wants more and a fixed round trip,
// and counts the requests sent.
func saturate(l Limiter, length, roundTrip time.Duration) int {
	n := 0
	sends(l, length, roundTrip, func(time.Time) { n++ })
	return n
}

// sends calls back for each request that such a caller sends.
func sends(l Limiter, length, roundTrip time.Duration, sent func(time.Time)) {
	type flight struct {
		p    quota.Permit
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
		if !again.After(now) {
			panic(fmt.Sprintf("told at %v to ask again at %v", now.Sub(epoch), again.Sub(epoch)))
		}
		now = again
	}
}

func firstWindow(t *testing.T, limiter Make) {
	for _, tt := range []struct {
		name   string
		cfg    quota.Config
		atOnce int
		inW    int // within a window
	}{
		{"full", quota.Config{}, 100, 100},
		{"slow", quota.Config{FirstWindow: quota.SlowWindow}, 10, 99}, // the last comes at its very end
		{"wait", quota.Config{FirstWindow: quota.WaitWindow}, 0, 0},
		{"slow, of one", quota.Config{Limit: 1, FirstWindow: quota.SlowWindow}, 1, 1},
		{"slow bucket", quota.Config{Limit: 100, Burst: 200, FirstWindow: quota.SlowWindow}, 20, 119},
		{"waiting bucket", quota.Config{Limit: 100, Burst: 200, FirstWindow: quota.WaitWindow}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := limiter(t, tt.cfg, epoch)
			if s := l.State(epoch); s.Available != tt.atOnce || !s.PausedUntil.IsZero() {
				t.Errorf("%d available at once, want %d; paused until %v, as if by a 429", s.Available, tt.atOnce, s.PausedUntil)
			}
			if got := saturate(l, l.Config().Window, time.Millisecond); got != tt.inW {
				t.Errorf("%d sent in the first window, want %d", got, tt.inW)
			}
		})
	}
}

func saturationUsesTheQuota(t *testing.T, limiter Make) {
	for _, tt := range []struct {
		name string
		cfg  quota.Config
		rtt  time.Duration
		min  float64 // of the quota
	}{
		{"development", quota.Config{}, 60 * time.Millisecond, 0.985},
		{"development, evenly", quota.Config{Pace: quota.PaceAlways}, 60 * time.Millisecond, 0.95}, // see spacing
		{"production", quota.Config{Limit: 1000}, 100 * time.Millisecond, 0.98},
		{"pro", quota.Config{Limit: 100, Burst: 200}, 60 * time.Millisecond, 0.99},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const windows = 20
			l := limiter(t, tt.cfg, epoch)
			cfg := l.Config()
			got := saturate(l, windows*cfg.Window, tt.rtt)
			share := float64(got) / float64(windows*cfg.Limit)
			if share < tt.min {
				t.Errorf("used %.1f %% of the quota, want at least %.1f %%", 100*share, 100*tt.min)
			}
		})
	}
}

// A request without an answer costs its own permit, and slows nobody down.
func aLostRequestCostsOnePermit(t *testing.T, limiter Make) {
	l := limiter(t, quota.Config{}, epoch)
	l.Lost(take(t, l, epoch), epoch)
	w := l.Config().Window
	if got := saturate(l, 2*w, 60*time.Millisecond); got < 2*97 {
		t.Errorf("%d sent in two windows beside a lost one, want %d or more", got, 2*97)
	}
}

// However greedy a caller is, permits keep coming, so a newcomer soon has one.
func nobodyWaitsLongForTheNextPermit(t *testing.T, limiter Make) {
	for _, cfg := range []quota.Config{{}, {Limit: 1000}, {Limit: 20}} {
		l := limiter(t, cfg, epoch)
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

func estimateIsWhatHappens(t *testing.T, limiter Make) {
	for _, cfg := range []quota.Config{{}, {Limit: 20, Burst: 40}} {
		l := limiter(t, cfg, epoch)
		// Spend all free permits, then estimate how long the next 50 take.
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
