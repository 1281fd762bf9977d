package telemetry

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc" //nolint:depguard // only to turn its proxy off, which the exporter has no option for
)

// flushTime is the time limit for the last export.
const flushTime = 2 * time.Second

// TracingConfig configures Tracing. The standard OTEL_EXPORTER_OTLP_… environment
// variables configure the collector; the default is http://localhost:4317.
type TracingConfig struct {
	Sample  float64      // fraction of the traces started here that are sampled, 0 to 1
	Version string       // of the build
	Logger  *slog.Logger // logs lost spans, at most once a minute; required
}

// Tracing exports spans to an OpenTelemetry collector with OTLP over gRPC. It drops what
// it can't export; calls never wait for it.
type Tracing struct {
	provider *sdktrace.TracerProvider
	otlp     *otlptrace.Exporter
	lost     *lostSpans
}

// NewTracing returns a Tracing. It starts nothing and does not connect. It fails if an
// environment variable is invalid, and names it.
func NewTracing(cfg TracingConfig) (*Tracing, error) {
	options, err := tracesOptions()
	if err != nil {
		return nil, err
	}
	options = append(options, otlptracegrpc.WithDialOption(grpc.WithNoProxy())) // HTTPS_PROXY is for requests to Clerk only
	about, err := resourceOf(cfg.Version)
	if err != nil {
		return nil, err
	}
	return &Tracing{
		provider: sdktrace.NewTracerProvider(sdktrace.WithSampler(Sampler(cfg.Sample)), sdktrace.WithResource(about)),
		otlp:     otlptracegrpc.NewUnstarted(options...),
		lost:     newLostSpans(cfg.Logger),
	}, nil
}

// instance distinguishes this process from other replicas, whose metrics have the same names.
var instance = rand.Text()

// resourceOf returns the description of this process for the collector.
func resourceOf(version string) (*resource.Resource, error) {
	// Later attributes win: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	r, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("clerkgate"), semconv.ServiceVersion(version), semconv.ServiceInstanceID(instance)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry's resource: %w", err)
	}
	return r, nil
}

// Provider returns the provider of tracers. Spans that end before or after Run are
// dropped.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Lost returns the number of lost spans. A nil Tracing has lost 0.
func (t *Tracing) Lost() int64 {
	if t == nil {
		return 0
	}
	return t.lost.count()
}

// Run exports spans until ctx ends, then the remaining ones for at most 2 seconds, and
// returns when all its goroutines have ended. Call it at most once.
func (t *Tracing) Run(ctx context.Context) error {
	if err := t.otlp.Start(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return t.export(ctx, t.otlp)
}

// export exports spans through next until ctx ends, and shuts it down.
func (t *Tracing) export(ctx context.Context, next sdktrace.SpanExporter) error {
	end, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	q := &queue{size: int64(queueSize()), lost: t.lost}
	// Here and not in New, because it starts a goroutine.
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&exporter{next: next, queue: q, end: end})
	t.provider.RegisterSpanProcessor(q)
	defer t.lost.logNow()
	t.lost.log(ctx)
	flush := time.AfterFunc(flushTime, cut)
	defer flush.Stop()
	// Waits for the last export, which is aborted after its time limit.
	if err := t.provider.Shutdown(context.Background()); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}
