package telemetry

import (
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

// LogOpenTelemetry sends OpenTelemetry's own log messages to logger. By default they go
// to stderr, without the log's format and redaction. The setting is global: only the
// program's main package should call it, once, before NewTracing and NewMetricsExport.
func LogOpenTelemetry(logger *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("OpenTelemetry", "error", shorten(err.Error()))
	}))
}
