// Package clienttest runs a clerkgate server with simulated users inside a test, for tests of
// code that uses package client:
//
//	func TestGreeting(t *testing.T) {
//		clerk, server := clienttest.New(t, clienttest.Config{})
//		id := server.Add(&clerksim.User{FirstName: new("Ann")})
//		if got := greeting(t.Context(), clerk, id); got != "Hello Ann" {
//			t.Error(got)
//		}
//		server.Outage()
//		…
//	}
//
// The server is the real one, with its cache and errors, on a loopback port of its own; only
// Clerk is simulated. It can't be used in a bubble of testing/synctest.
package clienttest

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/client"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/server"
)

// Config configures a server and its client. The zero value is valid.
type Config struct {
	// Users is the number of generated users. They are the same in every test. Default
	// 100; negative: none.
	Users int
	// Client configures the client. New sets its Address.
	Client client.Config
}

// Server is a server with simulated users. Its methods are safe for concurrent use, but those
// that change users end the test if they fail, so the test's own goroutine must call them.
type Server struct {
	t       testing.TB
	address string
	sim     *clerksim.Sim
	cache   *usercache.Cache
	trouble *trouble
}

// New starts a server and returns a client of it. Both are closed when the test ends. All
// callers may read all fields of users, and the quota is so large that nothing waits for it.
func New(t testing.TB, cfg Config) (*client.Client, *Server) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal("clienttest: ", err)
		}
	}
	if cfg.Users == 0 {
		cfg.Users = 100
	}
	sim, err := clerksim.New(clerksim.Config{Users: cfg.Users})
	must(err)
	clerk := httptest.NewServer(sim)
	t.Cleanup(clerk.Close)
	upstream, err := clerkapi.New(clerkapi.Config{BaseURL: clerk.URL, Key: func() string { return "sk_test_simulated" }})
	must(err)
	t.Cleanup(upstream.CloseIdleConnections)

	store, err := usercache.NewStore(usercache.Config{})
	must(err)
	callers := usage.New()
	g := gate.New(gate.Config{
		Upstream: upstream, Callers: callers, Quota: quota.Config{Limit: 100_000}, Stamp: store.Stamp, Keep: store.Keep,
	})
	s := &Server{t: t, sim: sim, trouble: &trouble{Gate: g}}
	s.cache = usercache.New(store, s.trouble, callers)
	listening := make(chan server.Addresses, 1)
	srv := server.New(server.Config{
		Users: s.cache, Quota: s.trouble, FullView: server.FullViewAny,
		GRPCListen: "127.0.0.1:0", HTTPListen: server.NoListener,
		Logger:   slog.New(slog.DiscardHandler),
		OnListen: func(a server.Addresses) { listening <- a },
	})
	failed := run(t, store.Run, s.cache.Run, g.Run, srv.Run)
	select {
	case a := <-listening:
		s.address = a.GRPC.String()
	case err := <-failed:
		t.Fatal("clienttest: ", err)
	}
	cfg.Client.Address = s.address
	c, err := client.New(cfg.Client)
	must(err)
	t.Cleanup(func() { _ = c.Close() })
	return c, s
}

// run runs functions until the test ends, and returns their errors.
func run(t testing.TB, functions ...func(context.Context) error) <-chan error {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	failed := make(chan error, len(functions))
	for _, f := range functions {
		running.Go(func() {
			if err := f(ctx); err != nil {
				failed <- err
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return failed
}

// Address returns the server's address, for further clients.
func (s *Server) Address() string { return s.address }

// Sim returns the simulated Clerk, for what this package does not have. What is changed there
// directly is not seen while the cache has a copy, for up to a minute.
func (s *Server) Sim() *clerksim.Sim { return s.sim }

// UserIDs returns the ids of the first n users, or of all if there are fewer.
func (s *Server) UserIDs(n int) []string { return s.sim.UserIDs(n) }

// Add adds a user and returns the id: that of u or, if u has none, a generated one.
func (s *Server) Add(u *clerksim.User) string {
	s.t.Helper()
	err := s.sim.Create(u)
	s.changed(u.ID, err)
	return u.ID
}

// Update changes a user at Clerk, and drops the copies of the user, as a webhook would.
func (s *Server) Update(id string, change func(*clerksim.User)) {
	s.t.Helper()
	s.changed(id, s.sim.Update(id, change))
}

// Delete deletes a user at Clerk, and drops the copies of the user, as a webhook would.
func (s *Server) Delete(id string) {
	s.t.Helper()
	s.changed(id, s.sim.Delete(id))
}

func (s *Server) changed(id string, err error) {
	s.t.Helper()
	if err == nil {
		err = s.cache.Invalidate(context.Background(), []string{id})
	}
	if err != nil {
		s.t.Fatal("clienttest: ", err)
	}
}

// Outage has Clerk fail until Recover is called. Users who were read before are still served,
// unless the call sets MaxAge; all else is UNAVAILABLE (CLERK_UNAVAILABLE), which clients
// retry.
func (s *Server) Outage() {
	s.trouble.set(&clerkapi.Error{Kind: clerkapi.ErrUnavailable, RetryAfter: time.Millisecond})
}

// SpendQuota leaves nothing of the quota until Recover is called, as if others had spent it.
// Users who were read in the last minute are still served; all else is RESOURCE_EXHAUSTED
// (DEADLINE_TOO_SHORT) with the time to come back.
func (s *Server) SpendQuota(retryAfter time.Duration) {
	s.trouble.set(&gate.Error{Kind: gate.ErrDeadlineTooShort, RetryAfter: retryAfter})
}

// RateLimit has Clerk answer 429 until Recover is called, as it does where other programs use
// the same key. It is like SpendQuota, with the reason CLERK_RATE_LIMITED.
func (s *Server) RateLimit(retryAfter time.Duration) {
	s.trouble.set(&gate.Error{Kind: gate.ErrRateLimited, RetryAfter: retryAfter})
}

// Recover ends Outage, SpendQuota and RateLimit.
func (s *Server) Recover() { s.trouble.set(nil) }
