package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof" // also registers with the default mux, which is not served
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/page"
)

// upstreamHealth is the name under which health reports whether Clerk can be asked, and
// aliveHealth the one that is always SERVING, as /healthz is: for liveness probes by gRPC,
// which must not restart a server that waits for a valid key, or drains.
const upstreamHealth, aliveHealth = "clerk", "alive"

// servingNames are the names with the health of the server itself.
var servingNames = []string{"", clerkgatev1.UserService_ServiceDesc.ServiceName, clerkgatev1.QuotaService_ServiceDesc.ServiceName,
	clerkgatev1.CallerService_ServiceDesc.ServiceName}

// Reasons why a server takes no calls.
const (
	starting = "the server is starting"
	asking   = "Clerk has not yet accepted or refused the secret key"
	stopping = "the server is stopping"
)

// readiness decides the health and its reason. It is safe for concurrent use.
type readiness struct {
	service *health.Server
	gate    interface{ Health() gate.Health }
	logger  *slog.Logger

	mu    sync.Mutex
	phase string  // starting, stopping, or "" while the gate decides; guarded by mu
	said  verdict // the health in the service; guarded by mu
}

// verdict has the reasons why something is not possible; "" means that it is.
type verdict struct {
	calls string // take calls
	clerk string // ask Clerk
}

// newReadiness returns a readiness with NOT_SERVING for every name but aliveHealth.
func newReadiness(g interface{ Health() gate.Health }, logger *slog.Logger) *readiness {
	r := &readiness{service: health.NewServer(), gate: g, logger: logger, phase: starting, said: verdict{starting, starting}}
	r.say(false, servingNames...)
	r.say(false, upstreamHealth)
	r.say(true, aliveHealth)
	return r
}

// judge returns the verdict for the gate's health. A key that was accepted once and is
// rejected later, or an open breaker, does not stop calls, since the cache still answers.
func judge(h gate.Health) verdict {
	const refused = "Clerk refuses the secret key"
	switch {
	case h.AskingKey:
		return verdict{asking, asking}
	case h.KeyRefused && !h.KeyTaken:
		return verdict{refused, refused}
	case h.KeyRefused:
		return verdict{clerk: refused}
	case h.Breaker != gate.Closed:
		return verdict{clerk: "Clerk has been failing, and the breaker is open"}
	}
	return verdict{}
}

// update reads the gate's health, updates the health service, and returns the reason why
// no calls are taken.
func (r *readiness) update() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := verdict{r.phase, r.phase}
	if r.phase == "" {
		now = judge(r.gate.Health())
	}
	if now.calls != r.said.calls {
		r.say(now.calls == "", servingNames...)
		r.log("ready", "not ready", now.calls)
	}
	if now.clerk != r.said.clerk {
		r.say(now.clerk == "", upstreamHealth)
		r.log("Clerk is asked", "Clerk is not asked", now.clerk)
	}
	r.said = now
	return now.calls
}

// enter sets the phase.
func (r *readiness) enter(phase string) {
	r.mu.Lock()
	r.phase = phase
	r.mu.Unlock()
	r.update()
}

// life returns the phase of the server.
func (r *readiness) life() page.Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.phase {
	case starting:
		return page.Starting
	case stopping:
		return page.Stopping
	}
	return page.Serving
}

func (r *readiness) say(serving bool, names ...string) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if serving {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	for _, name := range names {
		r.service.SetServingStatus(name, status)
	}
}

func (r *readiness) log(well, ill, reason string) {
	switch reason {
	case "":
		r.logger.Info(well)
	case asking, stopping:
		r.logger.Info(ill, "reason", reason)
	default:
		r.logger.Warn(ill, "reason", reason)
	}
}

// probes returns the handler of the HTTP listener. It serves calls, /healthz, which
// reports that the process is alive, /readyz, which agrees with the health service's "",
// and /metrics, the page and profiles, if there are any.
func (s *Server) probes() http.Handler {
	mux := http.NewServeMux()
	s.calls.handle(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("alive\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := s.ready.update(); reason != "" {
			http.Error(w, fmt.Sprintf("not ready: %s", reason), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
		for _, note := range s.cfg.Notes() {
			_, _ = fmt.Fprintf(w, "note: %s\n", note)
		}
	})
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", s.guard.http(promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}), "metrics: true",
			func(c *caller.Caller) bool { return c.Metrics }))
	}
	if s.page != nil {
		viewed := s.viewed()
		mux.Handle("GET /{$}", viewed)
		mux.Handle("/page/", viewed)
	}
	if s.cfg.Pprof {
		mux.Handle("/debug/pprof/", s.guard.http(profiles(), "pprof: true", func(c *caller.Caller) bool { return c.Pprof }))
	}
	return mux
}

// profiles serves the profiles of net/http/pprof.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not shown", http.StatusNotFound) // it may contain passwords
	})
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
