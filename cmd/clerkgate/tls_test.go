package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestClientOverTLS has the client commands speak to a server with TLS, and to one
// with a Unix socket.
func TestClientOverTLS(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	clientCert, clientKey := ca.Issue("ops.example").Files(t, dir, "client")
	trust := ca.File(dir, "ca.crt")
	others := callertest.NewCA(t).File(dir, "others.crt")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("cgt_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _, _ := serveSim(t, "--tls-cert-file", cert, "--tls-key-file", key)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // part of what is printed
	}{
		{"--ca-file", []string{"--address", address, "--ca-file", trust}, 0, "700"},
		{"https://", []string{"--address", "https://" + address, "--ca-file", trust}, 0, "700"},
		{"a certificate", []string{"--address", address, "--ca-file", trust, "--cert-file", clientCert, "--key-file", clientKey}, 0, "700"},
		{"a token", []string{"--address", address, "--ca-file", trust, "--token-file", token}, 0, "700"},
		{"other authorities", []string{"--address", address, "--ca-file", others}, exitUnavailable, "UNAVAILABLE"},
		{"the system's authorities", []string{"--address", address, "--tls"}, exitUnavailable, "UNAVAILABLE"},
		{"no TLS", []string{"--address", address, "--timeout", "5s"}, exitUnavailable, ""},
		{"a certificate without its key", []string{"--address", address, "--cert-file", clientCert}, 2, "--key-file"},
		{"no such authority", []string{"--address", address, "--ca-file", dir + "/none"}, 2, "--ca-file"},
		{"http:// with TLS", []string{"--address", "http://" + address, "--tls"}, 2, "https://"},
		{"a path", []string{"--address", "https://" + address + "/x"}, 2, "--address"},
		{"another scheme", []string{"--address", "dns:///" + address}, 2, "--address"},
		{"TLS over a socket", []string{"--address", "unix:/x", "--tls"}, 2, "Unix socket"},
		{"a token without TLS", []string{"--address", "192.0.2.1:9090", "--token-file", token}, 2, "--tls"},
		{"no such token", []string{"--address", address, "--token-file", dir + "/none"}, 2, "--token-file"},
	} {
		code, out, errs := runCommand(t, append([]string{"count"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: exit %d, want %d\n%s%s", tt.name, code, tt.code, out, errs)
		}
		if strings.Contains(out+errs, "cgt_secret") {
			t.Errorf("%s: it shows the token", tt.name)
		}
	}
}

// TestHealthOfAnyCertificate probes a server by an address that its certificate does not name.
func TestHealthOfAnyCertificate(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("clerkgate.example").Files(t, dir, "server")
	trust := ca.File(dir, "ca.crt")
	address, _, _ := serveSim(t, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust, "--http-listen", "off")
	if code, out, errs := runCommand(t, "health", "--address", address, "--ca-file", trust); code != exitUnavailable {
		t.Errorf("with the authority alone: exit %d: %s%s", code, out, errs)
	}
	t.Setenv(tokenEnv, "no token") // it would be an error if it were read
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--skip-verify"}, 0, "SERVING"},
		{[]string{"--skip-verify", "--service", "alive"}, 0, "SERVING"},
		{[]string{"--skip-verify", "--ca-file", trust}, exitUsage, "--skip-verify: not together with --ca-file"},
		{[]string{"--skip-verify", "--token-file", filepath.Join(dir, "none")}, exitUsage, "--skip-verify: not together with --token-file"},
	} {
		code, out, errs := runCommand(t, append([]string{"health", "--address", address}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%v: exit %d, want %d\n%s%s", tt.args, code, tt.code, out, errs)
		}
	}
}

// TestClientOverSocket has the client commands speak to a Unix socket.
func TestClientOverSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "cg") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := "unix:" + filepath.Join(dir, "grpc.sock")
	if address, _, _ := serveSim(t, "--grpc-listen", socket); address != socket {
		t.Errorf("grpcurl is to call %s", address)
	}
	if code, out, errs := runCommand(t, "count", "--address", socket); code != 0 || out != "700\n" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestTLSFlags checks which flags go together.
func TestTLSFlags(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	other, otherKey := ca.Issue("127.0.0.1").Files(t, dir, "other")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert-file", cert}, "--tls-key-file"},
		{[]string{"--tls-key-file", key}, "--tls-cert-file"},
		{[]string{"--tls-cert-file", cert, "--tls-key-file", otherKey}, "--tls-cert-file"},
		{[]string{"--client-ca-file", cert}, "--client-ca-file"},
		{[]string{"--tls-cert-file", "off", "--tls-key-file", key}, "off"},
		{[]string{"--http-tls-cert-file", cert}, "--http-tls-key-file"},
		{[]string{"--webhook-tls-cert-file", other, "--webhook-tls-key-file", key}, "--webhook-tls-cert-file"},
		{[]string{"--tls-cert-file", cert, "--tls-key-file", key, "--webhook-listen", "127.0.0.1:0"}, "--webhook-tls-cert-file off"},
	} {
		code, _, errs := runCommand(t, append([]string{"serve", "--sim"}, tt.args...)...)
		if code != 2 || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs)
		}
	}
	_, _, log := serveSim(t, "--tls-cert-file", cert, "--tls-key-file", key, "--http-tls-cert-file", "off",
		"--webhook-tls-cert-file", "off", "--webhook-listen", "127.0.0.1:0")
	if !strings.Contains(log.String(), "serving") {
		t.Errorf("not served:\n%s", log)
	}
}
