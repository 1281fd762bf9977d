// Package quotatest tests the contract of everything that hands out permits as a
// quota.Limiter does.
package quotatest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// Limiter has the methods of a quota.Limiter that the tests use.
type Limiter interface {
	Take(now time.Time) (p quota.Permit, ok bool, again time.Time)
	GiveBack(p quota.Permit, now time.Time)
	Answered(p quota.Permit, sent, at, now time.Time, h *quota.Headers)
	Limited(p quota.Permit, now time.Time, retryAfter time.Duration, h *quota.Headers)
	Lost(p quota.Permit, now time.Time)
	Config() quota.Config
	State(now time.Time) quota.State
	Estimate(now time.Time, k int) time.Duration
}

// Make returns a Limiter whose quota is unspent at now. A Limiter is not used any more
// when the next one is made.
type Make func(t rapid.TB, cfg quota.Config, now time.Time) Limiter

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Contract runs all tests with Limiters made by limiter.
func Contract(t *testing.T, limiter Make) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Make)
	}{
		{"NoWindowHoldsMoreThanTheQuota", noWindowHoldsMoreThanTheQuota},
		{"ClerksBucketIsNeverEmpty", clerksBucketIsNeverEmpty},
		{"FirstWindow", firstWindow},
		{"SaturationUsesTheQuota", saturationUsesTheQuota},
		{"ALostRequestCostsOnePermit", aLostRequestCostsOnePermit},
		{"NobodyWaitsLongForTheNextPermit", nobodyWaitsLongForTheNextPermit},
		{"A429HoldsTheKeyAndOneProbeGoesFirst", a429HoldsTheKeyAndOneProbeGoesFirst},
		{"PausesWithoutRetryAfterGrow", pausesWithoutRetryAfterGrow},
		{"OneEventIsOneStep", oneEventIsOneStep},
		{"TheLimitFallsAndRegrows", theLimitFallsAndRegrows},
		{"IsolatedRefusalsCostLittle", isolatedRefusalsCostLittle},
		{"HeadersOnlyTighten", headersOnlyTighten},
		{"EstimateIsWhatHappens", estimateIsWhatHappens},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, limiter) })
	}
}

// take takes a permit, which must be free.
func take(t *testing.T, l Limiter, now time.Time) quota.Permit {
	t.Helper()
	p, ok, again := l.Take(now)
	if !ok {
		t.Fatalf("no permit at %v, ask again at %v", now.Sub(epoch), again.Sub(epoch))
	}
	return p
}

// takeNext takes the next permit, and returns when that was. A permit that is granted
// elsewhere is first asked for when it may be reserved.
func takeNext(t *testing.T, l Limiter, now time.Time) (quota.Permit, time.Time) {
	t.Helper()
	for range 3 {
		p, ok, again := l.Take(now)
		if ok {
			return p, now
		}
		now = again
	}
	t.Fatalf("told again and again to ask again, at last at %v", now.Sub(epoch))
	return quota.Permit{}, now
}

// refused returns when to ask again, -1 if that is once another permit has been settled.
// No permit must be free.
func refused(t *testing.T, l Limiter, now time.Time) time.Duration {
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
