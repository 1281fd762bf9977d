package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestHealthFollowsTheKey serves with a key that Clerk refuses, replaces it, and
// has it refused again: health, its watchers and /readyz follow, and nobody need
// call for that but at last.
func TestHealthFollowsTheKey(t *testing.T) {
	sim, err := clerksim.New(clerksim.Config{Users: 10})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func() {
		if err := sim.AddFault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: http.StatusUnauthorized}); err != nil {
			t.Fatal(err)
		}
	}
	refuse()
	clerk := httptest.NewServer(sim)
	defer clerk.Close()
	keyFile := filepath.Join(t.TempDir(), "key")
	put := func(key string) {
		if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(secret)

	log := &output{first: make(chan string, 1)}
	first := log.first
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-format", "json",
			"--clerk-api-url", clerk.URL, "--clerk-secret-key-file", keyFile}, streams{&output{}, log})
	}()
	defer func() {
		stop()
		if code := <-done; code != 0 || strings.Contains(log.String(), "sk_test_") {
			t.Errorf("serve ended with %d, or shows a key:\n%s", code, log)
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	var listening struct{ GRPC, HTTP string }
	if err := json.Unmarshal([]byte(<-first), &listening); err != nil {
		t.Fatal(err)
	}
	conn, err := leaktest.Dial(listening.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	health := grpc_health_v1.NewHealthClient(conn)
	watch := func(service string) func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		watching, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
			t.Helper()
			for {
				resp, err := watching.Recv()
				if err != nil {
					t.Fatal(err)
				}
				if resp.Status == want {
					return
				}
			}
		}
	}
	ready := func(code int, text string) {
		t.Helper()
		resp, err := http.Get("http://" + listening.HTTP + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		serving, checkErr := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		agree := (serving.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING) == (resp.StatusCode == http.StatusOK)
		if err != nil || checkErr != nil || !agree || resp.StatusCode != code || !strings.Contains(string(got), text) {
			t.Errorf("/readyz: %s %q, health: %v, %v, %v", resp.Status, got, serving, err, checkErr)
		}
	}

	// The server asks about its key by itself, once.
	for sim.Stats().Requests == 0 {
		ready(http.StatusServiceUnavailable, "not ready: Clerk ")
	}
	own, clerks := watch(""), watch("clerk")
	own(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	clerks(grpc_health_v1.HealthCheckResponse_NOT_SERVING)

	sim.ClearFaults()
	put("sk_test_another")
	own(grpc_health_v1.HealthCheckResponse_SERVING)
	clerks(grpc_health_v1.HealthCheckResponse_SERVING)
	ready(http.StatusOK, "ready")
	if n := sim.Stats().Requests; n != 2 {
		t.Errorf("%d requests, want one for each key", n)
	}

	// Refused later, the key takes "clerk" away, and not what memory holds.
	id := sim.UserIDs(2)[0]
	if code, _, stderr := runCommand(t, "get", id, "--address", listening.GRPC); code != 0 {
		t.Fatal(stderr)
	}
	refuse()
	if code, _, stderr := runCommand(t, "get", sim.UserIDs(2)[1], "--address", listening.GRPC); code != exitUnavailable || !strings.Contains(stderr, "CLERK_KEY_REJECTED") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	clerks(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	ready(http.StatusOK, "ready")
	if code, _, stderr := runCommand(t, "get", id, "--address", listening.GRPC); code != 0 {
		t.Errorf("what is in memory is not served: %s", stderr)
	}
	for _, part := range []string{
		`"msg":"not ready","reason":"Clerk refuses the secret key"`, `"msg":"ready"`,
		`"msg":"Clerk is not asked","reason":"Clerk refuses the secret key"`, `"endpoint":"probe"`, `"status":401`,
	} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log lacks %s:\n%s", part, log)
		}
	}
}
