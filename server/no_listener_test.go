package server

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/health/grpc_health_v1"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// TestNoHTTPListener runs a server without the HTTP listener and all that is served there:
// nothing listens, the listener's TLS files are not read, and gRPC is whole.
func TestNoHTTPListener(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	r := start(t, Config{
		Users: up, Quota: up, HTTPListen: NoListener, HTTPTLS: TLSFiles{Cert: "/none", Key: "/none"},
		Page: pageSources(), Metrics: prometheus.NewRegistry(), Pprof: true,
	})
	if r.httpAt != nil {
		t.Errorf("HTTP is served on %v", r.httpAt)
	}
	if r.server.page != nil {
		t.Error("a page is kept that nobody can see")
	}
	if resp, err := r.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_0000"}); err != nil || resp.User.Id != "user_0000" {
		t.Errorf("%v, %v", resp, err)
	}
	if err := r.server.Reload(); err != nil {
		t.Error(err)
	}

	// Health follows the gate without anybody at /readyz.
	watch, err := r.health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	status := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if resp, err := watch.Recv(); err != nil || resp.Status != want {
			t.Errorf("%v, %v, want %v", resp, err, want)
		}
	}
	status(grpc_health_v1.HealthCheckResponse_SERVING)
	up.change(func() { up.health = gate.Health{KeyRefused: true} })
	status(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	up.change(func() { up.health = gate.Health{} })
	status(grpc_health_v1.HealthCheckResponse_SERVING)
}

// TestServerStopsWithoutHTTPListener: the drain is the same as with the HTTP listener.
func TestServerStopsWithoutHTTPListener(t *testing.T) {
	up := &fakeUpstream{}
	entered, release := up.holdCalls(2)
	delayed, pass := make(chan struct{}), make(chan time.Time)
	r := start(t, Config{Users: up, Quota: up, HTTPListen: NoListener, DrainDelay: time.Second}, func(s *Server) {
		s.after = func(time.Duration) <-chan time.Time { close(delayed); return pass }
	})
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

	r.stop()
	<-delayed
	if resp, err := r.health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil || resp.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("during the drain delay health is %v, %v", resp, err)
	}
	close(pass)
	if _, err := stream.Recv(); reasonOf(err) != "Unavailable SHUTTING_DOWN" {
		t.Errorf("the stream ends with %v", err)
	}
	close(release)
	if err := <-counted; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-r.finished; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.finished <- nil
}
