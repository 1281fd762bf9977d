package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// upstreamHealth is the name under which health says whether Clerk is asked.
const upstreamHealth = "clerk"

// breakerPeriod is how often health looks at the breaker.
const breakerPeriod = time.Second

// servingNames are the names whose health is the server's own.
var servingNames = []string{"", clerkgatev1.UserService_ServiceDesc.ServiceName, clerkgatev1.QuotaService_ServiceDesc.ServiceName}

// newHealth gives a health service that says NOT_SERVING of everything.
func newHealth() *health.Server {
	h := health.NewServer()
	for _, name := range append(servingNames, upstreamHealth) {
		h.SetServingStatus(name, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	}
	return h
}

// setServing says that calls are answered.
func (s *Server) setServing() {
	for _, name := range servingNames {
		s.health.SetServingStatus(name, grpc_health_v1.HealthCheckResponse_SERVING)
	}
}

// watchBreaker lets the health of Clerk follow the breaker, until ctx ends.
func (s *Server) watchBreaker(ctx context.Context) {
	ticker := time.NewTicker(breakerPeriod)
	defer ticker.Stop()
	for {
		status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
		if s.cfg.Quota.Status().Breaker.State == gate.Closed {
			status = grpc_health_v1.HealthCheckResponse_SERVING
		}
		s.health.SetServingStatus(upstreamHealth, status)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// probes answers /healthz, which says that the process is alive, /readyz, which
// agrees with the health service's "", and /metrics, if there are any.
func (s *Server) probes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("alive\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		resp, err := s.health.Check(r.Context(), &grpc_health_v1.HealthCheckRequest{})
		if err != nil || resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}))
	}
	return mux
}
