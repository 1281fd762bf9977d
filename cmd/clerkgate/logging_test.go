package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// secretText is text with a secret in it, printed and logged in several ways.
type secretText struct{ text string }

func (s *secretText) String() string { return s.text }

// secretValue shows a secret to slog.
type secretValue struct{ value slog.Value }

func (s secretValue) LogValue() slog.Value { return s.value }

func TestLogsHoldNoSecret(t *testing.T) {
	const text = "before " + secret + " after"
	for name, log := range map[string]func(*slog.Logger){
		"message":            func(l *slog.Logger) { l.Info(text) },
		"string":             func(l *slog.Logger) { l.Info("m", "k", text) },
		"webhook secret":     func(l *slog.Logger) { l.Info("m", "k", webhookSecret) },
		"name":               func(l *slog.Logger) { l.Info("m", secret, 1) },
		"error":              func(l *slog.Logger) { l.Info("m", "k", fmt.Errorf("wrapped: %w", errors.New(text))) },
		"error named level":  func(l *slog.Logger) { l.Info("m", slog.LevelKey, errors.New(text)) },
		"error named source": func(l *slog.Logger) { l.Info("m", slog.SourceKey, errors.New(text)) },
		"Stringer":           func(l *slog.Logger) { l.Info("m", "k", &secretText{text}) },
		"bytes":              func(l *slog.Logger) { l.Info("m", "k", []byte(text)) },
		"JSON":               func(l *slog.Logger) { l.Info("m", "k", json.RawMessage(`{"key":"`+secret+`"}`)) },
		"struct":             func(l *slog.Logger) { l.Info("m", "k", secretText{text}) },
		"map":                func(l *slog.Logger) { l.Info("m", "k", map[string]any{"x": []string{text}}) },
		"slice":              func(l *slog.Logger) { l.Info("m", "k", []any{text, 1}) },
		"group":              func(l *slog.Logger) { l.Info("m", slog.Group("g", slog.Group("h", "k", text, "e", errors.New(text)))) },
		"logger with a group": func(l *slog.Logger) {
			l.With("k", text).WithGroup("g").With("k", errors.New(text)).Info("m", "k", text)
		},
		"LogValuer": func(l *slog.Logger) { l.Info("m", "k", secretValue{slog.StringValue(text)}) },
		"LogValuer of a group": func(l *slog.Logger) {
			l.Info("m", "k", secretValue{slog.GroupValue(slog.Any("e", errors.New(text)))})
		},
		"LogValuer of bytes": func(l *slog.Logger) { l.Info("m", "k", secretValue{slog.AnyValue([]byte(text))}) },
	} {
		for _, format := range []string{"text", "json"} {
			t.Run(name+", "+format, func(t *testing.T) {
				var out output
				log(logFlags{LogFormat: format}.logger(&out, slog.LevelInfo))
				got := out.String()
				for _, s := range []string{secret, webhookSecret, fmt.Sprint([]byte(secret))} {
					if strings.Contains(got, strings.Trim(s, "[]")) {
						t.Errorf("it shows %s: %s", s, got)
					}
				}
				if !strings.Contains(got, "[redacted]") || !strings.Contains(got, "INFO") {
					t.Errorf("the line lacks its level, or the place of the secret: %s", got)
				}
			})
		}
	}
}

// TestLogsShowTheRest logs what is no secret: redaction leaves it as it is.
func TestLogsShowTheRest(t *testing.T) {
	var out output
	logFlags{LogFormat: "json"}.logger(&out, slog.LevelInfo).Info("m", "ip", net.IPv4(192, 0, 2, 1), "took", time.Second, "n", 7, "nil", nil,
		slog.Group("g", "bytes", []byte("text"), "error", errors.New("e")))
	var got map[string]any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, slog.TimeKey)
	want := map[string]any{
		"level": "INFO", "msg": "m", "ip": "192.0.2.1", "took": 1e9, "n": 7.0, "nil": "<nil>",
		"g": map[string]any{"bytes": "text", "error": "e"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
