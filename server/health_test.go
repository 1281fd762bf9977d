package server

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/clerkgate/clerkgate/internal/gate"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// httpAnswer returns the status and body of a URL.
func httpAnswer(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestReadiness(t *testing.T) {
	for _, tt := range []struct {
		name   string
		phase  string
		health gate.Health
		calls  string // part of the reason why no calls are taken
		clerk  string // part of the reason why Clerk is not asked
	}{
		{"nothing asked yet", "", gate.Health{}, "", ""},
		{"well", "", gate.Health{KeyTaken: true}, "", ""},
		{"key refused at first", "", gate.Health{KeyRefused: true}, "refuses the secret key", "refuses the secret key"},
		{"key refused later", "", gate.Health{KeyRefused: true, KeyTaken: true}, "", "refuses the secret key"},
		{"key being asked about", "", gate.Health{AskingKey: true}, "not yet accepted or refused", "not yet accepted or refused"},
		{"breaker open", "", gate.Health{Breaker: gate.Open, KeyTaken: true}, "", "breaker is open"},
		{"breaker open from the start", "", gate.Health{Breaker: gate.Open}, "", "breaker is open"},
		{"breaker half open", "", gate.Health{Breaker: gate.HalfOpen, KeyTaken: true}, "", "breaker is open"},
		{"key refused at first, breaker open", "", gate.Health{Breaker: gate.Open, KeyRefused: true}, "refuses the secret key", "refuses the secret key"},
		{"starting", starting, gate.Health{KeyTaken: true}, "starting", "starting"},
		{"stopping", stopping, gate.Health{KeyTaken: true}, "stopping", "stopping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &logBuffer{}
			r := newReadiness(&fakeUpstream{health: tt.health}, leaktest.Logger(slog.NewTextHandler(log, nil)))
			r.enter("")
			r.enter(tt.phase)
			check := func(service, reason string) {
				resp, err := r.service.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
				if serving := resp.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING; err != nil || serving != (reason == "") {
					t.Errorf("%q is %v, %v", service, resp.GetStatus(), err)
				}
			}
			for _, service := range []string{"", "clerkgate.v1.UserService", "clerkgate.v1.QuotaService"} {
				check(service, tt.calls)
			}
			check("clerk", tt.clerk)
			check("alive", "")
			lines := strings.Count(log.String(), "\n")
			if got := r.update(); (got == "") != (tt.calls == "") || !strings.Contains(got, tt.calls) {
				t.Errorf("the reason is %q, want %q in it", got, tt.calls)
			}
			if text := log.String(); !strings.Contains(text, tt.calls) || !strings.Contains(text, tt.clerk) || strings.Count(text, "\n") != lines {
				t.Errorf("the log lacks a reason, or repeats one:\n%s", text)
			}
		})
	}
}

// TestServerHealth changes the gate's health: health, its watchers and
// /readyz follow.
func TestServerHealth(t *testing.T) {
	up := &fakeUpstream{health: gate.Health{Breaker: gate.Open}}
	r := start(t, Config{Users: up, Quota: up})
	check := func(service string) string {
		resp, err := r.health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		if err != nil {
			return status.Code(err).String()
		}
		return resp.Status.String()
	}
	for service, want := range map[string]string{
		"": "SERVING", "clerkgate.v1.UserService": "SERVING", "clerkgate.v1.QuotaService": "SERVING",
		"clerk": "NOT_SERVING", "alive": "SERVING", "nobody": "NotFound",
	} {
		if got := check(service); got != want {
			t.Errorf("%q is %s, want %s", service, got, want)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 404, "/": 404} {
		if got := httpStatus(t, r.httpURL+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}

	for _, step := range []struct {
		service string // the service that changes
		health  gate.Health
		want    grpc_health_v1.HealthCheckResponse_ServingStatus
		ready   int
		text    string
	}{
		{"clerk", gate.Health{}, grpc_health_v1.HealthCheckResponse_SERVING, 200, "ready\n"},
		{"", gate.Health{KeyRefused: true}, grpc_health_v1.HealthCheckResponse_NOT_SERVING, 503, "not ready: Clerk refuses the secret key\n"},
		{"clerkgate.v1.UserService", gate.Health{KeyTaken: true}, grpc_health_v1.HealthCheckResponse_SERVING, 200, "ready\n"},
		{"clerk", gate.Health{KeyTaken: true, KeyRefused: true}, grpc_health_v1.HealthCheckResponse_NOT_SERVING, 200, "ready\n"},
	} {
		watch, err := r.health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: step.service})
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := watch.Recv(); err != nil || resp.Status == step.want {
			t.Fatalf("%+v: %v, %v before the change", step, resp, err)
		}
		up.change(func() { up.health = step.health })
		if resp, err := watch.Recv(); err != nil || resp.Status != step.want {
			t.Errorf("%+v: %v, %v", step, resp, err)
		}
		if code, text := httpAnswer(t, r.httpURL+"/readyz"); code != step.ready || text != step.text {
			t.Errorf("%+v: /readyz answers %d %q", step, code, text)
		}
		if serving := check("") == "SERVING"; serving != (step.ready == http.StatusOK) {
			t.Errorf("%+v: \"\" and /readyz disagree", step)
		}
	}
}
