package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// heldOpen are streams of each kind. Each function opens one, waits until the server has it,
// and returns a function that waits for its end and returns the reason.
var heldOpen = map[string]func(ctx context.Context, t *testing.T, r *running, token string) (end func() string){
	"WatchQuota": func(ctx context.Context, t *testing.T, r *running, token string) func() string {
		stream, err := r.quota.WatchQuota(authorized(ctx, token), &clerkgatev1.WatchQuotaRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() string {
			_, err := stream.Recv()
			return reasonOf(err)
		}
	},
	"StreamUsers": func(ctx context.Context, t *testing.T, r *running, token string) func() string {
		stream := streamUsers(authorized(ctx, token), t, r.conn, "", "") // it is too large to be sent unread
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		return func() string {
			_, _, err := read(stream)
			return reasonOf(err)
		}
	},
	"reflection": func(ctx context.Context, t *testing.T, r *running, token string) func() string {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(r.conn).ServerReflectionInfo(authorized(ctx, token))
		if err == nil {
			err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		}
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() string {
			_, err := stream.Recv()
			return reasonOf(err)
		}
	},
	"WatchQuota by Connect":  watchByHTTP("Connect, JSON"),
	"WatchQuota by gRPC-Web": watchByHTTP("gRPC-Web"),
	"the page": func(ctx context.Context, t *testing.T, r *running, token string) func() string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.httpURL+"/page/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("any", token)
		resp, err := r.httpClient(t, false).Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		return func() string {
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err.Error()
			}
			return "the end"
		}
	},
}

func watchByHTTP(protocol string) func(ctx context.Context, t *testing.T, r *running, token string) func() string {
	return func(ctx context.Context, t *testing.T, r *running, token string) func() string {
		p := protocols[protocol]
		req := connect.NewRequest(&clerkgatev1.WatchQuotaRequest{})
		req.Header().Set("Authorization", "Bearer "+token)
		stream, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](r.httpClient(t, p.h2c),
			r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName, p.options...).CallServerStream(ctx, req)
		if err != nil || !stream.Receive() {
			t.Fatal(err)
		}
		return func() string {
			for stream.Receive() {
			}
			if ce, ok := errors.AsType[*connect.Error](stream.Err()); ok {
				return fmt.Sprintf("%v %s", ce.Code(), ce.Meta().Get("Clerkgate-Reason"))
			}
			return fmt.Sprint(stream.Err())
		}
	}
}

// authorized returns a context for calls with a token.
func authorized(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// callersFile is a callers file that tests change.
type callersFile struct{ path, text string }

func newCallersFile(t *testing.T, text string) *callersFile {
	t.Helper()
	f := &callersFile{path: filepath.Join(t.TempDir(), "callers.yaml"), text: "callers:\n" + text + "  - " + leaktest.Viewer() + "\n"}
	f.change(t, "", "")
	return f
}

// change replaces a part of the file, which it must have.
func (f *callersFile) change(t *testing.T, old, text string) {
	t.Helper()
	if !strings.Contains(f.text, old) {
		t.Fatalf("the file has no %q", old)
	}
	f.text = strings.Replace(f.text, old, text, 1)
	if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStreamsOfChangedCallers changes the callers file while a caller has streams of each
// kind open. Those that would not be served in the same way any more end, with a reason that
// clients resume at, and the others go on.
func TestStreamsOfChangedCallers(t *testing.T) {
	const allow = "methods: [GetQuota, GetUsage, StreamUsers, WatchQuota], full_view: [private_metadata, extra], max_requests: 1000/10s"
	all := slices.Sorted(maps.Keys(heldOpen))
	watches := []string{"WatchQuota", "WatchQuota by Connect", "WatchQuota by gRPC-Web"}
	for _, tt := range []struct {
		name, old, text string
		ended           []string
	}{
		{"removed", "name: watcher", "name: other, identity: {label: true}}\n  - {name: another", all}, // and its token is another's
		{"renamed", "name: watcher", "name: observer", all},
		{"another token", "TOKEN", "", all},
		{"another token beside it", "sha256: TOKEN", "sha256: TOKEN}, {sha256: " + caller.HashToken("cgt_b"), nil},
		{"the token expires", "sha256: TOKEN", "sha256: TOKEN, not_after: 2020-01-01T00:00:00Z", all},
		{"without WatchQuota", "WatchQuota], ", "], ", watches},
		{"without StreamUsers", "StreamUsers, ", "", []string{"StreamUsers"}},
		{"without GetQuota", "GetQuota, ", "", []string{"the page"}},
		{"without GetUsage", "GetUsage, ", "", []string{"the page"}},
		{"without any method", "methods: [GetQuota, GetUsage, StreamUsers, WatchQuota], ", "", slices.DeleteFunc(slices.Clone(all), func(kind string) bool { return kind == "reflection" })},
		{"fewer parts", ", extra", "", all},
		{"no FULL view", "full_view: [private_metadata, extra], ", "", all},
		{"a lower limit", "1000/10s", "10/10s", all},
		{"no limit", ", max_requests: 1000/10s", "", all},
		{"another weight and method", allow, allow + ", weight: 3, invalidate: true, max_lookups: 5/10s", nil},
		{"another caller", "\n", "\n  - {name: new, identity: {label: true}}\n", nil},
		{"unusable", "name: watcher", "name: [watcher", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := caller.NewToken()
			hash := caller.HashToken(token)
			file := newCallersFile(t, "  - {name: watcher, identity: {tokens: [{sha256: "+hash+"}]}, allow: {"+allow+"}}\n")
			up := &fakeUpstream{users: largeUsers(1200, 1000)}
			r := start(t, Config{Users: up, Quota: up, Page: pageSources(), CallersFile: file.path})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ends := map[string]func() string{}
			for kind, open := range heldOpen {
				ends[kind] = open(ctx, t, r, token)
			}
			if tt.name == "another token" {
				tt.old, tt.text = hash, caller.HashToken(caller.NewToken())
			}
			file.change(t, strings.Replace(tt.old, "TOKEN", hash, 1), strings.Replace(tt.text, "TOKEN", hash, 1))
			if err := r.server.Reload(); (err != nil) != (tt.name == "unusable") {
				t.Fatal(err)
			}
			for _, kind := range tt.ended {
				want := "Unavailable CALLER_CHANGED"
				switch kind {
				case "WatchQuota by Connect", "WatchQuota by gRPC-Web":
					want = "unavailable CALLER_CHANGED"
				case "the page":
					want = "the end"
				}
				if got := ends[kind](); got != want {
					t.Errorf("%s ended with %s, want %s", kind, got, want)
				}
			}
			r.server.guard.endChanged()
			eventually(t, "the other streams are open", func() bool { return openOwn(r.server.guard, "watcher") == len(heldOpen)-len(tt.ended) })
			logged := func() bool { return strings.Contains(r.log.String(), "streams were ended") }
			if len(tt.ended) > 0 {
				eventually(t, "the log says so", logged)
			} else if logged() {
				t.Error("the log has a line")
			}
		})
	}
}

func openOwn(g *guard, name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.streams[name])
}

// guardOf returns a guard of a callers file, and a context of a call with a token.
func guardOf(t *testing.T, file *callersFile, token string) (*guard, context.Context) {
	t.Helper()
	changed := make(chan struct{}, 1)
	live, err := openCallers(file.path, leaktest.Logger(slog.DiscardHandler), func(map[string]gate.Share) {}, changed)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(live, false, leaktest.Logger(slog.DiscardHandler))
	g.changed = changed
	ctx := metadata.NewIncomingContext(peer.NewContext(t.Context(), &peer.Peer{}), metadata.Pairs("authorization", "Bearer "+token))
	ctx, err = g.admit(ctx, clerkgatev1.QuotaService_WatchQuota_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	return g, ctx
}

func anyCaller(*caller.Caller) bool { return true }

// TestStreamsEndWithTheirTokens: a stream ends at most a minute after its caller's token has
// expired.
func TestStreamsEndWithTheirTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, until := caller.NewToken(), time.Now().Add(time.Hour)
		file := newCallersFile(t, fmt.Sprintf("  - {name: a, identity: {tokens: [{sha256: %s, not_after: %s}]}, allow: {methods: [WatchQuota]}}\n",
			caller.HashToken(token), until.Format(time.RFC3339)))
		g, ctx := guardOf(t, file, token)
		running, stop := context.WithCancel(t.Context())
		defer stop()
		go g.run(running)
		stream, leave, err := g.enter(ctx, anyCaller)
		if err != nil {
			t.Fatal(err)
		}
		<-stream.Done()
		if late := time.Since(until); context.Cause(stream) != errCallerChanged || late < 0 || late > checkEvery {
			t.Errorf("it ended %v after the token, with %v", late, context.Cause(stream))
		}
		leave()
	})
}

// TestStreamsBegunDuringAChange: a stream whose caller was identified before a change, and
// that enters after it, does not begin.
func TestStreamsBegunDuringAChange(t *testing.T) {
	token := caller.NewToken()
	file := newCallersFile(t, "  - {name: a, identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}, allow: {methods: [WatchQuota]}}\n")
	g, ctx := guardOf(t, file, token)
	file.change(t, "name: a", "name: b")
	if err := g.callers.Reload(); err != nil {
		t.Fatal(err)
	}
	g.endChanged()
	if _, _, err := g.enter(ctx, anyCaller); err != errCallerChanged || openOwn(g, "a") != 0 {
		t.Errorf("%v, and %d streams are open", err, openOwn(g, "a"))
	}
}

// TestLeaseOfARevokedCaller: a caller that may have permits no longer can't release its lease.
// The lease ends by itself, and its permits come back.
func TestLeaseOfARevokedCaller(t *testing.T) { synctest.Test(t, leaseOfARevokedCaller) }

func leaseOfARevokedCaller(t *testing.T) {
	const limit, ttl = 10, 30 * time.Second
	token := caller.NewToken()
	file := newCallersFile(t, "  - {name: writer, identity: {tokens: [{sha256: "+caller.HashToken(token)+"}]}, allow: {methods: [GetQuota], permits: true}}\n")
	up := &fakeUpstream{}
	g := gate.New(gate.Config{Quota: quota.Config{Limit: limit, Window: time.Second, LostHold: time.Second}})
	var wg sync.WaitGroup
	running, stop := context.WithCancel(t.Context())
	wg.Go(func() { _ = g.Run(running) })
	s := New(Config{Users: up, Quota: g, CallersFile: file.path})
	listener := bufconn.Listen(1 << 20)
	wg.Go(func() { _ = s.grpc.Serve(listener) })
	conn := dialInBubble(t, listener)
	defer func() {
		_ = conn.Close()
		s.grpc.Stop()
		stop()
		wg.Wait()
	}()
	quotas, ctx := clerkgatev1.NewQuotaServiceClient(conn), authorized(t.Context(), token)
	acquire := func() (string, error) {
		lease, err := quotas.AcquirePermits(ctx, &clerkgatev1.AcquirePermitsRequest{Count: 3, Ttl: durationpb.New(ttl)})
		return lease.GetLeaseId(), err
	}
	release := func(id string) string {
		_, err := quotas.ReleasePermits(ctx, &clerkgatev1.ReleasePermitsRequest{LeaseId: id})
		return reasonOf(err)
	}
	id, err := acquire()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ old, text, want string }{
		{", permits: true", "", "PermissionDenied CALLER_NOT_ALLOWED"},
		{caller.HashToken(token), caller.HashToken("cgt_b"), "Unauthenticated CALLER_UNKNOWN"},
	} {
		file.change(t, change.old, change.text)
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := release(id); got != change.want {
			t.Errorf("a release with %q: %s, want %s", change.text, got, change.want)
		}
		if _, err := acquire(); reasonOf(err) != change.want {
			t.Errorf("a lease with %q: %v, want %s", change.text, err, change.want)
		}
	}
	if n := g.Status().Leased; n != 3 {
		t.Errorf("%d permits are lent, want 3", n)
	}
	time.Sleep(ttl + 3*time.Second)
	if at := g.Status(); at.Leased != 0 || at.Available != limit {
		t.Errorf("after the lease, %d permits are lent and %d available, want 0 and %d", at.Leased, at.Available, limit)
	}
}
