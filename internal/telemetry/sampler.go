package telemetry

import (
	"fmt"
	"slices"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Sampler returns the sampler of spans. A span with a parent, here or at a caller, is
// sampled if the parent is. A span without one is sampled if it links to a sampled span,
// so the request of a sampled call is always recorded. Of all others the given fraction
// is sampled, 0 to 1.
func Sampler(share float64) sdktrace.Sampler {
	return sdktrace.ParentBased(linkSampler{sdktrace.TraceIDRatioBased(share)})
}

// linkSampler samples spans that link to a sampled span, and leaves the rest to another
// sampler.
type linkSampler struct{ rest sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (l linkSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if slices.ContainsFunc(p.Links, func(to trace.Link) bool { return to.SpanContext.IsSampled() }) {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return l.rest.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (l linkSampler) Description() string { return fmt.Sprintf("Linked{%s}", l.rest.Description()) }
