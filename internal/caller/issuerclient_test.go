package caller

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestIssuerRedirects: neither discovery nor a request for the keys follows a redirect, and
// the server's own token reaches nobody else.
func TestIssuerRedirects(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("own"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, redirects := range []string{"/.well-known/openid-configuration", "/keys"} {
		var issuer *httptest.Server
		issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == redirects {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, issuer.URL, issuer.URL+"/keys")
		}))
		set := parse(t, fmt.Sprintf(strings.Replace(oneIssuer, "audience:", "token_file: %q, audience:", 1), issuer.URL, file))
		signer := callertest.NewIssuer(t)
		token := signer.Token("clerkgate", "x", map[string]any{"iss": issuer.URL})
		if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + token}); got != "issuer_unreachable" {
			t.Errorf("%s redirects: %s", redirects, got)
		}
		issuer.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests were redirected", n)
	}
}

// TestIssuerOverPlaintext: keys are fetched by TLS or on this machine, whatever the issuer
// says where they are.
func TestIssuerOverPlaintext(t *testing.T) {
	transport := &issuerTransport{state: &issuerState{}}
	for _, url := range []string{"http://192.0.2.1/keys", "http://issuer.example/keys", "file:///etc/passwd", "ftp://127.0.0.1/keys"} {
		if _, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, url, nil)); !errors.Is(err, errPlaintext) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestIssuerAnswersAreBounded reads answers that never end.
func TestIssuerAnswersAreBounded(t *testing.T) {
	for _, endless := range []string{"/.well-known/openid-configuration", "/keys"} {
		var sent atomic.Int64
		var issuer *httptest.Server
		issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path != endless {
				fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, issuer.URL, issuer.URL+"/keys")
				return
			}
			chunk := []byte(strings.Repeat(" ", 64<<10))
			for sent.Load() < 64*maxIssuerAnswer {
				n, err := w.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}))
		set := parse(t, fmt.Sprintf(oneIssuer, issuer.URL))
		token := callertest.NewIssuer(t).Token("clerkgate", "x", map[string]any{"iss": issuer.URL})
		if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + token}); got != "issuer_unreachable" {
			t.Errorf("%s never ends: %s", endless, got)
		}
		issuer.Close() // waits for the handler
		if n := sent.Load(); n >= 64*maxIssuerAnswer {
			t.Errorf("of %s %d bytes were read", endless, n)
		}
	}
}

// TestCAFileIsReadAgain: a new ca_file is used for the next request. A broken one changes
// nothing.
func TestCAFileIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	first, second := callertest.NewCA(t), callertest.NewCA(t)
	path := first.File(dir, "ca.crt")
	var cert atomic.Pointer[tls.Certificate]
	show := func(ca *callertest.CA) {
		pair := ca.Issue("127.0.0.1").TLS(t)
		cert.Store(&pair)
	}
	show(first)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert.Load()}}, nil
	}}
	server.StartTLS()
	defer server.Close()
	made, err := newIssuer(issuerConfig{url: server.URL, audience: "x", caFile: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(what string) {
		t.Helper()
		server.CloseClientConnections()
		made.state.lastFetch = time.Time{} // as time would have it
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/keys", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := made.client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		_ = resp.Body.Close()
	}
	ask("the first authority")
	second.File(dir, "ca.crt")
	show(second)
	ask("the second authority")
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("the file is broken")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ask("the file is gone")
}
