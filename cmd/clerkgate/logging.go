package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// logFlags are the flags of the log.
type logFlags struct {
	LogFormat string   `enum:"text,json" default:"text" help:"The format of log lines: text or json."`
	LogLevel  logLevel `default:"info" unit:"level" reload:"in the file, at SIGHUP" help:"The lowest level to log: debug, info, warn (or warning) or error."`
}

// logLevel is the lowest level that is logged.
type logLevel slog.Level

// UnmarshalText reads a level by its name.
func (l *logLevel) UnmarshalText(text []byte) error {
	switch name := strings.ToLower(string(text)); name {
	case "debug", "info", "warn", "error":
		return (*slog.Level)(l).UnmarshalText([]byte(name))
	case "warning":
		*l = logLevel(slog.LevelWarn)
		return nil
	}
	return errors.New("want debug, info, warn or error")
}

// String returns the level's name.
func (l logLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// logger returns a logger that redacts secrets.
func (f logFlags) logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redactAttr}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// redactAttr removes secrets from everything that is logged, including names and
// messages. slog calls it for each member of a group, and for the value of a LogValuer.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	a.Key = clerkapi.Redact(a.Key)
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clerkapi.Redact(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case slog.Level, *slog.Source: // the line's own
		default:
			a.Value = slog.StringValue(clerkapi.Redact(text(v)))
		}
	}
	return a
}

// text returns a value as fmt prints it, but bytes as text: fmt prints bytes as numbers,
// in which a secret would not be found.
func text(v any) string {
	switch v.(type) {
	case error, fmt.Stringer:
		return fmt.Sprint(v)
	}
	if b := reflect.ValueOf(v); b.Kind() == reflect.Slice && b.Type().Elem().Kind() == reflect.Uint8 {
		return string(b.Bytes())
	}
	return fmt.Sprint(v)
}
