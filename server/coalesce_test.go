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
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// TestLookupsThatArriveTogether runs the whole line in one bubble: of 1,000
// lookups that arrive at one moment all but the first two requests are full.
func TestLookupsThatArriveTogether(t *testing.T) {
	const callers, latency = 1000, 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		sim, err := clerksim.New(clerksim.Config{Users: callers, Latency: latency, Quota: clerksim.Quota{Limit: 100, Burst: 200}})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())

		pipes := make(pipeListener)
		clerk := &http.Server{Handler: sim}
		wg.Go(func() { _ = clerk.Serve(pipes) })
		client, err := clerkapi.New(clerkapi.Config{
			BaseURL: "http://clerk.example", Key: func() string { return "sk_test_bubble" }, DialContext: pipes.dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		store, err := usercache.NewStore(usercache.Config{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = store.Run(ctx) })
		g := gate.New(gate.Config{Upstream: client, Quota: quota.Config{Limit: 100, Burst: 200}, Stamp: store.Stamp, Keep: store.Keep})
		wg.Go(func() { _ = g.Run(ctx) })

		s := New(Config{Users: usercache.New(store, g), Quota: g})
		listener := bufconn.Listen(1 << 20)
		wg.Go(func() { _ = s.grpc.Serve(listener) })
		conn, err := grpc.NewClient("passthrough:///bubble", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		users := clerkgatev1.NewUserServiceClient(conn)

		start := time.Now()
		var calls sync.WaitGroup
		for _, id := range sim.UserIDs(callers) {
			calls.Go(func() {
				resp, err := users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: id})
				if err != nil || resp.User.GetId() != id {
					t.Errorf("%s: %v, %v", id, resp.GetUser().GetId(), err)
				}
			})
		}
		calls.Wait()
		if took := time.Since(start); took != 2*latency {
			t.Errorf("took %v", took)
		}
		if got := sim.Stats(); got.Requests > 12 || got.RateLimited > 0 || got.IDs != callers {
			t.Errorf("%d requests for %d ids, %d answered 429", got.Requests, got.IDs, got.RateLimited)
		}

		conn.Close()
		s.grpc.Stop()
		stop()
		client.CloseIdleConnections()
		clerk.Close()
		wg.Wait()
	})
}

// pipeListener listens for connections that are pipes.
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

// Close ends Accept. Nobody may dial afterwards.
func (l pipeListener) Close() error {
	close(l)
	return nil
}

func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
