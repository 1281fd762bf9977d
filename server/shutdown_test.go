package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestServerStops stops a server with a call, a stream and a health watch in flight: the
// call is answered, the others end, and nothing new is accepted.
func TestServerStops(t *testing.T) {
	up := &fakeUpstream{}
	entered, release := up.holdCalls(2)
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
	conn, err := leaktest.Dial(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
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
	entered, _ := up.holdCalls(2)
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

// TestHTTPDrain ends streams with SHUTTING_DOWN, lets calls end, and refuses new ones.
func TestHTTPDrain(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	began, goOn := make(chan struct{}), make(chan struct{})
	up.onCall = func(context.Context, call) error { close(began); <-goOn; return nil }
	r := start(t, Config{Users: up, Quota: up})
	watch, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](http.DefaultClient,
		r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName).CallServerStream(t.Context(), connect.NewRequest(&clerkgatev1.WatchQuotaRequest{}))
	if err != nil || !watch.Receive() {
		t.Fatal(err, watch.Err())
	}
	type result struct {
		status int
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		resp, err := http.Post(r.httpURL+getUserPath, "application/json", strings.NewReader(`{"userId": "user_0000"}`))
		if err != nil {
			ended <- result{0, err}
			return
		}
		ended <- result{resp.StatusCode, resp.Body.Close()}
	}()
	<-began
	r.stop()
	for watch.Receive() {
	}
	ce := new(connect.Error)
	if !errors.As(watch.Err(), &ce) || ce.Code() != connect.CodeUnavailable || ce.Meta().Get("clerkgate-reason") != "SHUTTING_DOWN" {
		t.Errorf("the stream ended with %v", watch.Err())
	}
	_ = watch.Close()
	if resp, body := r.post(t, getUserPath, `{"userId": "user_0000"}`, "Content-Type", "application/json"); resp.StatusCode != 503 || resp.Header.Get("Clerkgate-Reason") != "SHUTTING_DOWN" {
		t.Errorf("a new call: %d %s", resp.StatusCode, body)
	}
	close(goOn)
	if got := <-ended; got.err != nil || got.status != http.StatusOK {
		t.Errorf("the call under way: %d, %v", got.status, got.err)
	}
}
