package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestWarnings checks which settings are warned of.
func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("sk_test_inafile"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("redis-url: rediss://u:donotshowme@redis.example"), 0o644); err != nil {
		t.Fatal(err)
	}
	ca := callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	openKey := filepath.Join(dir, "open.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(openKey, text, 0o644); err != nil {
		t.Fatal(err)
	}
	trust := ca.File(dir, "ca.crt")
	withCertificate, withMesh := filepath.Join(dir, "callers.yaml"), filepath.Join(dir, "mesh.yaml")
	callers := "callers: [{name: a, identity: {certificates: [\"dns:a\"]}, allow: {methods: [GetUser]}}]\n"
	for path, text := range map[string]string{withCertificate: callers, withMesh: callers + "mesh: [{header: x-forwarded-client-cert, from: [unix]}]\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte("k1 "+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	const inClear = "--redis-url: Redis holds names and addresses of users in clear"
	for _, tt := range []struct {
		args []string
		env  map[string]string
		want []string // the beginnings of the warnings
	}{
		{args: []string{"--sim", "--tls-cert-file", cert, "--tls-key-file", openKey}, want: []string{"--tls-key-file: every user of this machine may use " + openKey}},
		{args: []string{"--sim", "--http-tls-cert-file", cert, "--http-tls-key-file", openKey}, want: []string{"--http-tls-key-file: every user of this machine may use " + openKey}},
		{args: []string{"--sim", "--callers-file", withCertificate}, want: []string{"--callers-file: no certificate is recognized"}},
		{args: []string{"--sim", "--callers-file", withCertificate, "--tls-cert-file", cert, "--tls-key-file", key}, want: []string{"--callers-file: no certificate is recognized"}},
		{args: []string{"--sim", "--callers-file", withCertificate, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}},
		{args: []string{"--sim", "--callers-file", withMesh}},
		{args: []string{"--sim", "--grpc-listen", "unix:/x", "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}, want: []string{"--grpc-listen unix:/x: every call will be refused"}},
		{args: []string{"--sim", "--http-tls-cert-file", "off", "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}, want: []string{"--http-listen 127.0.0.1:9091: every call, the page and /metrics will be refused"}},
		{args: []string{"--sim", "--http-listen", "unix:/x", "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}, want: []string{"--http-listen unix:/x: every call, the page and /metrics will be refused"}},
		{args: []string{"--sim", "--http-listen", "off", "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}, want: []string{"--metrics prometheus has no effect"}},
		{args: []string{"--sim", "--http-tls-cert-file", "off", "--callers-file", withCertificate, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust}},
		{args: []string{"--sim"}},
		{env: map[string]string{secretKeyEnv: secret}},
		{args: []string{"--sim", "--grpc-listen=:9090", "--http-listen=0.0.0.0:9091", "--allow-unauthenticated"}, want: []string{"--grpc-listen :9090: whoever", "--http-listen 0.0.0.0:9091: whoever"}},
		{args: []string{"--sim", "--grpc-listen=unix:/x", "--http-listen=[::1]:9091"}},
		{args: []string{"--sim", "--http-listen=off"}, want: []string{"--metrics prometheus has no effect: --http-listen is off; use --metrics otlp"}},
		{args: []string{"--sim", "--http-listen=off", "--metrics=otlp"}},
		{args: []string{"--sim", "--http-listen=off", "--metrics=otlp", "--http-idle-timeout=2m"}, want: []string{"--http-idle-timeout (flag) has no effect: --http-listen is off"}},
		{args: []string{"--sim", "--http-listen=off", "--metrics=otlp", "--http-idle-timeout=2m", "--webhook-listen=127.0.0.1:0"}},
		{args: []string{"--sim", "--http-listen=off", "--metrics=otlp", "--grpc-listen=:9090", "--allow-unauthenticated"}, want: []string{"--grpc-listen :9090: whoever"}},
		{args: []string{"--full-view=any"}, env: map[string]string{secretKeyEnv: secret}, want: []string{"--full-view any: every"}},
		{args: []string{"--full-view=loopback"}, env: map[string]string{secretKeyEnv: secret}, want: []string{"--full-view loopback: behind a proxy"}},
		{args: []string{"--clerk-api-url=http://clerk.example"}, env: map[string]string{secretKeyEnv: secret},
			want: []string{"--clerk-api-url: the secret key and all users go unencrypted to clerk.example", "--clerk-api-url: the secret key is sent to clerk.example"}},
		{args: []string{"--sim", "--redis-url=redis://u:donotshowme@redis.example"}, want: []string{"--redis-url: names and addresses of users are sent unencrypted to redis.example", "--redis-url: every user of this machine can read the password in the list of processes"}},
		{args: []string{"--sim", "--config", config}, want: []string{inClear, "--redis-url: every user of this machine can read the password in " + config}},
		{args: []string{"--sim"}, env: map[string]string{"CLERKGATE_REDIS_URL": "rediss://u:donotshowme@redis.example"}, want: []string{inClear}},
		{env: map[string]string{secretKeyEnv: secret, "CLERK_API_URL": "https://api.clerk.com", "CLERKGATE_CLERK_API_URL": "https://api.clerk.com"},
			want: []string{"CLERK_API_URL has no effect: CLERKGATE_CLERK_API_URL takes precedence"}},
		{args: []string{"--sim", "--redis-url=rediss://redis.example?skip_verify=true"}, want: []string{inClear, "--redis-url: skip_verify"}},
		{args: []string{"--sim", "--redis-url=rediss://redis.example"}, want: []string{inClear}},
		{args: []string{"--sim", "--redis-url=redis://127.0.0.1"}, want: []string{inClear}},
		{args: []string{"--sim", "--redis-url=rediss://redis.example", "--cache-encryption-key-file", keys}},
		{args: []string{"--clerk-secret-key-file", open}, env: map[string]string{secretKeyEnv: secret},
			want: []string{"--clerk-secret-key-file: every user of this machine", secretKeyEnv + " has no effect"}},
		{args: []string{"--first-window=full"}, env: map[string]string{secretKeyEnv: secret}, want: []string{"--first-window full: a restart"}},
		{args: []string{"--sim", "--first-window=full", "--clerk-api-url=https://x"},
			want: []string{"--clerk-api-url (flag) has no effect: --sim", "--first-window (flag) has no effect: --sim"}},
		{args: []string{"--sim-users=3"}, env: map[string]string{secretKeyEnv: secret}, want: []string{"--sim-users (flag) has no effect: --sim is off"}},
		{args: []string{"--sim"}, env: map[string]string{"CLERKGATE_WEBHOOK_SECRET_FILE": filepath.Join(dir, "none"), "CLERKGATE_TRACE_SAMPLE": "0.1"},
			want: []string{"--webhook-secret-file ($CLERKGATE_WEBHOOK_SECRET_FILE) has no effect", "--trace-sample ($CLERKGATE_TRACE_SAMPLE) has no effect"}},
		{args: []string{"--sim", "--cache-ttl=1h", "--stale-if-error=1m", "--queue-limit=5", "--caller-queue-limit=6"},
			want: []string{"--stale-if-error (flag) has no effect", "--caller-queue-limit (flag) has no effect"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			code, stdout, stderr := runCommand(t, append([]string{"config", "check", "-o", "json"}, tt.args...)...)
			if code != 0 || strings.Contains(stdout, "donotshowme") {
				t.Fatalf("%d: %s%s", code, stdout, stderr)
			}
			var got checkResult
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got.Warnings, tt.want, strings.HasPrefix) {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.want)
			}
			code, table, _ := runCommand(t, append([]string{"config", "check"}, tt.args...)...)
			if code != 0 || strings.Count(table, "warning: ") != len(tt.want) || len(tt.want) == 0 && !strings.HasSuffix(table, "\nno warnings\n") {
				t.Errorf("%d: %s", code, table)
			}
		})
	}
}
