package main

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// tracing provides the tracers of all parts of the server.
type tracing struct {
	provider trace.TracerProvider // nil: nothing is traced
	sender   *telemetry.Tracing   // nil: nothing is traced
}

// tracer returns the tracer of a part, nil if nothing is traced.
func (t tracing) tracer(part string) trace.Tracer {
	if t.provider == nil {
		return nil
	}
	return t.provider.Tracer("github.com/clerkgate/clerkgate/" + part)
}

// tracing returns the exporter of spans, nil if nothing is traced. It starts nothing.
func (c *serveCmd) tracing(logger *slog.Logger) (*telemetry.Tracing, error) {
	if c.Tracing == "off" {
		return nil, nil
	}
	sender, err := telemetry.NewTracing(telemetry.TracingConfig{Sample: c.TraceSample, Version: buildVersion(), Logger: logger})
	if err != nil {
		return nil, usagef("--tracing: %v", err)
	}
	return sender, nil
}

// metricsExport returns the exporter of metrics, nil if they are only scraped. It starts
// nothing.
func (c *serveCmd) metricsExport(logger *slog.Logger) (*telemetry.MetricsExport, error) {
	if c.Metrics != "otlp" {
		return nil, nil
	}
	export, err := telemetry.NewMetricsExport(telemetry.MetricsExportConfig{Version: buildVersion(), Logger: logger})
	if err != nil {
		return nil, usagef("--metrics: %v", err)
	}
	return export, nil
}

// startTracing runs sender, unless it is nil. The returned function stops it, and returns
// when the last spans have been sent or dropped.
func startTracing(ctx context.Context, sender *telemetry.Tracing, logger *slog.Logger) (t tracing, stop func()) {
	if sender == nil {
		return tracing{}, func() {}
	}
	if os.Getenv("OTEL_TRACES_SAMPLER") != "" { // it may be set for every process of a cluster
		logger.Warn("OTEL_TRACES_SAMPLER has no effect: --trace-sample decides what is sampled")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := sender.Run(ctx); err != nil {
			logger.Error("tracing", "error", err)
		}
	})
	return tracing{sender.Provider(), sender}, func() {
		cancel()
		sending.Wait()
	}
}
