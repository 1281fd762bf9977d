package telemetry

import (
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

// LogOpenTelemetry gives logger what OpenTelemetry itself has to say, which
// otherwise goes to stderr, past the log's form and its redaction. It is one for
// the whole process: who owns that calls it, once, before NewTracing.
func LogOpenTelemetry(logger *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("OpenTelemetry", "error", shorten(err.Error()))
	}))
}
