package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotaredis"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/server"
)

// replica is a whole server that shares a quota.
type replica struct {
	users  clerkgatev1.UserServiceClient
	gate   *gate.Gate
	server *server.Server
	stop   func() // returns once it has stopped
}

// count counts users as a caller.
func (r *replica) count(ctx context.Context, who string) error {
	_, err := r.users.CountUsers(metadata.AppendToOutgoingContext(ctx, "clerkgate-caller", who), &clerkgatev1.CountUsersRequest{})
	return err
}

func startReplica(t *testing.T, clerkURL, redisURL, callersFile string, q quota.Config) *replica {
	t.Helper()
	client, err := clerkapi.New(clerkapi.Config{BaseURL: clerkURL, Key: func() string { return lineKey }, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := quotaredis.New(redisURL, "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := usercache.NewStore(usercache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	callers := usage.New()
	g := gate.New(gate.Config{Upstream: client, Callers: callers, Quota: q, Shared: shared, Stamp: store.Stamp, Keep: store.Keep})
	cache := usercache.New(store, g, callers)
	addresses := make(chan server.Addresses, 1)
	s := server.New(server.Config{
		Users: cache, Quota: g, GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", CallersFile: callersFile,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), OnListen: func(a server.Addresses) { addresses <- a },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{store.Run, cache.Run, g.Run, s.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("a part of a replica ended: %v", err)
			}
		})
	}
	conn, err := grpc.NewClient((<-addresses).GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = conn.Close()
		cancel()
		running.Wait()
		shared.Close()
		client.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return &replica{users: clerkgatev1.NewUserServiceClient(conn), gate: g, server: s, stop: stop}
}

// awaitReplicas waits until all know how many they are.
func awaitReplicas(t *testing.T, all []*replica) {
	t.Helper()
	deadline := time.After(patience)
	for _, r := range all {
		for {
			s, counted := r.gate.Status().Shared, r.server.Replicas()
			if s.Decider == quota.DecidesState && s.Replicas == len(all) && counted == len(all) {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("%+v, and %d counted by the server, want %d replicas that share by the state", s, counted, len(all))
			}
		}
	}
}

// TestReplicasShareCapsAndGuarantees: three servers with one Redis and one callers file keep
// a caller to its cap together, and give another one its guaranteed part together, while a
// third floods them. When one server stops, the two others divide both anew.
func TestReplicasShareCapsAndGuarantees(t *testing.T) {
	const n, window = 40, time.Second
	redis := redistest.Start(t)
	sim, err := clerksim.New(clerksim.Config{
		Users: 5, Latency: 20 * time.Millisecond, Quota: clerksim.Quota{Limit: n, Window: window, Kind: clerksim.Sliding},
	})
	if err != nil {
		t.Fatal(err)
	}
	clerk := httptest.NewServer(sim)
	t.Cleanup(clerk.Close)
	file := filepath.Join(t.TempDir(), "callers.yaml")
	text := "callers:\n"
	for name, allow := range map[string]string{
		"capped3": "max_requests: 30/1h", "capped2": "max_requests: 30/1h", "guaranteed": "guaranteed: 40%", "flood": "weight: 100",
	} {
		text += fmt.Sprintf("- {name: %s, identity: {label: true}, allow: {methods: [CountUsers], %s}}\n", name, allow)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*replica
	for range 3 {
		all = append(all, startReplica(t, clerk.URL, redis.URL(), file, quota.Config{Limit: n, Window: window, LostHold: time.Second}))
	}
	for len(all) > 1 {
		awaitReplicas(t, all)
		capped := fmt.Sprintf("capped%d", len(all))
		passed := 0
		for _, r := range all {
			for range 30 {
				if r.count(t.Context(), capped) == nil {
					passed++
				}
			}
		}
		if passed < 29 || passed > 31 {
			t.Errorf("%d replicas: %d calls of the capped caller pass, want 30", len(all), passed)
		}

		// Everybody calls everywhere until 120 requests have been answered.
		ctx, stop := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		var guaranteed, others atomic.Int64
		enough := sync.OnceFunc(stop)
		call := func(r *replica, who string, counter *atomic.Int64) {
			calls.Go(func() {
				for ctx.Err() == nil {
					if r.count(ctx, who) == nil {
						counter.Add(1)
					}
					if guaranteed.Load()+others.Load() >= 120 {
						enough()
					}
				}
			})
		}
		for _, r := range all {
			for range 20 {
				call(r, "flood", &others)
			}
			for range 4 {
				call(r, "guaranteed", &guaranteed)
			}
		}
		calls.Wait()
		t.Logf("%d replicas: %d of the guaranteed caller, %d of the others", len(all), guaranteed.Load(), others.Load())
		if got := guaranteed.Load(); got < 42 {
			t.Errorf("%d replicas: the guaranteed caller has %d of 120 requests, want 48", len(all), got)
		}
		all[len(all)-1].stop()
		all = all[:len(all)-1]
	}
	if got := sim.Stats(); got.RateLimited != 0 {
		t.Errorf("%d requests got a 429", got.RateLimited)
	}
}
