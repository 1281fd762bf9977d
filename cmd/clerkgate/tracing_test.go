package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// receiver is an OpenTelemetry collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []string // their names; guarded by mu
	service []string // what the spans are said to come from; guarded by mu
	token   string   // of the headers; guarded by mu
}

func (r *receiver) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leaktest.Saw(leaktest.Span, req.String())
	md, _ := metadata.FromIncomingContext(ctx)
	r.token = strings.Join(md.Get("x-token"), ",")
	for _, resource := range req.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				r.service = append(r.service, a.Value.GetStringValue())
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				r.spans = append(r.spans, span.Name)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// TestSpansArrive serves with a collector at the other end of a real socket. The
// last spans are sent when serve ends.
func TestSpansArrive(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token="+strings.ReplaceAll(leaktest.Secret("a collector's token", "let me in"), " ", "%20"))
	t.Setenv("OTEL_SERVICE_NAME", "users-gateway")
	t.Setenv("CLERKGATE_TRACING", "otlp")
	t.Run("serve", func(t *testing.T) {
		address, id, _ := serveSim(t)
		if code, _, stderr := runCommand(t, "get", id, "--address", address); code != 0 {
			t.Fatal(stderr)
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range []string{"clerkgate.v1.UserService/BatchGetUsers", "gate.queue", "gate.batch", "GET /v1/users/{user_id}"} {
		if !slices.Contains(r.spans, name) {
			t.Errorf("%s is not among the spans %v", name, r.spans)
		}
	}
	if r.token != "let me in" || !slices.Contains(r.service, "users-gateway") {
		t.Errorf("token %q, service %v", r.token, r.service)
	}
}

// TestNoCollector serves while nobody takes the spans: calls are answered, the
// end is not held up for longer than the last spans may take, and what
// OpenTelemetry itself says of it all is in the log.
func TestNoCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	var log *output
	t.Run("serve", func(t *testing.T) {
		var address, id string
		address, id, log = serveSim(t, "--tracing", "otlp", "--log-level", "debug")
		for range 20 {
			if code, _, stderr := runCommand(t, "get", id, "--address", address, "--timeout", time.Minute.String()); code != 0 {
				t.Fatal(stderr)
			}
		}
	})
	if n := strings.Count(log.String(), "spans could not be sent"); n != 1 {
		t.Errorf("%d lines of the log say so:\n%s", n, log)
	}
	for _, line := range []string{`level=DEBUG msg="TracerProvider created"`, `level=WARN msg="OTEL_TRACES_SAMPLER has no effect`} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("not in the log: %s\n%s", line, log)
		}
	}
}

// TestLostSpansAreCounted has room for one span, and nobody takes it.
func TestLostSpansAreCounted(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
	address, id, log := serveSim(t, "--tracing", "otlp")
	for range 20 {
		if code, _, stderr := runCommand(t, "get", id, "--address", address, "--timeout", time.Minute.String()); code != 0 {
			t.Fatal(stderr)
		}
	}
	listening := regexp.MustCompile(`msg=serving .*http=(\S+)`).FindStringSubmatch(log.String())
	if listening == nil {
		t.Fatalf("no address in the log:\n%s", log)
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + listening[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !regexp.MustCompile(`(?m)^clerkgate_trace_spans_lost_total [1-9]`).Match(metrics) {
		t.Errorf("error %v, metrics:\n%s", err, metrics)
	}
}
