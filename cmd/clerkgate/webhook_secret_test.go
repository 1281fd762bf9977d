package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMissingWebhookSecretIsLoggedBoundedly: anybody can post to the listener, so a
// secret's file that is gone is told once per ten seconds.
func TestMissingWebhookSecretIsLoggedBoundedly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(simulatedSecret), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		c := serveCmd{WebhookListen: "127.0.0.1:0", WebhookSecretFile: file}
		source, err := c.webhookSecret(slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || source() != simulatedSecret {
			t.Fatalf("the secret is not read: %v", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			time.Sleep(time.Second)
			for range 50 {
				if source() != "" {
					t.Fatal("a secret without its file")
				}
			}
		}
		if n := strings.Count(log.String(), "\n"); n < 1 || n > 3 {
			t.Errorf("%d lines for 1,000 events in 20 s, want 1 to 3", n)
		}
	})
}
