package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	complainEvery = time.Minute // at most, of spans that can't be sent
	maxComplaint  = 300         // bytes of what is wrong
)

// exporter sends spans by way of next. Its failures go to the log, and not to
// OpenTelemetry's own handler, which is one for the whole process and writes a
// line for each. Its methods are called one at a time.
type exporter struct {
	next   sdktrace.SpanExporter
	logger *slog.Logger
	end    context.Context // when there is no more time to send anything

	lost     int       // spans, since the last line of the log
	nextLine time.Time // when there may be another
}

// ExportSpans sends spans. It never fails: there is nobody to be told.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.end, cancel)()
	err := e.next.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.lost += len(spans)
	if now := time.Now(); !now.Before(e.nextLine) {
		e.nextLine = now.Add(complainEvery)
		e.logger.Warn("spans could not be sent", "error", shorten(err.Error()), "lost", e.lost)
		e.lost = 0
	}
	return nil
}

// Shutdown closes the way to the collector.
func (e *exporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }

// shorten bounds what a collector may put into the log.
func shorten(s string) string {
	if len(s) > maxComplaint {
		s = strings.ToValidUTF8(s[:maxComplaint], "") + "…"
	}
	return s
}
