package quota_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotatest"
)

func TestLimiter(t *testing.T) {
	quotatest.Contract(t, func(_ rapid.TB, cfg quota.Config, now time.Time) quotatest.Limiter {
		return quota.New(cfg, now)
	})
}

// TestWhoAsksAgainWhenToldGetsAPermit: at the first time that Take returns.
func TestWhoAsksAgainWhenToldGetsAPermit(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, cfg := range []quota.Config{{}, {Pace: quota.PaceAlways}, {Limit: 20, Burst: 40}} {
		l := quota.New(cfg, now)
		for range 81 {
			p, ok, again := l.Take(now)
			if !ok {
				now = again
				if p, ok, again = l.Take(now); !ok {
					t.Fatalf("%+v: told to ask again at %v, and then at %v", cfg, now, again)
				}
			}
			l.Answered(p, now, now, now, nil)
		}
	}
}

// TestKeptBack checks what State reports to be held back in the first window.
func TestKeptBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		first         quota.FirstWindow
		burst         int
		before, after int // at the start, and after half a window
	}{
		{first: quota.FullWindow},
		{first: quota.SlowWindow, before: 81, after: 37},
		{first: quota.WaitWindow, before: 90, after: 90},
		{first: quota.SlowWindow, burst: 200},
	} {
		l := quota.New(quota.Config{Reserve: 0.1, FirstWindow: tt.first, Burst: tt.burst}, now)
		for i, want := range []int{tt.before, tt.after, 0} {
			at := now.Add(time.Duration(i) * 5500 * time.Millisecond)
			s := l.State(at)
			if s.KeptBack != want || s.FullLimit != 90 || want > 0 != s.KeptUntil.After(at) {
				t.Errorf("first window %d, bucket %d, after %v: %d kept back until %v of %d; want %d of 90",
					tt.first, tt.burst, at.Sub(now), s.KeptBack, s.KeptUntil, s.FullLimit, want)
			}
		}
	}
}
