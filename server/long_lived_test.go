package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestStreamsOutliveTheLimits keeps streams of each kind open, on gRPC and on HTTP, for longer
// than the age of a connection and the time limits of requests, calls and pages. They go
// on, and their connections end with them.
func TestStreamsOutliveTheLimits(t *testing.T) {
	const limit = 500 * time.Millisecond
	up := &fakeUpstream{users: largeUsers(600, 1000)}
	r := start(t, Config{Users: up, Quota: up, Page: pageSources(), DefaultTimeout: limit, Limits: Limits{
		ReadTimeout: limit, MaxTimeout: limit, ConnectionAge: limit / 5,
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // a deadline beyond MaxTimeout
	defer cancel()

	watches := map[string]func() error{}
	request := &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(leastWatchInterval)}
	watch, err := r.quota.WatchQuota(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	watches["gRPC"] = func() error {
		_, err := watch.Recv()
		return err
	}
	for name, p := range protocols {
		stream, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](r.httpClient(t, p.h2c),
			r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName, p.options...).CallServerStream(ctx, connect.NewRequest(request))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		watches[name] = func() error {
			if stream.Receive() {
				return nil
			}
			return fmt.Errorf("it ended: %w", stream.Err())
		}
	}
	health, err := r.health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: upstreamHealth})
	if err != nil {
		t.Fatal(err)
	}
	reflection, err := grpc_reflection_v1.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	reflect := func() {
		t.Helper()
		err := reflection.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		_, recvErr := reflection.Recv()
		if err := errors.Join(err, recvErr); err != nil {
			t.Fatalf("reflection: %v", err)
		}
	}
	reflect()
	users := streamUsers(ctx, t, r.conn, "slow", "")
	first, err := users.Recv()
	if err != nil {
		t.Fatal(err)
	}
	viewers := map[bool]*bufio.Reader{}
	for _, h2c := range []bool{false, true} {
		viewers[h2c] = view(ctx, t, r, h2c)
	}

	for i := range int(limit/leastWatchInterval) + 3 { // each message comes leastWatchInterval after the one before
		up.change(func() { up.status.Available = i })
		for name, receive := range watches {
			if err := receive(); err != nil {
				t.Fatalf("message %d by %s: %v", i, name, err)
			}
		}
	}
	reflect()
	up.change(func() { up.health = gate.Health{Breaker: gate.Open} })
	httpStatus(t, r.httpURL+"/readyz") // which looks at the health
	for want := true; want; {
		m, err := health.Recv()
		if err != nil {
			t.Fatalf("health: %v", err)
		}
		want = m.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	if rest, _, err := read(users); err != io.EOF || len(first.Users)+len(rest) != len(up.users) {
		t.Errorf("a slow reader got %d and %d users: %v", len(first.Users), len(rest), err)
	}
	for h2c, events := range viewers {
		for ticks := 0; ticks < 3; {
			line, err := events.ReadString('\n')
			if err != nil {
				t.Fatalf("the page, h2c %v: %v", h2c, err)
			}
			if line == "event: tick\n" {
				ticks++
			}
		}
	}
	cancel()
	eventually(t, "no connection by gRPC is left", func() bool { return r.server.edge.outbox.listener.Load().connections() == 0 })
}

// view watches the page.
func view(ctx context.Context, t *testing.T, r *running, h2c bool) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.httpURL+"/page/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.httpClient(t, h2c).Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the page, h2c %v: %v, %v", h2c, resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

// TestNoCallIsLostToConnectionAge repeats calls over connections that end after some
// milliseconds. All are answered.
func TestNoCallIsLostToConnectionAge(t *testing.T) {
	const connections = 20 // at least, of each kind of calls
	up := &fakeUpstream{users: usersAt(1, 2, 3)}
	hooks := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	s := startSecured(t, Config{
		Users: up, Quota: up, Metrics: prometheus.NewRegistry(), Page: pageSources(), WebhookListen: "127.0.0.1:0", Webhooks: hooks,
		Limits: Limits{ConnectionAge: 5 * time.Millisecond},
	})
	url, hookURL := "http://"+s.at.HTTP.String(), "http://"+s.at.Webhooks.String()
	h1, h2c := httpClient(t, false, nil), httpClient(t, true, nil)
	conn, err := leaktest.Dial(s.at.GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do := func(ctx context.Context, method, url, body string) error {
		var r io.Reader
		if body != "" {
			r = struct{ io.Reader }{strings.NewReader(body)} // net/http can't send it again
		}
		req, err := http.NewRequestWithContext(ctx, method, url, r)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := h1.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode >= http.StatusBadRequest {
			return errors.New(resp.Status)
		}
		return nil
	}
	var wg sync.WaitGroup
	for name, call := range map[string]func(context.Context, *peer.Peer) error{
		"GetUser by gRPC": func(ctx context.Context, p *peer.Peer) error {
			_, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_0000"}, grpc.Peer(p))
			return err
		},
		"StreamUsers by gRPC": func(ctx context.Context, p *peer.Peer) error {
			stream, err := clerkgatev1.NewUserServiceClient(conn).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{}, grpc.Peer(p))
			if err != nil {
				return err
			}
			if ids, _, err := read(stream); err != io.EOF || len(ids) != 3 {
				return fmt.Errorf("%d users: %w", len(ids), err)
			}
			return nil
		},
		"GetUser as JSON": func(ctx context.Context, _ *peer.Peer) error {
			return do(ctx, http.MethodPost, url+getUserPath, `{"userId": "user_0000"}`)
		},
		"metrics":  func(ctx context.Context, _ *peer.Peer) error { return do(ctx, http.MethodGet, url+"/metrics", "") },
		"the page": func(ctx context.Context, _ *peer.Peer) error { return do(ctx, http.MethodGet, url+"/", "") },
		"webhooks": func(ctx context.Context, _ *peer.Peer) error { return do(ctx, http.MethodPost, hookURL, "{}") },
		"GetUser by Connect over h2c": func(ctx context.Context, _ *peer.Peer) error {
			_, err := connect.NewClient[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](h2c, url+getUserPath).
				CallUnary(ctx, connect.NewRequest(&clerkgatev1.GetUserRequest{UserId: "user_0000"}))
			return err
		},
		"StreamUsers by Connect over h2c": func(ctx context.Context, _ *peer.Peer) error {
			stream, err := connect.NewClient[clerkgatev1.StreamUsersRequest, clerkgatev1.StreamUsersResponse](h2c, url+clerkgatev1.UserService_StreamUsers_FullMethodName).
				CallServerStream(ctx, connect.NewRequest(&clerkgatev1.StreamUsersRequest{}))
			if err != nil {
				return err
			}
			defer stream.Close()
			users := 0
			for stream.Receive() {
				users += len(stream.Msg().GetUsers())
			}
			if users != 3 {
				return fmt.Errorf("%d users: %w", users, stream.Err())
			}
			return nil
		},
	} {
		var mu sync.Mutex
		used := map[string]bool{} // by the client's address; guarded by mu
		for range 2 {
			wg.Go(func() {
				for calls := 0; ; calls++ {
					local := ""
					ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
						GotConn: func(c httptrace.GotConnInfo) { local = c.Conn.LocalAddr().String() },
					})
					var p peer.Peer
					if err := call(ctx, &p); err != nil {
						t.Errorf("%s, call %d: %v", name, calls, err)
						return
					}
					if p.LocalAddr != nil {
						local = p.LocalAddr.String()
					}
					mu.Lock()
					used[local] = true
					enough := len(used) >= connections
					mu.Unlock()
					if enough {
						return
					}
				}
			})
		}
	}
	wg.Wait()
}
