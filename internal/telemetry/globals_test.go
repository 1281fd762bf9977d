package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
)

// TestOpenTelemetrysOwnWords: OpenTelemetry's own messages go to the logger, in its
// format and level, and through its redaction.
func TestOpenTelemetrysOwnWords(t *testing.T) {
	var lines bytes.Buffer
	LogOpenTelemetry(slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			return slog.String(a.Key, strings.ReplaceAll(a.Value.String(), "secret", "[redacted]"))
		},
	})))
	t.Cleanup(func() { LogOpenTelemetry(slog.New(slog.DiscardHandler)) })

	otel.Handle(errors.New("a secret" + strings.Repeat("x", 5000) + "beyond"))
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "secret") // read without validation
	otlptracegrpc.NewClient()

	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	if len(got) != 2 || strings.Contains(lines.String(), "secret") || strings.Contains(lines.String(), "beyond") ||
		!strings.Contains(got[0], `"level":"WARN","msg":"OpenTelemetry","error":"a [redacted]`) ||
		!strings.Contains(got[1], `"level":"ERROR","msg":"parse duration"`) {
		t.Errorf("log:\n%s", &lines)
	}
}
