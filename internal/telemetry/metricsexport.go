package telemetry

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	promotel "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	"golang.org/x/time/rate"
	"google.golang.org/grpc" //nolint:depguard // only to turn its proxy off, which the exporter has no option for
)

// MetricsExportConfig configures a MetricsExport. Environment variables configure the
// collector, as for Tracing.
type MetricsExportConfig struct {
	Version string       // of the build
	Logger  *slog.Logger // logs failed exports, at most once a minute; required
}

// MetricsExport sends the metrics of a Prometheus registry to an OpenTelemetry collector with
// OTLP over gRPC, every minute unless OTEL_METRIC_EXPORT_INTERVAL differs. What it can't send is
// not kept: counters are sums since the start, so the next export includes it.
type MetricsExport struct {
	options  []otlpmetricgrpc.Option
	resource *resource.Resource
	logger   *slog.Logger
}

// NewMetricsExport returns a MetricsExport. It starts nothing and does not connect. It fails if
// an environment variable is invalid, and names it.
func NewMetricsExport(cfg MetricsExportConfig) (*MetricsExport, error) {
	isSet, err := checkExporter("METRICS", metricsVariables)
	if err != nil {
		return nil, err
	}
	m := &MetricsExport{logger: cfg.Logger}
	m.options = []otlpmetricgrpc.Option{otlpmetricgrpc.WithDialOption(grpc.WithNoProxy())} // HTTPS_PROXY is for requests to Clerk only
	if !isSet {
		m.options = append(m.options, otlpmetricgrpc.WithEndpointURL(defaultEndpoint))
	}
	if m.resource, err = resourceOf(cfg.Version); err != nil {
		return nil, err
	}
	return m, nil
}

// Run sends the metrics of from until ctx ends, then once more for at most 2 seconds, and returns
// when all its goroutines have ended.
func (m *MetricsExport) Run(ctx context.Context, from prometheus.Gatherer) error {
	exporter, err := otlpmetricgrpc.New(ctx, m.options...)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	reader := sdkmetric.NewPeriodicReader(&metricsExporter{Exporter: exporter, logger: m.logger, lines: rate.Sometimes{Interval: logEvery}},
		sdkmetric.WithProducer(promotel.NewMetricProducer(promotel.WithGatherer(from))))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(m.resource))
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	if err := provider.Shutdown(last); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// metricsExporter logs failures instead of passing them to OpenTelemetry's error handler, which
// has no rate limit.
type metricsExporter struct {
	sdkmetric.Exporter
	logger *slog.Logger
	lines  rate.Sometimes
}

// Export sends metrics. It never returns an error; failures are logged.
func (e *metricsExporter) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	if err := e.Exporter.Export(ctx, m); err != nil {
		e.lines.Do(func() { e.logger.Warn("metrics could not be sent", "error", shorten(err.Error())) })
	}
	return nil
}

// Shutdown closes the connection to the collector. It does not wait, so it needs no time of ctx,
// which the last export may have used up.
func (e *metricsExporter) Shutdown(ctx context.Context) error {
	return e.Exporter.Shutdown(context.WithoutCancel(ctx))
}
