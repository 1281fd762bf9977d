package telemetry

import (
	"context"
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

// flushTime is how long the last spans may take to be sent once tracing stops.
const flushTime = 2 * time.Second

// TracingConfig says which spans are sent. Where to, and how, say the standard
// OTEL_EXPORTER_OTLP_… environment variables; the default is
// http://localhost:4317.
type TracingConfig struct {
	Sample  float64      // share of traces begun here that are sampled, 0 to 1
	Version string       // of the build
	Logger  *slog.Logger // told of spans that are lost, at most once a minute; required
}

// Tracing sends spans to an OpenTelemetry collector by OTLP over gRPC. What
// can't be sent is dropped; nobody ever waits for it.
type Tracing struct {
	provider *sdktrace.TracerProvider
	otlp     *otlptrace.Exporter
	lost     *losses
}

// NewTracing makes a Tracing. It connects to nothing and starts nothing. Its
// error says which environment variable is at fault.
func NewTracing(cfg TracingConfig) (*Tracing, error) {
	options, err := exporterOptions()
	if err != nil {
		return nil, err
	}
	options = append(options, otlptracegrpc.WithDialOption(grpc.WithNoProxy())) // HTTPS_PROXY is for the way to Clerk
	// What comes later wins: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	about, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("clerkgate"), semconv.ServiceVersion(cfg.Version)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry's resource: %w", err)
	}
	return &Tracing{
		provider: sdktrace.NewTracerProvider(sdktrace.WithSampler(Sampler(cfg.Sample)), sdktrace.WithResource(about)),
		otlp:     otlptracegrpc.NewUnstarted(options...),
		lost:     newLosses(cfg.Logger),
	}, nil
}

// Provider makes tracers. Spans that end before Run or after it are dropped.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Lost gives how many spans could not be sent, for want of room or because of the
// collector. Of a nil Tracing it is 0.
func (t *Tracing) Lost() int64 {
	if t == nil {
		return 0
	}
	return t.lost.count()
}

// Run sends spans until ctx ends, then those that are left, for at most 2
// seconds, and returns when every goroutine of its own has ended. It must be
// called once at most.
func (t *Tracing) Run(ctx context.Context) error {
	if err := t.otlp.Start(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return t.export(ctx, t.otlp)
}

// export sends spans by way of next until ctx ends, and shuts it down.
func (t *Tracing) export(ctx context.Context, next sdktrace.SpanExporter) error {
	end, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	q := &queue{size: int64(queueSize()), lost: t.lost}
	// Its goroutine starts here, not in New.
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&exporter{next: next, queue: q, end: end})
	t.provider.RegisterSpanProcessor(q)
	defer t.lost.tellNow()
	t.lost.tell(ctx)
	flush := time.AfterFunc(flushTime, cut)
	defer flush.Stop()
	// It waits for the last export, which is cut off when its time is over.
	if err := t.provider.Shutdown(context.Background()); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}
