package client

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestAddress checks the forms of addresses.
func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		address string
		tls     bool
		target  string // empty: an error
		secure  bool
	}{
		{"", false, "127.0.0.1:9090", false},
		{"clerkgate", false, "clerkgate:9090", false},
		{"127.0.0.1", false, "127.0.0.1:9090", false},
		{"clerkgate:1", true, "clerkgate:1", true},
		{"::1", false, "[::1]:9090", false},
		{"[::1]", false, "[::1]:9090", false},
		{"[::1]:7", false, "[::1]:7", false},
		{"https://clerkgate", false, "clerkgate:443", true},
		{"https://clerkgate:9090/", true, "clerkgate:9090", true},
		{"https://[::1]", false, "[::1]:443", true},
		{"http://clerkgate", false, "clerkgate:80", false},
		{"unix:/run/x.sock", false, "unix:/run/x.sock", false},
		{"unix:///run/x.sock", false, "unix:///run/x.sock", false},
		{"unix:/run/x.sock", true, "", false},
		{"http://clerkgate", true, "", false},
		{"https://clerkgate/path", false, "", false},
		{"https://me@clerkgate", false, "", false},
		{"https://", false, "", false},
		{"dns:///clerkgate", false, "", false},
	} {
		target, secure, err := parseAddress(tt.address, tt.tls)
		if target != tt.target || secure != tt.secure || (err != nil) != (tt.target == "") {
			t.Errorf("%q: %q, %v, %v; want %q, %v", tt.address, target, secure, err, tt.target, tt.secure)
		}
	}
}

// TestNewRefuses checks which configurations are errors.
func TestNewRefuses(t *testing.T) {
	token := StaticToken("cgt_x")
	for _, tt := range []struct {
		cfg  Config
		want string // part of the error; empty: none
	}{
		{Config{Address: "192.0.2.1:9090", Token: token}, "over TLS"},
		{Config{Address: "http://192.0.2.1", Token: token}, "over TLS"},
		{Config{Address: "localhost.example", Token: token}, "over TLS"},
		{Config{Address: "192.0.2.1:9090", Token: token, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, ""},
		{Config{Address: "https://192.0.2.1", Token: token}, ""},
		{Config{Address: "127.0.0.9:1", Token: token}, ""},
		{Config{Address: "localhost", Token: token}, ""},
		{Config{Address: "unix:/x", Token: token}, ""},
		{Config{Address: "ftp://x"}, "want host:port"},
		{Config{Address: "fe80::1%eth0"}, ""},
		{Config{Timeout: -1}, "Config.Timeout"},
		{Config{Caller: "team/billing:1.0_b-2"}, ""},
		{Config{Caller: strings.Repeat("x", 65)}, "Config.Caller"},
		{Config{Caller: "überweisung"}, "Config.Caller"},
		{Config{Caller: "two words"}, "Config.Caller"},
		{Config{Caller: "line\n"}, "Config.Caller"},
		{Config{Priority: "urgent"}, "Config.Priority"},
	} {
		c, err := New(tt.cfg)
		if err == nil {
			_ = c.Close()
		}
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

// TestLoadTLS checks that a certificate is read again, and which files are errors.
func TestLoadTLS(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("first").Files(t, dir, "client")
	trust := ca.File(dir, "ca.crt")
	config, err := LoadTLS(trust, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		c, err := config.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(c.Leaf.DNSNames, " ")
	}
	if got := shown(); got != "first" || config.RootCAs == nil {
		t.Errorf("shown %q", got)
	}
	ca.Issue("second").Files(t, dir, "client")
	if got := shown(); got != "second" {
		t.Errorf("shown %q after a change", got)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][3]string{{dir + "/none"}, {empty}, {"", cert, ""}, {"", "", key}, {"", empty, key}} {
		if _, err := LoadTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%q: %v", files, err)
		}
	}
}

// TestTokens checks that errors of tokens do not show them.
func TestTokens(t *testing.T) {
	for token, want := range map[string]string{" cgt_x\n": "Bearer cgt_x", "": "", "  ": "", "cgt x": "", "cgt_ü": ""} {
		md, err := bearer(StaticToken(token)).GetRequestMetadata(context.Background())
		if md["authorization"] != want || (err != nil) != (want == "") || err != nil && strings.Contains(err.Error(), "cgt") {
			t.Errorf("%q: %q, %v", token, md, err)
		}
	}
	if _, err := bearer(TokenFile("/none")).GetRequestMetadata(context.Background()); err == nil {
		t.Error("no error without a file")
	}
}
