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
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// running is a server on loopback ports with a client.
type running struct {
	server   *Server
	users    clerkgatev1.UserServiceClient
	quota    clerkgatev1.QuotaServiceClient
	health   grpc_health_v1.HealthClient
	conn     *grpc.ClientConn
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

// start runs a server, after prepare, until the test ends.
func start(t testing.TB, cfg Config, prepare ...func(*Server)) *running {
	t.Helper()
	r := &running{log: &logBuffer{}}
	addrs := make(chan Addresses, 1)
	cfg.GRPCListen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewJSONHandler(r.log, nil))
	cfg.OnListen = func(a Addresses) { addrs <- a }
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	r.server = New(cfg)
	for _, f := range prepare {
		f(r.server)
	}
	go func() { finished <- r.server.Run(ctx) }()
	r.stop, r.finished = stop, finished

	listening := <-addrs
	conn, err := grpc.NewClient(listening.GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.conn, r.httpURL = conn, "http://"+listening.HTTP.String()
	r.users, r.quota = clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	r.health = grpc_health_v1.NewHealthClient(conn)
	t.Cleanup(func() {
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

// TestServerStops stops a server with a call, a stream and a health watch in flight: the
// call is answered, the others end, and nothing new is accepted.
func TestServerStops(t *testing.T) {
	up := &fakeUpstream{}
	entered, release := make(chan struct{}, 2), make(chan struct{})
	up.onCall = func(ctx context.Context, c call) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := start(t, Config{Users: up, Quota: up})
	counted := make(chan error, 1)
	go func() {
		_, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
		counted <- err
	}()
	<-entered
	stream, err := r.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	watch, err := r.health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := watch.Recv(); err != nil || resp.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", resp, err)
	}

	r.stop()
	if _, err := stream.Recv(); reasonOf(err) != "Unavailable SHUTTING_DOWN" {
		t.Errorf("the stream ends with %v", err)
	}
	// The watch may or may not receive NOT_SERVING before it ends.
	for err == nil {
		_, err = watch.Recv()
	}
	if got := httpStatus(t, r.httpURL+"/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d while stopping", got)
	}
	if got := httpStatus(t, r.httpURL+"/healthz"); got != http.StatusOK {
		t.Errorf("/healthz: %d while stopping", got)
	}
	close(release)
	if err := <-counted; err != nil {
		t.Errorf("the call under way: %v", err)
	}
}

// TestServerSaysFirstThatItStops: during the drain delay, new callers see NOT_SERVING and
// are still served.
func TestServerSaysFirstThatItStops(t *testing.T) {
	asked, pass := make(chan time.Duration, 1), make(chan time.Time)
	up := &fakeUpstream{}
	r := start(t, Config{Users: up, Quota: up, DrainDelay: 5 * time.Second}, func(s *Server) {
		s.after = func(d time.Duration) <-chan time.Time {
			asked <- d
			return pass
		}
	})
	r.stop()
	if d := <-asked; d != 5*time.Second {
		t.Errorf("the delay is %v", d)
	}
	conn, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, name := range servingNames {
		resp, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		if err != nil || resp.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health of %q: %v, %v", name, resp, err)
		}
	}
	if got := httpStatus(t, r.httpURL+"/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", got)
	}
	if _, err := clerkgatev1.NewUserServiceClient(conn).CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
		t.Errorf("a call: %v", err)
	}
	close(pass)
}

// TestServerStopsInTime: calls that outlast the drain timeout get a reason.
func TestServerStopsInTime(t *testing.T) {
	up := &fakeUpstream{}
	entered := make(chan struct{}, 2)
	up.onCall = func(ctx context.Context, _ call) error {
		entered <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	r := start(t, Config{Users: up, Quota: up, DrainTimeout: 50 * time.Millisecond})
	failed := make(chan string, 2)
	go func() {
		_, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
		failed <- reasonOf(err)
	}()
	go func() {
		_, err := r.users.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_1", "user_2"}})
		failed <- reasonOf(err)
	}()
	<-entered
	<-entered
	r.stop()
	for range 2 {
		if got := <-failed; got != "Unavailable SHUTTING_DOWN" {
			t.Errorf("got %s", got)
		}
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

func TestGetQuota(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	up := &fakeUpstream{status: gate.Status{
		Limit: 100, Window: 10 * time.Second, Burst: 200, EffectiveLimit: 95, Available: 7, Held: 88, InFlight: 3, InFlightLimit: 64, Leased: 5,
		Upstream:    &gate.Upstream{Limit: 100, Remaining: 6, Reset: at, Observed: at.Add(-time.Second)},
		PausedUntil: at, Queue: [2]gate.QueueLevel{{Depth: 2, Oldest: time.Second}, {}}, EstimatedWait: time.Minute,
		Breaker: gate.BreakerStatus{State: gate.HalfOpen, Since: at, TimesOpened: 4}, KeyTaken: true,
	}}
	resp, err := (&quotaService{quota: up, totals: up}).GetQuota(t.Context(), &clerkgatev1.GetQuotaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &clerkgatev1.Quota{
		Limit: 100, Window: durationpb.New(10 * time.Second), Burst: 200, EffectiveLimit: 95, Available: 7, Held: 88, InFlight: 3, InFlightLimit: 64, Leased: 5,
		Upstream:    &clerkgatev1.UpstreamQuota{Limit: 100, Remaining: 6, ResetTime: timestamppb.New(at), ObserveTime: timestamppb.New(at.Add(-time.Second))},
		PausedUntil: timestamppb.New(at),
		Queue: &clerkgatev1.Queue{
			Interactive:   &clerkgatev1.QueueLevel{Depth: 2, OldestWait: durationpb.New(time.Second)},
			Batch:         &clerkgatev1.QueueLevel{},
			EstimatedWait: durationpb.New(time.Minute),
		},
		Breaker: &clerkgatev1.Breaker{State: clerkgatev1.Breaker_STATE_HALF_OPEN, Since: timestamppb.New(at), TimesOpened: 4},
		Key:     &clerkgatev1.Key{State: clerkgatev1.Key_STATE_ACCEPTED},
	}
	if diff := cmp.Diff(want, resp.Quota, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	idle := quotaOf(gate.Status{})
	if idle.Upstream != nil || idle.PausedUntil != nil || idle.Breaker.Since != nil ||
		idle.Breaker.State != clerkgatev1.Breaker_STATE_CLOSED || idle.Key.State != clerkgatev1.Key_STATE_UNPROVEN {
		t.Errorf("an idle gate: %v", idle)
	}
	if refused := quotaOf(gate.Status{KeyRefused: true, KeyTaken: true}); refused.Key.State != clerkgatev1.Key_STATE_REFUSED {
		t.Errorf("a refused key: %v", refused.Key)
	}
}

func TestGetUsage(t *testing.T) {
	up := &fakeUpstream{status: gate.Status{
		Totals:       gate.Totals{Lookups: 11, Requests: 12, RateLimited: 13, Retries: 14, UsersPerRequest: 1.5},
		Callers:      []gate.CallerStatus{{Name: "a", Lookups: 1, Requests: 2.5, Queued: 3, Refused: 4}},
		OtherCallers: gate.CallerStatus{Lookups: 5, Requests: 6.5, Queued: 7, Refused: 8},
	}}
	resp, err := (&quotaService{quota: up, totals: up}).GetUsage(t.Context(), &clerkgatev1.GetUsageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &clerkgatev1.GetUsageResponse{
		Totals: &clerkgatev1.Totals{
			Lookups: []*clerkgatev1.LookupCount{
				{ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM, Count: 11}, {ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_MEMORY, Count: 22},
			},
			UpstreamRequests: 12, UpstreamRateLimited: 13, Retries: 14, UsersPerRequest: 1.5,
		},
		Callers:      []*clerkgatev1.Caller{{Name: "a", Lookups: 1, UpstreamShare: 2.5, Queued: 3, Refused: 4}},
		OtherCallers: &clerkgatev1.Caller{Lookups: 5, UpstreamShare: 6.5, Queued: 7, Refused: 8},
	}
	if diff := cmp.Diff(want, resp, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if idle := usageOf(gate.Status{}, usercache.Totals{}); idle.OtherCallers != nil {
		t.Errorf("an idle gate: %v", idle)
	}
}
