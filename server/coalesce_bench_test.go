package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// The load of BenchmarkThousandLookups.
const (
	lookups    = 1000
	plainRate  = 10 // requests per second
	plainBurst = 200
)

var plainClerk = clerksim.Config{
	Users: lookups, Latency: 20 * time.Millisecond,
	Quota: clerksim.Quota{Limit: 10 * plainRate, Window: 10 * time.Second, Burst: plainBurst},
}

// BenchmarkThousandLookups has 1,000 callers ask for one user each, all at once, over
// real sockets: through clerkgate, and with one request per user behind a rate limiter of
// the same quota. The latter is measured for some seconds and extrapolated.
func BenchmarkThousandLookups(b *testing.B) {
	b.Run("clerkgate", func(b *testing.B) {
		var requests, limited int64
		for b.Loop() {
			b.StopTimer()
			s := scope{TB: b}
			l := startLine(&s, plainClerk, quota.Config{Limit: 10 * plainRate, Burst: plainBurst})
			ids := l.sim.UserIDs(lookups)
			b.StartTimer()
			var wg sync.WaitGroup
			for _, id := range ids {
				wg.Go(func() {
					if _, err := l.GetUser(b.Context(), &clerkgatev1.GetUserRequest{UserId: id}); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			stats := l.sim.Stats()
			requests += stats.Requests
			limited += stats.RateLimited
			s.end()
			b.StartTimer()
		}
		report(b, float64(requests)/float64(b.N), float64(limited)/float64(b.N), b.Elapsed().Seconds()/float64(b.N))
	})
	b.Run("naive", func(b *testing.B) {
		const measured = 3 * time.Second
		var requests, limited, seconds float64
		for b.Loop() {
			served, refused := askNaively(b, measured)
			// The bucket was spent at once; all others wait for its refill.
			left := float64(served - plainBurst)
			scale := float64(lookups-plainBurst) / left
			requests += lookups
			limited += float64(refused) * lookups / float64(served)
			seconds += measured.Seconds() * scale
		}
		n := float64(b.N)
		report(b, requests/n, limited/n, seconds/n)
	})
}

func report(b *testing.B, requests, limited, seconds float64) {
	b.ReportMetric(requests, "requests/op")
	b.ReportMetric(limited, "429s/op")
	b.ReportMetric(seconds, "s/op")
	b.ReportMetric(0, "ns/op") // for the rate limiter it is only the time of the measurement
}

// askNaively requests users one by one for a time, and counts the served and refused
// ones.
func askNaively(b *testing.B, measured time.Duration) (served, refused int64) {
	sim, err := clerksim.New(plainClerk)
	if err != nil {
		b.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	defer clerk.Close()
	defer clerk.Client().CloseIdleConnections()
	ctx, cancel := context.WithTimeout(b.Context(), measured)
	defer cancel()
	limiter := rate.NewLimiter(plainRate, plainBurst)
	var ok, limited atomic.Int64
	var wg sync.WaitGroup
	for _, id := range sim.UserIDs(lookups) {
		wg.Go(func() {
			if limiter.Wait(ctx) != nil {
				return
			}
			req, err := http.NewRequest(http.MethodGet, clerk.URL+"/v1/users/"+id, nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer sk_test_naive")
			resp, err := clerk.Client().Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				ok.Add(1)
			} else {
				limited.Add(1)
			}
		})
	}
	wg.Wait()
	return ok.Load(), limited.Load()
}

// scope is a part of a benchmark with its own cleanup.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for _, f := range s.cleanups {
		f()
	}
}
