package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// traced is a line whose spans are told.
type traced struct {
	*line
	started atomic.Int32               // spans
	ended   chan sdktrace.ReadOnlySpan // gets them
	mu      sync.Mutex
	heads   []http.Header // of requests to Clerk; guarded by mu
}

// It returns the span processor itself.
func (l *traced) OnStart(context.Context, sdktrace.ReadWriteSpan) { l.started.Add(1) }
func (l *traced) OnEnd(s sdktrace.ReadOnlySpan)                   { l.ended <- s }
func (l *traced) Shutdown(context.Context) error                  { return nil }
func (l *traced) ForceFlush(context.Context) error                { return nil }

// startTraced runs a line that samples a share of the traces begun there.
func startTraced(t *testing.T, share float64) *traced {
	t.Helper()
	l := &traced{ended: make(chan sdktrace.ReadOnlySpan, 1000)}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(telemetry.Sampler(share)), sdktrace.WithSpanProcessor(l), sdktrace.WithSpanProcessor(leaktest.Spans()))
	l.line = startTracedLine(t, clerksim.Config{Users: 10}, quota.Config{}, provider, func(h http.Header) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heads = append(l.heads, h)
	})
	return l
}

// spans waits for as many spans as there are names, and returns them in that order.
func (l *traced) spans(t *testing.T, names ...string) []sdktrace.ReadOnlySpan {
	t.Helper()
	late := time.After(30 * time.Second)
	spans := make([]sdktrace.ReadOnlySpan, len(names))
	for range names {
		select {
		case s := <-l.ended:
			i := slices.Index(names, s.Name())
			if i < 0 || spans[i] != nil {
				t.Fatalf("one span too many: %s", s.Name())
			}
			spans[i] = s
		case <-late:
			t.Fatalf("too few spans: %v of %v", spans, names)
		}
	}
	return spans
}

// The names of spans.
const (
	getUser  = "clerkgate.v1.UserService/GetUser"
	batchGet = "clerkgate.v1.UserService/BatchGetUsers"
	getOne   = "GET /v1/users/{user_id}"
)

// attributes returns a span's, those of its address left out.
func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	attrs := map[string]string{}
	for _, a := range s.Attributes() {
		if key := string(a.Key); !strings.HasPrefix(key, "server.") {
			attrs[key] = a.Value.String()
		}
	}
	return attrs
}

// inTrace returns the context of a caller whose trace is sampled or not.
func inTrace(ctx context.Context, sampled bool) context.Context {
	flags := "00"
	if sampled {
		flags = "01"
	}
	return metadata.AppendToOutgoingContext(ctx,
		"traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-"+flags,
		"tracestate", "vendor=mine", "baggage", "mine=1", "x-mine", "mine", "clerkgate-caller", "billing", "clerkgate-priority", "batch")
}

// TestTraceOfALookup follows a lookup from the caller's own span to Clerk, where
// nothing of the caller's arrives, and the same again from memory.
func TestTraceOfALookup(t *testing.T) {
	l := startTraced(t, 0)
	id := l.sim.UserIDs(1)[0]
	req := &clerkgatev1.GetUserRequest{UserId: id, View: clerkgatev1.UserView_USER_VIEW_FULL}
	if _, err := l.GetUser(inTrace(t.Context(), true), req); err != nil {
		t.Fatal(err)
	}
	all := l.spans(t, getUser, "gate.queue", "gate.batch", getOne)
	call, queue, batch, request := all[0], all[1], all[2], all[3]
	if p := call.Parent(); p.TraceID().String() != "0123456789abcdef0123456789abcdef" || p.SpanID().String() != "0123456789abcdef" || !p.IsRemote() {
		t.Errorf("the call is a child of %v", p)
	}
	if call.SpanKind() != trace.SpanKindServer {
		t.Errorf("the call is a %v", call.SpanKind())
	}
	if batch.Parent().IsValid() || batch.SpanContext().TraceID() == call.SpanContext().TraceID() {
		t.Errorf("the batch is a child of %v", batch.Parent())
	}
	for _, tt := range []struct {
		what         string
		span, parent sdktrace.ReadOnlySpan
	}{{"the wait", queue, call}, {"the request", request, batch}} {
		if !tt.span.Parent().Equal(tt.parent.SpanContext()) {
			t.Errorf("%s is a child of %v", tt.what, tt.span.Parent())
		}
	}
	for _, tt := range []struct {
		what     string
		span, to sdktrace.ReadOnlySpan
	}{{"the wait", queue, batch}, {"the batch", batch, call}} {
		if links := tt.span.Links(); len(links) != 1 || !links[0].SpanContext.Equal(tt.to.SpanContext()) {
			t.Errorf("%s has the links %v", tt.what, links)
		}
	}
	want := map[string]string{
		"rpc.method": getUser, "rpc.system.name": "grpc", "rpc.response.status_code": "OK",
		"clerkgate.caller": "billing", "clerkgate.priority": "batch", "clerkgate.ids": "1", "clerkgate.from_upstream": "1",
	}
	if diff := cmp.Diff(want, attributes(call)); diff != "" {
		t.Errorf("attributes of the call (-want +got):\n%s", diff)
	}
	user, _ := l.sim.User(id)
	for _, s := range all {
		text := fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events())
		for _, secret := range []string{lineKey, id, user.EmailAddresses[0].EmailAddress, "mine"} {
			if strings.Contains(text, secret) {
				t.Errorf("a span shows %s: %s", secret, text)
			}
		}
	}
	for name, values := range l.heads[0] {
		switch name {
		case "Accept", "Accept-Encoding", "Authorization", "Clerk-Api-Version", "User-Agent":
		default:
			t.Errorf("Clerk got %s: %v", name, values)
		}
	}
	if len(l.heads) != 1 {
		t.Errorf("%d requests to Clerk", len(l.heads))
	}

	if _, err := l.GetUser(inTrace(t.Context(), true), req); err != nil {
		t.Fatal(err)
	}
	delete(want, "clerkgate.from_upstream")
	want["clerkgate.from_memory"] = "1"
	if diff := cmp.Diff(want, attributes(l.spans(t, getUser)[0])); diff != "" {
		t.Errorf("attributes of a call that memory answers (-want +got):\n%s", diff)
	}
}

// TestWhatIsNotTraced makes calls that have no spans, before one that has.
func TestWhatIsNotTraced(t *testing.T) {
	l := startTraced(t, 1)
	id := l.sim.UserIDs(1)[0]
	if _, err := l.GetUser(inTrace(t.Context(), false), &clerkgatev1.GetUserRequest{UserId: id}); err != nil {
		t.Error(err)
	}
	if _, err := grpc_health_v1.NewHealthClient(l.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	// gRPC answers with the name of the method. Only its caller sees that.
	unwatched, err := grpc.NewClient(l.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer unwatched.Close()
	if err := unwatched.Invoke(t.Context(), "/clerkgate.v1.UserService/"+lineKey, &clerkgatev1.GetUserRequest{}, &clerkgatev1.GetUserResponse{}); err == nil {
		t.Error("a method that does not exist has answered")
	}
	if _, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id}); err != nil {
		t.Error(err)
	}
	if s := l.spans(t, getUser)[0]; s.Parent().IsValid() {
		t.Errorf("it is a child of %v", s.Parent())
	}
	if n := l.started.Load(); n != 1 {
		t.Errorf("%d spans have begun", n)
	}
}

// TestTraceOfFailures: the call's span has the reason, and is an error where the
// server or Clerk is at fault.
func TestTraceOfFailures(t *testing.T) {
	l := startTraced(t, 1)
	for _, endpoint := range []clerksim.Endpoint{clerksim.Lookup, clerksim.List} { // List: the probe that believes it
		if err := l.sim.AddFault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 401, Endpoint: endpoint}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.sim.AddFault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 503, Endpoint: clerksim.Get, Count: 3}); err != nil {
		t.Fatal(err)
	}
	get := func(id string, maxAge time.Duration) {
		_, err := l.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: id, MaxAge: durationpb.New(maxAge)})
		if err == nil {
			t.Errorf("%s: no error", id)
		}
	}
	says := func(what string, s sdktrace.ReadOnlySpan, reason string, status codes.Code) {
		if got := attributes(s)["clerkgate.reason"]; got != reason || s.Status().Code != status {
			t.Errorf("%s: reason %q, status %v", what, got, s.Status())
		}
	}
	get("-user_1", 0)
	says("a bad id", l.spans(t, getUser)[0], "INVALID_ARGUMENT", codes.Unset)

	get("user_1", 0)
	var call sdktrace.ReadOnlySpan
	seen := map[string]int{}
	for call == nil {
		s := <-l.ended
		seen[s.Name()]++
		if s.Name() == getUser {
			call = s
		}
	}
	says("an outage", call, "CLERK_UNAVAILABLE", codes.Error)
	if diff := cmp.Diff(map[string]int{getUser: 1, "gate.queue": 3, "gate.batch": 3, getOne: 3}, seen); diff != "" {
		t.Errorf("three tries (-want +got):\n%s", diff)
	}

	get("user_1", 0)
	says("nobody", l.spans(t, getUser, "gate.queue", "gate.batch", getOne)[0], "USER_NOT_FOUND", codes.Unset)

	if _, err := l.BatchGetUsers(t.Context(), &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_1", "user_2", "user_3"}}); err != nil {
		t.Error(err)
	}
	call, seen = nil, map[string]int{}
	for call == nil {
		s := <-l.ended
		seen[s.Name()]++
		if s.Name() == batchGet {
			call = s
		}
	}
	if diff := cmp.Diff(map[string]int{batchGet: 1, "gate.queue": 1, "gate.batch": 2, "GET /v1/users": 2}, seen); diff != "" {
		t.Errorf("a batch that is refused, and a probe (-want +got):\n%s", diff)
	}
	attrs := attributes(call)
	if attrs["clerkgate.ids"] != "3" || attrs["clerkgate.from_memory"] != "1" || attrs["clerkgate.from_upstream"] != "" {
		t.Errorf("a batch of which two ids fail: %v", attrs)
	}
}
