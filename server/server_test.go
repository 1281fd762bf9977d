package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// running is a server with a client.
type running struct {
	server   *Server
	users    clerkgatev1.UserServiceClient
	quota    clerkgatev1.QuotaServiceClient
	health   grpc_health_v1.HealthClient
	conn     *grpc.ClientConn
	httpAt   net.Addr
	httpURL  string
	stop     context.CancelFunc
	finished chan error
	log      *logBuffer
}

// logBuffer holds the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs a server, after prepare, until the test ends. It listens on loopback ports if
// cfg has no addresses.
func start(t testing.TB, cfg Config, prepare ...func(*Server)) *running {
	t.Helper()
	r := &running{log: &logBuffer{}}
	addrs := make(chan Addresses, 1)
	for _, listen := range []*string{&cfg.GRPCListen, &cfg.HTTPListen} {
		if *listen == "" {
			*listen = "127.0.0.1:0"
		}
	}
	cfg.Logger = leaktest.Logger(slog.NewJSONHandler(r.log, nil))
	cfg.OnListen = func(a Addresses) { addrs <- a }
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	r.server = New(cfg)
	for _, f := range prepare {
		f(r.server)
	}
	go func() { finished <- r.server.Run(ctx) }()
	r.stop, r.finished = stop, finished

	var listening Addresses
	select {
	case listening = <-addrs:
	case err := <-finished:
		t.Fatalf("Run: %v", err)
	}
	target := listening.GRPC.String()
	if listening.GRPC.Network() == "unix" {
		target = unixPrefix + target
	}
	conn, err := leaktest.Dial(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.conn, r.httpAt = conn, listening.HTTP
	switch {
	case r.httpAt == nil: // NoListener
	case r.httpAt.Network() == "unix":
		r.httpURL = "http://unix"
	default:
		r.httpURL = "http://" + r.httpAt.String()
	}
	r.users, r.quota = clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	r.health = grpc_health_v1.NewHealthClient(conn)
	t.Cleanup(func() {
		if r.httpAt != nil {
			leaktest.Pages(r.httpURL)
		}
		conn.Close()
		stop()
		if err := <-finished; err != nil {
			t.Errorf("Run: %v", err)
		}
		finished <- nil
		http.DefaultClient.CloseIdleConnections()
	})
	return r
}

// reasonOf returns the code and the reason of a failed call.
func reasonOf(err error) string {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code().String() + " " + info.GetReason()
		}
	}
	return st.Code().String()
}

func TestServerMetadata(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pairs   []string
		options gate.Options
		fault   string
	}{
		{"none", nil, gate.Options{}, ""},
		{"caller", []string{callerKey, "team-a/api:v1.2_x"}, gate.Options{Caller: "team-a/api:v1.2_x"}, ""},
		{"interactive", []string{priorityKey, "interactive"}, gate.Options{}, ""},
		{"batch", []string{priorityKey, "batch"}, gate.Options{Priority: gate.Batch}, ""},
		{"other priority", []string{priorityKey, "urgent"}, gate.Options{}, priorityKey},
		{"space in the name", []string{callerKey, "a b"}, gate.Options{}, callerKey},
		{"longest name", []string{callerKey, strings.Repeat("a", 64)}, gate.Options{Caller: strings.Repeat("a", 64)}, ""},
		{"name too long", []string{callerKey, strings.Repeat("a", 65)}, gate.Options{}, callerKey},
		{"a key for a name", []string{callerKey, "sk_test_abc"}, gate.Options{}, callerKey},
		{"two names", []string{callerKey, "a", callerKey, "b"}, gate.Options{}, callerKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := &fakeUpstream{}
			r := start(t, Config{Users: up, Quota: up})
			_, err := r.users.CountUsers(metadata.AppendToOutgoingContext(t.Context(), tt.pairs...), &clerkgatev1.CountUsersRequest{})
			if tt.fault != "" {
				if reasonOf(err) != "InvalidArgument INVALID_ARGUMENT" || !strings.Contains(err.Error(), tt.fault) || len(up.asked()) > 0 {
					t.Errorf("%v, asked %v", err, up.asked())
				}
				return
			}
			tt.options.Party.Name = tt.options.Caller
			if err != nil || up.asked()[0].options != tt.options {
				t.Errorf("%v, asked %v, want %v", err, up.asked(), tt.options)
			}
		})
	}
	ctx := metadata.NewIncomingContext(fromPeer(t.Context(), "192.0.2.1"), metadata.Pairs(callerKey, "a"))
	if ctx, err := withOptions(ctx); err != nil || optionsOf(ctx).Caller != "" {
		t.Errorf("a name from elsewhere is believed: %v, %v", optionsOf(ctx), err)
	}
}

func TestServerErrors(t *testing.T) {
	up := &fakeUpstream{failures: map[string]error{
		"user_busy": &gate.Error{Kind: gate.ErrQueueFull, RetryAfter: 1500 * time.Millisecond},
	}}
	up.onCall = func(_ context.Context, c call) error {
		if c.method == "count" {
			panic("sk_test_secret in a panic")
		}
		return nil
	}
	r := start(t, Config{Users: up, Quota: up})
	var trailer metadata.MD
	_, err := r.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_busy"}, grpc.Trailer(&trailer))
	if got := reasonOf(err); got != "ResourceExhausted QUEUE_FULL" {
		t.Errorf("got %s", got)
	}
	for key, want := range map[string]string{"clerkgate-reason": "QUEUE_FULL", "clerkgate-retry-ms": "1500", "grpc-retry-pushback-ms": "1500"} {
		if got := trailer.Get(key); len(got) != 1 || got[0] != want {
			t.Errorf("trailer %s is %v, want %s", key, got, want)
		}
	}

	_, err = r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
	if got := reasonOf(err); got != "Internal INTERNAL" || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic is answered with %v", err)
	}
	if n := r.server.Panics(); n != 1 {
		t.Errorf("%d panics are counted", n)
	}
	if log := r.log.String(); !strings.Contains(log, "panic in a call") || !strings.Contains(log, "server_test.go") {
		t.Errorf("the log lacks the panic or its stack:\n%s", log)
	}

	stream, err := r.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{OrderBy: "last_name"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); reasonOf(err) != "InvalidArgument INVALID_ARGUMENT" {
		t.Errorf("a stream that can't be: %v", err)
	}
	if got := stream.Trailer().Get("clerkgate-reason"); len(got) != 1 || got[0] != "INVALID_ARGUMENT" {
		t.Errorf("trailer of a stream: %v", got)
	}
}

func TestServerTimeouts(t *testing.T) {
	up := &fakeUpstream{}
	up.onCall = func(ctx context.Context, _ call) error {
		<-ctx.Done()
		return ctx.Err()
	}
	r := start(t, Config{Users: up, Quota: up, DefaultTimeout: 50 * time.Millisecond})
	_, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
	if got := reasonOf(err); got != "DeadlineExceeded DEADLINE_EXCEEDED" {
		t.Errorf("a call without a deadline: %s", got)
	}
	stream, err := r.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); reasonOf(err) != "DeadlineExceeded DEADLINE_EXCEEDED" {
		t.Errorf("a stream without a deadline: %v", err)
	}
}

func TestServerStream(t *testing.T) {
	up := &fakeUpstream{users: usersAt(make([]int64, 700)...)}
	r := start(t, Config{Users: up, Quota: up})
	stream, err := r.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	n, token := 0, "none yet"
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n, token = n+len(m.Users), m.ResumeToken
	}
	if n != 700 || token != "" {
		t.Errorf("%d users, last token %q", n, token)
	}
}

func httpStatus(t *testing.T, url string) int {
	t.Helper()
	code, _ := httpAnswer(t, url)
	return code
}

func TestServerReflection(t *testing.T) {
	r := start(t, Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	want := []string{"clerkgate.v1.CallerService", "clerkgate.v1.QuotaService", "clerkgate.v1.UserService", "grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestServerCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, cfg := range map[string]Config{
		"gRPC": {GRPCListen: taken.Addr().String(), HTTPListen: "127.0.0.1:0"},
		"HTTP": {GRPCListen: "127.0.0.1:0", HTTPListen: taken.Addr().String()},
	} {
		cfg.Users, cfg.Quota = &fakeUpstream{}, &fakeUpstream{}
		if err := New(cfg).Run(t.Context()); err == nil || !strings.Contains(err.Error(), name+" listener") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
