package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// logFlags say how to log.
type logFlags struct {
	LogFormat string     `enum:"text,json" default:"text" help:"How log lines look: text or json."`
	LogLevel  slog.Level `default:"info" help:"The least level that is logged: debug, info, warn or error."`
}

// logger gives a logger that lets no secret through.
func (f logFlags) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: f.LogLevel, ReplaceAttr: redactAttr}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// redactAttr takes the secrets out of whatever is logged as text, messages included.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clerkapi.Redact(a.Value.String()))
	case slog.KindAny:
		if a.Key != slog.LevelKey && a.Key != slog.SourceKey {
			a.Value = slog.StringValue(clerkapi.Redact(fmt.Sprint(a.Value.Any())))
		}
	}
	return a
}
