package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// cachedID returns the id of a cached user.
func cachedID(i int) string { return fmt.Sprintf("user_%027d", i) }

// simulatedUsers returns users of the simulator, decoded from its answers.
func simulatedUsers(tb testing.TB, n int) []*clerkgatev1.User {
	tb.Helper()
	sim, err := clerksim.New(clerksim.Config{Users: n})
	if err != nil {
		tb.Fatal(err)
	}
	clerk := newPipeClerk(tb, sim)
	lookup, err := clerk.LookupUsers(context.Background(), sim.UserIDs(n))
	if err != nil {
		tb.Fatal(err)
	}
	users := make([]*clerkgatev1.User, n)
	for i, r := range lookup.Results {
		if r.Err != nil {
			tb.Fatal(r.Err)
		}
		users[i] = r.User
	}
	return users
}

// cached is a server over loopback TCP with n users in memory.
type cached struct {
	users clerkgatev1.UserServiceClient
	n     int
}

func startCached(b *testing.B, like []*clerkgatev1.User, n int, traces trace.TracerProvider) cached {
	b.Helper()
	return startCachedServer(b, like, n, func(store *usercache.Store) *Server {
		return New(Config{Users: usercache.New(store, gate.New(gate.Config{}), usage.New()), Quota: &fakeUpstream{}, Traces: traces})
	})
}

// startCachedServer runs the server that newServer returns for a store.
func startCachedServer(b *testing.B, like []*clerkgatev1.User, n int, newServer func(*usercache.Store) *Server) cached {
	b.Helper()
	store, err := usercache.NewStore(usercache.Config{TTL: time.Hour, MaxBytes: 16 << 30})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for i := range n {
		u := proto.CloneOf(like[i%len(like)])
		u.Id = cachedID(i)
		store.Keep(u.Id, gate.Result{User: u, FetchTime: now})
	}
	s := newServer(store)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	wg.Go(func() { _ = store.Run(ctx) })
	wg.Go(func() { _ = s.grpc.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		s.grpc.Stop()
		stop()
		wg.Wait()
	})
	return cached{clerkgatev1.NewUserServiceClient(conn), n}
}

// call reads one of the users, a different one each time.
func (c cached) call(b *testing.B, i int) {
	id := cachedID(int(uint32(i) * 2654435761 % uint32(c.n)))
	resp, err := c.users.GetUser(context.Background(), &clerkgatev1.GetUserRequest{UserId: id})
	if err != nil || resp.Freshness.ServedFrom != clerkgatev1.ServedFrom_SERVED_FROM_MEMORY {
		b.Fatalf("%v, %v", resp.GetFreshness(), err)
	}
}

// turnAbout calls servers in turn, and returns the duration of a call of each, in ns.
func turnAbout(b *testing.B, servers ...cached) []float64 {
	b.Helper()
	begin := time.Now()
	return turnAboutBy(b, func() time.Duration { return time.Since(begin) }, servers...)
}

// turnAboutBy is turnAbout with any clock.
func turnAboutBy(b *testing.B, clock func() time.Duration, servers ...cached) []float64 {
	const turn = 500 // calls
	took := make([]float64, len(servers))
	n := 0
	for b.Loop() {
		for k, c := range servers {
			start := clock()
			for i := range turn {
				c.call(b, n*turn+i)
			}
			took[k] += float64(clock() - start)
		}
		n++
	}
	b.ReportMetric(0, "ns/op")
	for k := range took {
		took[k] /= float64(n * turn)
	}
	return took
}

// BenchmarkCachedGetUser measures a whole GetUser call that memory answers, over TCP and
// including the client. It alternates between 1,000,000 and 1,000 cached users, so that
// the ratio is meaningful on a noisy machine.
func BenchmarkCachedGetUser(b *testing.B) {
	like := simulatedUsers(b, 100)
	few, many := startCached(b, like, 1000, nil), startCached(b, like, 1_000_000, nil)
	runtime.GC() // garbage of the filling
	took := turnAbout(b, few, many)
	b.ReportMetric(took[0], "ns/call-of-1000")
	b.ReportMetric(took[1], "ns/call-of-1000000")
	b.ReportMetric(took[1]/took[0], "ratio")
}

// BenchmarkAnswer measures how the server produces the bytes of a GetUser answer from
// memory: by passing the encoded user through, as it does; by encoding a decoded user;
// and by decoding and encoding one.
func BenchmarkAnswer(b *testing.B) {
	user := simulatedUsers(b, 2)[1] // an ordinary user; the first has all nested objects
	entry, err := usercache.Encode(user, 0, time.Now(), clerkgatev1.Origin_ORIGIN_CLERK)
	if err != nil {
		b.Fatal(err)
	}
	view := clerkgatev1.UserView_USER_VIEW_BASIC
	fresh := func() *clerkgatev1.Freshness {
		return &clerkgatev1.Freshness{FetchTime: timestamppb.New(entry.FetchTime()), ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_MEMORY}
	}
	send := func(b *testing.B, m proto.Message) {
		if _, err := proto.Marshal(m); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("passed through", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp := &clerkgatev1.GetUserResponse{Freshness: fresh()}
			if err := putUser(resp, userOfGet, entry, view, caller.AllParts); err != nil {
				b.Fatal(err)
			}
			send(b, resp)
		}
	})
	basic := usercache.Basic(user)
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			send(b, &clerkgatev1.GetUserResponse{Freshness: fresh(), User: basic})
		}
	})
	b.Run("decoded and encoded", func(b *testing.B) {
		b.ReportAllocs()
		text, err := entry.Encoded(view)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			u := &clerkgatev1.User{}
			if err := proto.Unmarshal(text, u); err != nil {
				b.Fatal(err)
			}
			send(b, &clerkgatev1.GetUserResponse{Freshness: fresh(), User: u})
		}
	})
}

// newPipeClerk returns a client of the simulator without a socket.
func newPipeClerk(tb testing.TB, sim *clerksim.Sim) *clerkapi.Client {
	tb.Helper()
	pipes := make(pipeListener)
	clerk := &http.Server{Handler: sim}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = clerk.Serve(pipes)
	}()
	client, err := clerkapi.New(clerkapi.Config{
		BaseURL: "http://clerk.example", Key: func() string { return "sk_test_pipe" }, DialContext: pipes.dial,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		client.CloseIdleConnections()
		_ = clerk.Close()
		<-done
	})
	return client
}
