package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

func TestStreamLimits(t *testing.T) {
	l := newStreamLimits(2)
	var leave []func()
	enter := func(address, name string) error {
		id := identity{name: name}
		if address != "" {
			id.address = netip.MustParsePrefix(address)
		}
		f, err := l.enter(id)
		if err == nil {
			leave = append(leave, f)
		}
		return err
	}
	want := func(address, name string, want error) {
		t.Helper()
		if err := enter(address, name); !errors.Is(err, want) {
			t.Errorf("%s of %q: %v, want %v", name, address, err, want)
		}
	}
	for range 2 {
		want("192.0.2.1/32", "a", nil)
	}
	want("192.0.2.1/32", "a", errCallerStreams)
	want("192.0.2.2/32", "a", nil) // another caller with this name
	for i := range 15 {
		want("192.0.2.1/32", fmt.Sprint(i), nil)
		want("192.0.2.1/32", fmt.Sprint(i), nil)
	}
	want("192.0.2.1/32", "one name more", errCallerStreams)
	for i := 0; l.all < maxAllStreams; i++ {
		want("", fmt.Sprint(i/2), nil) // a Unix socket has no address
	}
	want("192.0.2.3/32", "", errTooManyStreams)
	if full, caller := l.refusedFull.Load(), l.refusedCaller.Load(); full != 1 || caller != 2 {
		t.Errorf("%d are refused of all and %d of one caller, want 1 and 2", full, caller)
	}
	for _, f := range leave {
		f()
	}
	if l.all != 0 || len(l.ofCaller)+len(l.ofAddress) != 0 {
		t.Errorf("left over: %+v", l)
	}
}

// largeUsers returns n users of size bytes each.
func largeUsers(n, size int) []*clerkgatev1.User {
	var users []*clerkgatev1.User
	for i := range n {
		u := userAt(i, int64(i))
		u.Id = fmt.Sprintf("user_%06d", i)
		u.PublicMetadataJson = `"` + strings.Repeat("x", size) + `"`
		users = append(users, u)
	}
	return users
}

// streamUsers starts a stream as a caller.
func streamUsers(ctx context.Context, t *testing.T, conn *grpc.ClientConn, caller, token string) clerkgatev1.UserService_StreamUsersClient {
	t.Helper()
	ctx = metadata.AppendToOutgoingContext(ctx, callerKey, caller)
	stream, err := clerkgatev1.NewUserServiceClient(conn).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{ResumeToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// read reads a stream to its end.
func read(stream clerkgatev1.UserService_StreamUsersClient) (ids []string, token string, err error) {
	for {
		m, err := stream.Recv()
		if err != nil {
			return ids, token, err
		}
		ids, token = append(ids, idsOf(m.Users)...), m.ResumeToken
	}
}

// TestStreamThatIsNotRead: a stream that is not read for the send timeout ends with its
// reason, and can be resumed: no user is missing and none comes twice.
func TestStreamThatIsNotRead(t *testing.T) {
	up := &fakeUpstream{users: largeUsers(1200, 1000)}
	callInBubble(t, up, func(t *testing.T, conn *grpc.ClientConn) {
		stream := streamUsers(t.Context(), t, conn, "slow", "")
		time.Sleep(19 * time.Second)
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("it ended within the send timeout: %v", err)
		}
		time.Sleep(time.Minute)
		first, token, err := read(stream)
		if reasonOf(err) != "Aborted STREAM_NOT_READ" || token == "" {
			t.Fatalf("it ended with %v", err)
		}
		rest, _, err := read(streamUsers(t.Context(), t, conn, "slow", token))
		if err != io.EOF {
			t.Fatalf("the resumed stream ended with %v", err)
		}
		// The first message was read before.
		if all := slices.Concat(first, rest); len(rest) == 0 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) || all[len(all)-1] != "user_001199" {
			t.Errorf("%d and %d users", len(first), len(rest))
		}
	})
}

// TestSlowReaderGoesOn: a reader that receives a message every few seconds is never cut
// off. Its client opens the window at every second message at the latest.
func TestSlowReaderGoesOn(t *testing.T) {
	up := &fakeUpstream{users: largeUsers(1200, 1000)}
	callInBubble(t, up, func(t *testing.T, conn *grpc.ClientConn) {
		stream := streamUsers(t.Context(), t, conn, "slow", "")
		users := 0
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			users += len(m.Users)
			time.Sleep(9 * time.Second)
		}
		if users != 1200 {
			t.Errorf("%d users", users)
		}
	})
}

// TestUnreadStreamsShareABound: many unread streams on one connection hold no more than
// the limit; a caller that reads continues.
func TestUnreadStreamsShareABound(t *testing.T) {
	const limit = 16 << 20
	up := &fakeUpstream{users: largeUsers(1000, 1000)}
	var s *Server
	synctest.Test(t, func(t *testing.T) {
		s = New(Config{Users: up, Quota: up, MaxUnreadBytes: limit})
		conn := serveInBubble(t, s)
		most, ended := int64(0), 0
		var unread []clerkgatev1.UserService_StreamUsersClient
		for i := range 120 {
			unread = append(unread, streamUsers(t.Context(), t, conn, fmt.Sprint(i%16), ""))
			synctest.Wait()
			most = max(most, s.edge.outbox.bytes())
			if i%20 == 0 {
				time.Sleep(givesWayAfter)
			}
		}
		time.Sleep(givesWayAfter)
		if most > limit || most < limit/2 {
			t.Errorf("at most %d bytes were held, want at most %d", most, limit)
		}
		if ids, _, err := read(streamUsers(t.Context(), t, conn, "reads", "")); err != io.EOF || len(ids) != 1000 {
			t.Errorf("beside them, %d users were read: %v", len(ids), err)
		}
		time.Sleep(time.Minute)
		for _, stream := range unread {
			if _, _, err := read(stream); reasonOf(err) == "Aborted STREAM_NOT_READ" {
				ended++
			} else if code := status.Code(err); code != codes.ResourceExhausted {
				t.Errorf("a stream ended with %v", err)
			}
		}
		if ended < 80 {
			t.Errorf("%d streams ended for not being read", ended)
		}
		wantNothingLeft(t, s)
	})
}

// wantNothingLeft checks that no bytes and no streams are held.
func wantNothingLeft(t *testing.T, s *Server) {
	t.Helper()
	o, l := s.edge.outbox, s.edge.streams
	o.mu.Lock()
	defer o.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.held != 0 || len(o.from) != 0 || len(o.blocked) != 0 || l.all != 0 || len(l.ofCaller)+len(l.ofAddress) != 0 {
		t.Errorf("left over: %d bytes of %v, %d blocked streams, %d streams of %v", o.held, o.from, len(o.blocked), l.all, l.ofCaller)
	}
	if n := s.edge.active.Load(); n != 0 {
		t.Errorf("%d calls are under way", n)
	}
}

// TestStreamsOfACaller: one stream more than a caller may have is refused, whatever its
// kind; another caller's are not.
func TestStreamsOfACaller(t *testing.T) {
	up := &fakeUpstream{}
	callInBubble(t, up, func(t *testing.T, conn *grpc.ClientConn) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), callerKey, "many")
		quota, health := clerkgatev1.NewQuotaServiceClient(conn), grpc_health_v1.NewHealthClient(conn)
		watch := func(ctx context.Context) error {
			stream, err := quota.WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}
		watchHealth := func(ctx context.Context) error {
			stream, err := health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}
		reflect := func(ctx context.Context) error {
			stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
			if err == nil {
				err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
					MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
				})
			}
			if err == nil || err == io.EOF {
				_, err = stream.Recv()
			}
			return err
		}
		some, end := context.WithCancel(ctx)
		for i := range 64 {
			if err := []func(context.Context) error{watch, watchHealth, reflect}[i%3](some); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
		for _, begin := range []func(context.Context) error{watch, watchHealth, reflect} {
			if err := begin(ctx); reasonOf(err) != "ResourceExhausted CALLER_OVER_QUOTA" || retryOf(err) <= 0 {
				t.Errorf("one more: %v", err)
			}
		}
		if err := watch(metadata.AppendToOutgoingContext(t.Context(), callerKey, "other")); err != nil {
			t.Errorf("another caller's: %v", err)
		}
		end()
		synctest.Wait()
		if err := watch(ctx); err != nil {
			t.Errorf("after the others ended: %v", err)
		}
	})
}

// TestStopBesideUnreadStreams: neither an unread stream nor an idle one delays a stop.
func TestStopBesideUnreadStreams(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, conn *grpc.ClientConn){
		"StreamUsers": func(t *testing.T, conn *grpc.ClientConn) { streamUsers(t.Context(), t, conn, "", "") },
		"WatchQuota": func(t *testing.T, conn *grpc.ClientConn) {
			watchQuota(t.Context(), t, clerkgatev1.NewQuotaServiceClient(conn), 0)
		},
		"reflection": func(t *testing.T, conn *grpc.ClientConn) {
			if _, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"health": func(t *testing.T, conn *grpc.ClientConn) {
			if _, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := &fakeUpstream{users: largeUsers(1200, 1000)}
			r := start(t, Config{Users: up, Quota: up, DrainTimeout: time.Minute})
			conn, err := leaktest.Dial(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()), fixedWindow)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin(t, conn)
			for r.server.edge.active.Load() == 0 || name == "StreamUsers" && r.server.edge.outbox.bytes() < 100<<10 {
				time.Sleep(time.Millisecond)
			}
			began := time.Now()
			r.stop()
			r.finished <- <-r.finished
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("the stop took %v", took)
			}
			wantNothingLeft(t, r.server)
		})
	}
}

// TestWatchersShareAMessage: a message to many watchers is encoded once.
func TestWatchersShareAMessage(t *testing.T) {
	up := &fakeUpstream{}
	s := New(Config{Users: up, Quota: up})
	s.feed.join()
	defer s.feed.leave()
	sent := make(chan *byte, 100)
	for range 100 {
		go func() {
			ctx, cancel := context.WithCancel(t.Context())
			_ = (&quotaService{quota: up, totals: up, feed: s.feed}).WatchQuota(nil, watchStream{ctx: ctx, sent: func(m any) {
				sent <- &m.(once)[0]
				cancel()
			}})
		}()
	}
	first := <-sent
	for range 99 {
		if other := <-sent; other != first {
			t.Fatal("a watcher has got bytes of its own")
		}
	}
}

// watchStream receives the messages of a watch.
type watchStream struct {
	grpc.ServerStreamingServer[clerkgatev1.WatchQuotaResponse]
	ctx  context.Context
	sent func(any)
}

func (s watchStream) Context() context.Context { return s.ctx }

func (s watchStream) SendMsg(m any) error {
	s.sent(m)
	return nil
}
