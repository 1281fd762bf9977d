//go:build unix

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWebhookSecretInAPipe: a named pipe, which would block each event for ever, is no file
// of a secret, neither at the start nor later.
func TestWebhookSecretInAPipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(simulatedSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	c := serveCmd{WebhookListen: "127.0.0.1:0", WebhookSecretFile: file}
	logger := slog.New(slog.DiscardHandler)
	source, err := c.webhookSecret(logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if source() != "" {
		t.Error("a secret from a pipe")
	}
	if _, err := c.webhookSecret(logger); err == nil {
		t.Error("the server starts with a pipe")
	}
}
