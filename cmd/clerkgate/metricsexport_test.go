package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	otlp "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// metricsReceiver is an OpenTelemetry collector that keeps the last metrics that it got.
type metricsReceiver struct {
	collector.UnimplementedMetricsServiceServer
	got   chan struct{} // has room for one
	hangs bool

	mu       sync.Mutex
	metrics  map[string]*otlp.Metric // by name; guarded by mu
	resource map[string]string       // guarded by mu
	token    string                  // of the headers; guarded by mu
}

func (r *metricsReceiver) Export(ctx context.Context, req *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	if r.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	r.token = strings.Join(md.Get("x-token"), ",")
	r.metrics, r.resource = map[string]*otlp.Metric{}, map[string]string{}
	for _, resource := range req.ResourceMetrics {
		for _, a := range resource.Resource.Attributes {
			r.resource[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				r.metrics[m.Name] = m
			}
		}
	}
	select {
	case r.got <- struct{}{}:
	default:
	}
	return &collector.ExportMetricsServiceResponse{}, nil
}

// startMetricsReceiver starts a collector, and configures serve for it.
func startMetricsReceiver(t *testing.T) *metricsReceiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &metricsReceiver{got: make(chan struct{}, 1)}
	server := grpc.NewServer()
	collector.RegisterMetricsServiceServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-token=let%20me%20in")
	return r
}

// TestMetricsArrive serves with a collector at the other end of a real socket. The last
// metrics are sent when serve ends.
func TestMetricsArrive(t *testing.T) {
	r := startMetricsReceiver(t)
	t.Setenv("CLERKGATE_METRICS", "otlp")
	t.Run("serve", func(t *testing.T) {
		address, id, _ := serveSim(t)
		if code, _, stderr := runCommand(t, "get", id, "--address", address); code != 0 {
			t.Fatal(stderr)
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit := r.metrics["clerkgate_quota_limit"].GetGauge().GetDataPoints(); len(limit) != 1 || limit[0].GetAsDouble() != 100 {
		t.Errorf("the quota's limit is %v", limit)
	}
	requests := r.metrics["clerkgate_upstream_ids_total"].GetSum()
	if !requests.GetIsMonotonic() || requests.GetAggregationTemporality() != otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE ||
		len(requests.DataPoints) != 1 || requests.DataPoints[0].GetAsDouble() != 1 {
		t.Errorf("ids are %v", requests)
	}
	for _, name := range []string{"clerkgate_batch_users", "grpc_server_handling_seconds"} {
		if len(r.metrics[name].GetHistogram().GetDataPoints()) == 0 {
			t.Errorf("there is no histogram %s", name)
		}
	}
	if r.token != "let me in" || r.resource["service.name"] != "clerkgate" || r.resource["service.instance.id"] == "" {
		t.Errorf("token %q, resource %v", r.token, r.resource)
	}
}

// TestMetricsArriveInTime has metrics sent while serve runs, with and without the HTTP
// listener.
func TestMetricsArriveInTime(t *testing.T) {
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
	for _, http := range []string{"127.0.0.1:0", "off"} {
		t.Run(http, func(t *testing.T) {
			r := startMetricsReceiver(t)
			serveSim(t, "--metrics", "otlp", "--http-listen", http)
			<-r.got
		})
	}
}

// TestNoMetricsCollector serves while nobody takes the metrics: calls are answered, serve ends,
// and the log has one line.
func TestNoMetricsCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
	var log *output
	t.Run("serve", func(t *testing.T) {
		var address, id string
		address, id, log = serveSim(t, "--metrics", "otlp")
		for range 20 {
			if code, _, stderr := runCommand(t, "get", id, "--address", address); code != 0 {
				t.Fatal(stderr)
			}
		}
	})
	if n := strings.Count(log.String(), "metrics could not be sent"); n != 1 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%d lines of the log say so:\n%s", n, log)
	}
}

// TestMetricsCollectorThatHangs ends while the collector does not answer: the last metrics are
// given up.
func TestMetricsCollectorThatHangs(t *testing.T) {
	startMetricsReceiver(t).hangs = true
	var log *output
	t.Run("serve", func(t *testing.T) { _, _, log = serveSim(t, "--metrics", "otlp") })
	if n := strings.Count(log.String(), "metrics could not be sent"); n != 1 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%d lines of the log say so:\n%s", n, log)
	}
}

// TestMetricsSettings refuses what would have no effect.
func TestMetricsSettings(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
	code, _, stderr := runCommand(t, "config", "check", "--sim", "--metrics", "otlp")
	if code != 2 || !strings.Contains(stderr, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: want cumulative") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
