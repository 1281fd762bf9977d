package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/server"
)

// TestTokensAndCertificates makes a token, puts it on file, and calls with it, with a
// certificate and with nothing.
func TestTokensAndCertificates(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	code, out, _ := runCommand(t, "token", "new", "-o", "json", "--not-after", "1h")
	var made struct{ Token, SHA256, NotAfter string }
	if err := json.Unmarshal([]byte(strings.Replace(out, "not_after", "NotAfter", 1)), &made); code != 0 || err != nil || !strings.HasPrefix(made.Token, caller.TokenPrefix) {
		t.Fatalf("%d, %v: %s", code, err, out)
	}
	callers, token := filepath.Join(dir, "callers.yaml"), filepath.Join(dir, "token")
	text := fmt.Sprintf("callers:\n"+
		"  - name: support\n    identity: {tokens: [{sha256: %s, not_after: %s}]}\n    allow: {methods: [CountUsers]}\n"+
		"  - name: billing\n    identity: {certificates: [dns:billing.example]}\n    allow: {methods: [BatchGetUsers], full_view: [private_metadata]}\n"+
		"  - %s\n",
		made.SHA256, made.NotAfter, leaktest.Viewer())
	for path, content := range map[string]string{callers: text, token: made.Token + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	clientCert, clientKey := ca.Issue("billing.example").Files(t, dir, "client")
	trust := ca.File(dir, "ca.crt")
	address, id, log := serveSim(t, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust, "--callers-file", callers, "--log-level", "debug")
	there := []string{"--address", "https://" + address, "--ca-file", trust}
	byToken, byCert := append(there[:4:4], "--token-file", token), append(there[:4:4], "--cert-file", clientCert, "--key-file", clientKey)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody", append([]string{"count"}, there...), 7, "UNAUTHENTICATED (CALLER_UNKNOWN)"},
		{"by token", append([]string{"count"}, byToken...), 0, "700"},
		{"by token, what it may not", append([]string{"get", id}, byToken...), 7, "PERMISSION_DENIED (CALLER_NOT_ALLOWED)"},
		{"by token, whoami", append([]string{"whoami"}, byToken...), 0, "support"},
		{"by certificate", append([]string{"get", id, "--view", "full"}, byCert...), 0, "private_metadata"},
		{"by certificate, what it may not", append([]string{"count"}, byCert...), 7, "PERMISSION_DENIED"},
		{"by certificate, whoami", append([]string{"whoami", "-o", "json"}, byCert...), 0, `"billing"`},
	} {
		code, out, errs := runCommand(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: exit %d: %s%s", tt.name, code, out, errs)
		}
	}
	t.Setenv(tokenEnv, made.Token)
	if code, out, errs := runCommand(t, append([]string{"count"}, there...)...); code != 0 {
		t.Errorf("a token in the environment: %s%s", out, errs)
	}
	if strings.Contains(log.String(), made.Token) || !strings.Contains(log.String(), "calls are refused: the caller is not known") {
		t.Errorf("the log shows the token, or nothing of refused calls:\n%s", log)
	}
}

// TestTokenForPeople prints the token alone to stdout, and its entry to stderr.
func TestTokenForPeople(t *testing.T) {
	code, out, errs := runCommand(t, "token", "new", "--not-after", "2160h")
	if token := strings.TrimSpace(out); code != 0 || !strings.HasPrefix(token, "cgt_") ||
		!strings.Contains(errs, "- sha256: "+caller.HashToken(token)+"\n  not_after: 20") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if code, _, _ := runCommand(t, "token", "new", "--not-after=-1h"); code != 2 {
		t.Errorf("a time before now: %d", code)
	}
}

// TestWhoMayCall checks which settings go together.
func TestWhoMayCall(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	secure := []string{"--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", cert}
	file := filepath.Join(dir, "callers.yaml")
	if err := os.WriteFile(file, []byte("callers: [{name: a, identity: {label: true}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("callers:\n  - {name: a, identity: {label: maybe}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string // empty: accepted
	}{
		{[]string{"--grpc-listen", ":9090"}, "--allow-unauthenticated"},
		{[]string{"--http-listen", ":9091"}, "--allow-unauthenticated"},
		{[]string{"--grpc-listen", ":9090", "--allow-unauthenticated"}, ""},
		{append([]string{"--grpc-listen", ":9090", "--http-listen", ":9091"}, secure...), ""},
		{[]string{"--grpc-listen", ":9090", "--callers-file", file}, ""},
		{[]string{"--callers-file", file, "--full-view", "none"}, "--full-view"},
		{[]string{"--callers-file", file, "--allow-unauthenticated"}, "--allow-unauthenticated"},
		{[]string{"--callers-file", broken}, "line 2: callers[0].identity.label: want true or false"},
		{[]string{"--pprof"}, ""},
		{[]string{"--pprof", "--http-listen", ":9091", "--allow-unauthenticated"}, "--pprof"},
		{[]string{"--pprof", "--http-listen", ":9091", "--callers-file", file}, ""},
		{[]string{"--http-listen", "off"}, ""},
		{[]string{"--http-listen", "off", "--grpc-listen", ":9090"}, "--grpc-listen: :9090 can be reached"},
		{append([]string{"--http-listen", "off", "--grpc-listen", ":9090"}, secure...), ""},
		{[]string{"--http-listen", "off", "--callers-file", file, "--pprof"}, "--pprof: not together with --http-listen off"},
	} {
		code, out, errs := runCommand(t, append([]string{"config", "check", "--sim"}, tt.args...)...)
		if (code == 0) != (tt.want == "") || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: exit %d: %s%s", tt.args, code, out, errs)
		}
	}
}

// TestUnauthenticatedIsSaid decides when GetQuota says that everybody is served.
func TestUnauthenticatedIsSaid(t *testing.T) {
	known := server.TLSFiles{ClientCA: "ca.crt"}
	for _, tt := range []struct {
		c    serveCmd
		l    listenerTLS
		want bool
	}{
		{serveCmd{GRPCListen: "127.0.0.1:9090", HTTPListen: "unix:/x"}, listenerTLS{}, false},
		{serveCmd{GRPCListen: ":9090", HTTPListen: "127.0.0.1:9091"}, listenerTLS{}, true},
		{serveCmd{GRPCListen: "127.0.0.1:9090", HTTPListen: ":9091"}, listenerTLS{}, true},
		{serveCmd{GRPCListen: "127.0.0.1:9090", HTTPListen: "off"}, listenerTLS{}, false},
		{serveCmd{GRPCListen: ":9090", HTTPListen: "off"}, listenerTLS{}, true},
		{serveCmd{GRPCListen: ":9090", HTTPListen: ":9091"}, listenerTLS{grpc: known, http: known}, false},
		{serveCmd{GRPCListen: ":9090", HTTPListen: ":9091"}, listenerTLS{grpc: known}, true},
		{serveCmd{GRPCListen: ":9090", HTTPListen: ":9091", callerFlags: callerFlags{CallersFile: "x"}}, listenerTLS{}, false},
	} {
		if got := tt.c.unauthenticated(tt.l); got != tt.want {
			t.Errorf("%+v, %+v: %v", tt.c, tt.l, got)
		}
	}
}
