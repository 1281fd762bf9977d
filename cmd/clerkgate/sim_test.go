package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestSimWebhookUsage(t *testing.T) {
	url := []string{"--webhook-url", "http://127.0.0.1:1/webhooks/clerk"}
	for _, tt := range []struct {
		name, secret string
		args         []string
		want         string
	}{
		{"no secret", "", url, webhookSecretEnv},
		{"bad secret", "hidden", url, "whsec_"},
		{"no URL", webhookSecret, []string{"--webhook-url", "receiver"}, "http://"},
		{"negative delay", webhookSecret, append(url, "--webhook-delay=-1s"), "--webhook-delay: want 0 or more"},
		{"more than all", webhookSecret, append(url, "--webhook-forge=2"), "--webhook-forge: want 0 to 1"},
		{"odd kind", "", []string{"--quota-kind", "odd"}, "--quota-kind: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(webhookSecretEnv, tt.secret)
			code, _, stderr := runCommand(t, append([]string{"sim", "--listen", "127.0.0.1:0", "--users", "1"}, tt.args...)...)
			if code != exitUsage || !strings.Contains(stderr, tt.want) || tt.secret != "" && strings.Contains(stderr, tt.secret) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// TestSimWebhook has the simulator make somebody up, and gets word of it, a
// forged one first.
func TestSimWebhook(t *testing.T) {
	verifier, err := svix.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	genuine := make(chan bool, 2)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		genuine <- err == nil && verifier.Verify(body, r.Header) == nil && strings.Contains(string(body), `"user.created"`)
	}))
	defer receiver.Close()
	t.Setenv(webhookSecretEnv, webhookSecret)
	out := &output{first: make(chan string, 1), shows: true} // a command with the made-up key
	line := out.first
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sim", "--listen", "127.0.0.1:0", "--users", "1", "--webhook-url", receiver.URL, "--webhook-forge", "1"}, streams{out, &output{}})
	}()
	fields := strings.Fields(<-line)
	base, _, _ := strings.Cut(fields[len(fields)-1], "/v1/")
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{})}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/sim/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	client.CloseIdleConnections()
	if first, second := <-genuine, <-genuine; first || !second {
		t.Errorf("genuine: %v, then %v", first, second)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
