package telemetry

import (
	"fmt"
	"slices"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Sampler decides which spans are recorded. Where a span has a parent, here or
// at a caller, it is recorded if the parent is. Else it is if it links to one that
// is, so that the request that served a sampled call is there to be looked at.
// Of all others a share is recorded, 0 to 1.
func Sampler(share float64) sdktrace.Sampler {
	return sdktrace.ParentBased(linked{sdktrace.TraceIDRatioBased(share)})
}

// linked samples what links to a sampled span, and leaves the rest to another
// sampler.
type linked struct{ rest sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (l linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if slices.ContainsFunc(p.Links, func(to trace.Link) bool { return to.SpanContext.IsSampled() }) {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return l.rest.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (l linked) Description() string { return fmt.Sprintf("Linked{%s}", l.rest.Description()) }
