package server_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotaredis"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestReplicasShareOneQuota: three gates with one Redis use a Clerk with the quota of
// one. They get no 429, and each gets its part.
func TestReplicasShareOneQuota(t *testing.T) {
	const n, window = 40, time.Second
	redis := redistest.Start(t)
	sim, err := clerksim.New(clerksim.Config{
		Users: 5, Latency: 20 * time.Millisecond,
		Quota: clerksim.Quota{Limit: n, Window: window, Kind: clerksim.Sliding},
	})
	if err != nil {
		t.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	t.Cleanup(clerk.Close)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var gates []*gate.Gate
	for range 3 {
		client, err := clerkapi.New(clerkapi.Config{BaseURL: clerk.URL, Key: func() string { return lineKey }, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.CloseIdleConnections)
		shared, err := quotaredis.New(redis.URL(), "test", redislink.Access{})
		if err != nil {
			t.Fatal(err)
		}
		g := gate.New(gate.Config{Upstream: client, Quota: quota.Config{Limit: n, Window: window, LostHold: time.Second}, Shared: shared})
		running.Go(func() {
			_ = g.Run(ctx)
			shared.Close()
		})
		gates = append(gates, g)
	}
	const each = n
	var calls sync.WaitGroup
	for _, g := range gates {
		for range each {
			calls.Go(func() {
				if _, err := g.Count(t.Context(), nil, gate.Options{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	calls.Wait()
	if got := sim.Stats(); got.RateLimited != 0 || got.Requests < 3*each {
		t.Errorf("%d requests, %d of them 429, want at least %d and none", got.Requests, got.RateLimited, 3*each)
	}
	deadline := time.After(patience)
	for i, g := range gates {
		// On a stalled machine they may have decided by themselves for a moment.
		for s := g.Status().Shared; s.Decider != quota.DecidesState || s.Replicas != 3; s = g.Status().Shared {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("replica %d: %+v, want three that share by the state", i, s)
			}
		}
	}
}
