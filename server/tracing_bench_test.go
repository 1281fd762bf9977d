package server

import (
	"context"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// nowhere drops spans.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

// BenchmarkTracingCost measures a whole GetUser call that memory answers, over TCP and
// including the client: without tracing, with tracing that samples nothing, and with
// tracing that samples everything and exports nothing. It alternates between them, so
// that the ratios are meaningful on a noisy machine.
func BenchmarkTracingCost(b *testing.B) {
	like := simulatedUsers(b, 100)
	provider := func(share float64) trace.TracerProvider {
		p := sdktrace.NewTracerProvider(sdktrace.WithSampler(telemetry.Sampler(share)), sdktrace.WithBatcher(nowhere{}))
		b.Cleanup(func() { _ = p.Shutdown(context.Background()) })
		return p
	}
	took := turnAbout(b, startCached(b, like, 1000, nil), startCached(b, like, 1000, provider(0)), startCached(b, like, 1000, provider(1)))
	b.ReportMetric(took[0], "ns/call-off")
	b.ReportMetric(took[1]/took[0], "ratio-unsampled")
	b.ReportMetric(took[2]/took[0], "ratio-sampled")
}

// TestNoTracesCostNothing: where calls are not traced, what is noted in spans
// costs no allocation.
func TestNoTracesCostNothing(t *testing.T) {
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		traceOptions(ctx, optionsOf(ctx))
		traceLookup(ctx, nil)
		traceFailure(ctx, failure{})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
