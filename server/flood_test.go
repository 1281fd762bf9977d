package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// hostListener is a listener whose connections come from one address.
type hostListener struct {
	net.Listener
	from net.Addr
}

func (l hostListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return addressedConn{conn, l.from}, err
}

// hosts are callers on other machines of a server in a bubble.
type hosts struct {
	t      *testing.T
	server *Server
	wg     sync.WaitGroup
	conns  []*grpc.ClientConn
}

// dial connects from an address.
func (h *hosts) dial(ip string) *grpc.ClientConn {
	listener := bufconn.Listen(1 << 20)
	h.wg.Go(func() { _ = h.server.grpc.Serve(hostListener{listener, tcp(ip)}) })
	conn := dialInBubble(h.t, listener)
	h.conns = append(h.conns, conn)
	return conn
}

// flooder is one call of a flood, which is repeated.
type flooder func(ctx context.Context, conn *grpc.ClientConn, n int) error

func listFlood(ctx context.Context, conn *grpc.ClientConn, _ int) error {
	_, err := clerkgatev1.NewUserServiceClient(conn).ListUsers(ctx, &clerkgatev1.ListUsersRequest{})
	return err
}

func lookupFlood(ctx context.Context, conn *grpc.ClientConn, n int) error {
	_, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{
		UserId: fmt.Sprintf("user_one%d", n), MaxAge: durationpb.New(0),
	})
	return err
}

func batchFlood(ctx context.Context, conn *grpc.ClientConn, n int) error {
	req := &clerkgatev1.BatchGetUsersRequest{MaxAge: durationpb.New(0)}
	for i := range 100 {
		req.UserIds = append(req.UserIds, fmt.Sprintf("user_batch%dx%d", n, i))
	}
	_, err := clerkgatev1.NewUserServiceClient(conn).BatchGetUsers(ctx, req)
	return err
}

func streamFlood(ctx context.Context, conn *grpc.ClientConn, _ int) error {
	s, err := clerkgatev1.NewUserServiceClient(conn).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func watchFlood(ctx context.Context, conn *grpc.ClientConn, _ int) error {
	s, err := clerkgatev1.NewQuotaServiceClient(conn).WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	return err
}

func mixedFlood(ctx context.Context, conn *grpc.ClientConn, n int) error {
	return []flooder{listFlood, lookupFlood, batchFlood, streamFlood}[n%4](ctx, conn, n)
}

// TestAFloodIsTheFloodersOwn: however much one or many callers request, another caller's
// wait grows by at most two turns. A turn is one request of each address: the flooding
// ones and its own.
func TestAFloodIsTheFloodersOwn(t *testing.T) {
	const apart = 102 * time.Millisecond // interval of requests at 100/10s
	for name, tt := range map[string]struct {
		flood     flooder
		addresses int
		names     int // names of each address
		calls     int // concurrent calls of each name
	}{
		"lists of one name":                 {listFlood, 1, 1, 200},
		"lists of many names":               {listFlood, 1, 50, 4},
		"lists of many addresses":           {listFlood, 10, 1, 20},
		"lookups of one name":               {lookupFlood, 1, 1, 200},
		"lookups one at a time":             {lookupFlood, 1, 1, 1},
		"lookups of many addresses":         {lookupFlood, 10, 1, 30},
		"batches of one name":               {batchFlood, 1, 1, 20},
		"batches of many names":             {batchFlood, 1, 20, 1},
		"streams of one name":               {streamFlood, 1, 1, 60},
		"streams of many addresses":         {streamFlood, 10, 1, 10},
		"watches of one name":               {watchFlood, 1, 1, 50},
		"everything of many names":          {mixedFlood, 1, 30, 6},
		"everything of many addresses":      {mixedFlood, 10, 1, 12},
		"everything of many names and more": {mixedFlood, 5, 20, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				store, err := usercache.NewStore(usercache.Config{})
				if err != nil {
					t.Fatal(err)
				}
				g := gate.New(gate.Config{Upstream: idleClerk{}, Quota: quota.Config{Limit: 100}, Stamp: store.Stamp, Keep: store.Keep})
				cache := usercache.New(store, g, usage.New())
				h := &hosts{t: t, server: New(Config{Users: cache, Quota: g})}
				for _, run := range []func(context.Context) error{store.Run, cache.Run, g.Run} {
					h.wg.Go(func() { _ = run(ctx) })
				}
				other := h.dial("192.0.2.1")
				waits := func(calls int) []time.Duration {
					var all []time.Duration
					for i := range calls {
						timeout, cancel := context.WithTimeout(ctx, 30*time.Second)
						start := time.Now()
						if err := lookupFlood(timeout, other, 1e9+i); err != nil {
							t.Errorf("another caller got %v", err)
						}
						all = append(all, time.Since(start))
						cancel()
					}
					slices.Sort(all)
					return all
				}
				alone := waits(20)[19]

				var flood sync.WaitGroup
				for a := range tt.addresses {
					conn := h.dial(fmt.Sprintf("10.0.0.%d", a))
					for n := range tt.names {
						named := metadata.AppendToOutgoingContext(ctx, callerKey, fmt.Sprint("name", n))
						for c := range tt.calls {
							flood.Go(func() {
								for i := 0; ctx.Err() == nil; i++ {
									timeout, cancel := context.WithTimeout(named, 30*time.Second)
									if err := tt.flood(timeout, conn, ((a*1000+n)*1000+c)*1000+i); err != nil {
										pause(ctx, time.Second)
									}
									cancel()
								}
							})
						}
					}
				}
				pause(ctx, 25*time.Second) // until the initially free quota is spent
				got := waits(25)
				t.Logf("another caller waits for %v at most, %v in half of the cases", got[len(got)-1], got[len(got)/2])
				if longest, most := got[len(got)-1], alone+2*time.Duration(tt.addresses+1)*apart; longest > most {
					t.Errorf("another caller waits for %v, alone for %v; want %v at most", longest, alone, most)
				}
				stop()
				flood.Wait()
				for _, conn := range h.conns {
					_ = conn.Close()
				}
				h.server.grpc.Stop()
				h.wg.Wait()
			})
		})
	}
}

// pause waits for d, or until ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
