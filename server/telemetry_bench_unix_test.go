//go:build unix

package server

import (
	"io"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// uncounted does not count callers' lookups.
type uncounted struct{}

func (uncounted) Asked(string, int) {}

// BenchmarkTelemetryCost measures the CPU time of a GetUser call that memory answers,
// over TCP and including the client. It alternates between a server with metrics,
// callers' counters and the log, and one without.
func BenchmarkTelemetryCost(b *testing.B) {
	const users = 1000
	like := simulatedUsers(b, 100)
	bare := startCachedServer(b, like, users, func(store *usercache.Store) *Server {
		return New(Config{
			Users: usercache.New(store, gate.New(gate.Config{}), uncounted{}), Quota: &fakeUpstream{},
			Logger: slog.New(slog.DiscardHandler),
		})
	})
	seen := startCachedServer(b, like, users, func(store *usercache.Store) *Server {
		callers, observer := usage.New(), telemetry.NewGateObserver(nil)
		g := gate.New(gate.Config{Callers: callers, Observer: observer})
		cache, metrics := usercache.New(store, g, callers), prometheus.NewRegistry()
		s := New(Config{Users: cache, Quota: g, Requests: observer, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err := telemetry.Register(metrics, telemetry.Sources{
			Version: "bench", Gate: g, Requests: observer, Cache: cache, Store: store, Webhooks: webhook.New(webhook.Config{}), Server: s,
		}); err != nil {
			b.Fatal(err)
		}
		return s
	})
	runtime.GC() // garbage of the filling
	took := turnAboutBy(b, func() time.Duration { return cpuTime(b) }, bare, seen)
	b.ReportMetric(took[0], "cpu-ns/call-without")
	b.ReportMetric(took[1], "cpu-ns/call-with")
	b.ReportMetric(took[1]/took[0], "ratio")
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAsked measures the counting of a caller's lookups.
func BenchmarkAsked(b *testing.B) {
	callers := usage.New()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			callers.Asked("a-service", 1)
		}
	})
}
