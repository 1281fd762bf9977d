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
