package server

import (
	"context"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/stats"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// traceCalls returns a handler that makes a span of each call of the contract's methods;
// the caller's traceparent makes it a part of the caller's trace. Health and reflection
// have no spans, nor have methods that do not exist, whose names anybody can make up.
func traceCalls(provider trace.TracerProvider) stats.Handler {
	methods := make(map[string]bool)
	for _, service := range services {
		for _, name := range methodsOf(service) {
			methods["/"+service.ServiceName+"/"+name] = true
		}
	}
	return otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(provider),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithMeterProvider(noop.NewMeterProvider()), // or else the process's own
		otelgrpc.WithFilter(func(call *stats.RPCTagInfo) bool { return methods[call.FullMethodName] }),
	)
}

// traceOptions sets the caller and the priority in the call's span.
func traceOptions(ctx context.Context, o gate.Options) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	priority := "interactive"
	if o.Priority == gate.Batch {
		priority = "batch"
	}
	span.SetAttributes(
		attribute.String("clerkgate.caller", clerkapi.Redact(o.Caller)),
		attribute.String("clerkgate.priority", priority),
	)
}

// traceLookup sets in the call's span how many users were looked up, and how many of them
// came from which source. It never sets their ids.
func traceLookup(ctx context.Context, results []usercache.Result) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	var from [clerkgatev1.ServedFrom_SERVED_FROM_REDIS + 1]int
	for _, r := range results {
		from[r.ServedFrom]++
	}
	span.SetAttributes(attribute.Int("clerkgate.ids", len(results)))
	for place, n := range from {
		if n > 0 && place > 0 { // those that failed have none
			name := strings.ToLower(strings.TrimPrefix(clerkgatev1.ServedFrom(place).String(), "SERVED_FROM_"))
			span.SetAttributes(attribute.Int("clerkgate.from_"+name, n))
		}
	}
}

// traceFailure sets in the call's span why it failed.
func traceFailure(ctx context.Context, f failure) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("clerkgate.reason", f.reasonName()))
	}
}

// traceID returns the id of the call's trace as attributes of a log line, or none if calls
// are not traced.
func traceID(ctx context.Context) []any {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		return []any{"trace_id", span.TraceID().String()}
	}
	return nil
}
