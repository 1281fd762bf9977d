package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// TestLookupsThatArriveTogether runs the whole service in one bubble: of 1,000 lookups
// that arrive at once, all but the first two requests are full. (These two are in flight
// first; otherwise the number of lookups in each is random.)
func TestLookupsThatArriveTogether(t *testing.T) {
	const callers, latency = 1000, 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		users, sim, stop := lineInBubble(t,
			clerksim.Config{Users: callers, Latency: latency, Quota: clerksim.Quota{Limit: 100, Burst: 200}},
			quota.Config{Limit: 100, Burst: 200}, usercache.Config{})
		defer stop()
		start := time.Now()
		var calls sync.WaitGroup
		for i, id := range sim.UserIDs(callers) {
			calls.Go(func() {
				resp, err := users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id})
				if err != nil || resp.User.GetId() != id {
					t.Errorf("%s: %v, %v", id, resp.GetUser().GetId(), err)
				}
			})
			if i < 2 {
				synctest.Wait()
			}
		}
		calls.Wait()
		if took := time.Since(start); took != 2*latency {
			t.Errorf("took %v", took)
		}
		if got := sim.Stats(); got.Requests != 12 || got.RateLimited > 0 || got.IDs != callers {
			t.Errorf("%d requests for %d ids, %d answered 429", got.Requests, got.IDs, got.RateLimited)
		}
	})
}

// lineInBubble returns the whole service in virtual time: a client, a server, a cache, a
// gate, and a simulated Clerk, over pipes. Call stop before the bubble ends.
func lineInBubble(t *testing.T, simulated clerksim.Config, q quota.Config, cached usercache.Config) (users clerkgatev1.UserServiceClient, sim *clerksim.Sim, stop func()) {
	t.Helper()
	sim, err := clerksim.New(simulated)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())

	pipes := make(pipeListener)
	clerk := &http.Server{Handler: sim}
	wg.Go(func() { _ = clerk.Serve(pipes) })
	client, err := clerkapi.New(clerkapi.Config{
		BaseURL: "http://clerk.example", Key: func() string { return "sk_test_bubble" }, DialContext: pipes.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	store, err := usercache.NewStore(cached)
	if err != nil {
		t.Fatal(err)
	}
	g := gate.New(gate.Config{Upstream: client, Quota: q, Stamp: store.Stamp, Keep: store.Keep})
	cache := usercache.New(store, g, usage.New())
	for _, run := range []func(context.Context) error{store.Run, cache.Run, g.Run} {
		wg.Go(func() { _ = run(ctx) })
	}

	s := New(Config{Users: cache, Quota: g})
	listener := bufconn.Listen(1 << 20)
	wg.Go(func() { _ = s.grpc.Serve(listener) })
	conn := dialInBubble(t, listener)
	return clerkgatev1.NewUserServiceClient(conn), sim, func() {
		_ = conn.Close()
		s.grpc.Stop()
		end()
		client.CloseIdleConnections()
		_ = clerk.Close()
		wg.Wait()
	}
}

// dialInBubble returns a connection to listener.
func dialInBubble(t *testing.T, listener *bufconn.Listener, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := leaktest.Dial("passthrough:///bubble", append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// pipeListener accepts connections that are pipes.
type pipeListener chan net.Conn

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

// Close ends Accept. Do not dial afterwards.
func (l pipeListener) Close() error {
	close(l)
	return nil
}

func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
