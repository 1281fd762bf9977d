package quota_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// flown is a request that is under way, or was.
type flown struct {
	permit     quota.Permit
	sent, back time.Time
	answered   bool
}

// TestNobodyWaitsForSpacingBelowHalf: while less than half of what may be sent is used,
// every permit is free at once, in any window, also in the first ones. In the first
// window, permits that are held back for earlier use may not be sent.
func TestNobodyWaitsForSpacingBelowHalf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := quota.Config{
			Limit:       rapid.SampledFrom([]int{1, 2, 10, 100, 1000}).Draw(t, "limit"),
			FirstWindow: rapid.SampledFrom([]quota.FirstWindow{quota.FullWindow, quota.SlowWindow, quota.WaitWindow}).Draw(t, "first window"),
			Reserve:     rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "reserve"),
		}
		headers := rapid.Bool().Draw(t, "headers")
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		now := start
		l := quota.New(cfg, now)
		empty := quota.New(cfg, now) // shows what may be sent; its permits are never used
		var flights []*flown
		land := func() {
			for _, f := range flights {
				if f.answered || f.back.After(now) {
					continue
				}
				f.answered = true
				var h *quota.Headers
				if headers { // those of Clerk, whose windows are fixed
					begun := now.Truncate(10 * time.Second)
					used := 0
					for _, g := range flights {
						if !g.sent.Before(begun) {
							used++
						}
					}
					h = &quota.Headers{Remaining: max(0, cfg.Limit-used), Reset: begun.Add(10 * time.Second).Sub(now)}
				}
				l.Answered(f.permit, f.sent, f.back, now, h)
			}
		}
		limit := l.Config().Limit
		mean := 20 * time.Second / time.Duration(limit) // a burst of all would take all that may be used
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*mean)).Draw(t, "pause")))
			land()
			used := 0
			for _, f := range flights {
				if !f.answered || now.Sub(f.back) < 10*time.Second+10*time.Second/200 {
					used++
				}
			}
			may := empty.State(now).Available
			p, ok, again := l.Take(now)
			if !ok {
				if 2*(used+1) <= may {
					t.Fatalf("after %v, with %d of %d used, the next request waits for %v", now.Sub(start), used, may, again.Sub(now))
				}
				continue
			}
			latency := time.Duration(rapid.Int64Range(0, int64(300*time.Millisecond)).Draw(t, "latency"))
			flights = append(flights, &flown{permit: p, sent: now, back: now.Add(latency)})
		}
	})
}
