package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/telemetry"
)

// secured is a server with TLS on all listeners.
type secured struct {
	*Server
	at  Addresses
	log *logBuffer
}

// startSecured runs a server until the test ends.
func startSecured(t *testing.T, cfg Config) *secured {
	t.Helper()
	s := &secured{log: &logBuffer{}}
	addrs := make(chan Addresses, 1)
	cfg.GRPCListen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = leaktest.Logger(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.OnListen = func(a Addresses) { addrs <- a }
	if cfg.Users == nil {
		up := &fakeUpstream{}
		cfg.Users, cfg.Quota = up, up
	}
	s.Server = New(cfg)
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-finished; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case s.at = <-addrs:
	case err := <-finished:
		finished <- nil
		t.Fatalf("Run: %v", err)
	}
	t.Cleanup(func() { leaktest.Pages("https://" + s.at.HTTP.String()) })
	return s
}

// dial connects to the gRPC listener with the given TLS configuration.
func (s *secured) dial(t *testing.T, config *tls.Config, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := leaktest.Dial(s.at.GRPC.String(), append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serialAt returns the serial number of a listener's certificate.
func serialAt(t *testing.T, address string, config *tls.Config) string {
	t.Helper()
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestTLSOnEveryListener calls all listeners over TLS, with right and wrong clients.
func TestTLSOnEveryListener(t *testing.T) {
	dir, ca, clients := t.TempDir(), callertest.NewCA(t), callertest.NewCA(t)
	files := TLSFiles{ClientCA: clients.File(dir, "clients.crt")}
	files.Cert, files.Key = ca.Issue("127.0.0.1").Files(t, dir, "server")
	hooks := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "taken") })
	s := startSecured(t, Config{
		TLS: files, HTTPTLS: files, WebhookTLS: TLSFiles{Cert: files.Cert, Key: files.Key},
		WebhookListen: "127.0.0.1:0", Webhooks: hooks,
	})

	trust := &tls.Config{RootCAs: ca.Pool()}
	known := &tls.Config{RootCAs: ca.Pool(), GetClientCertificate: showing(clients.Issue("billing").TLS(t))}
	if _, err := clerkgatev1.NewUserServiceClient(s.dial(t, known)).CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
		t.Errorf("gRPC over TLS: %v", err)
	}
	for name, config := range map[string]*tls.Config{
		"a client that trusts others":         {RootCAs: callertest.NewCA(t).Pool()},
		"TLS 1.1":                             {RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS11},
		"a certificate of another authority":  {RootCAs: ca.Pool(), GetClientCertificate: showing(ca.Issue("billing").TLS(t))},
		"a client certificate that has ended": {RootCAs: ca.Pool(), GetClientCertificate: showing(ca.IssueUntil(time.Now().Add(-time.Minute), "x").TLS(t))},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := grpc_health_v1.NewHealthClient(s.dial(t, config)).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}

	client := &http.Client{Transport: leaktest.Transport(&http.Transport{TLSClientConfig: trust})}
	defer client.CloseIdleConnections()
	for url, want := range map[string]string{
		"https://" + s.at.HTTP.String() + "/healthz":  "alive\n",
		"https://" + s.at.Webhooks.String() + "/hook": "taken",
	} {
		if got := body(t, client, url); got != want {
			t.Errorf("%s: %q", url, got)
		}
	}
	if got := body(t, client, "http://"+s.at.HTTP.String()+"/healthz"); !strings.Contains(got, "HTTPS") {
		t.Errorf("HTTP without TLS: %q", got)
	}
}

// showing returns a certificate whatever authorities the server names.
func showing(c tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
}

func body(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// TestTLSIsReadAgain replaces the certificate with a new one, an invalid one, and an
// expired one.
func TestTLSIsReadAgain(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	var files TLSFiles
	first := ca.Issue("127.0.0.1")
	files.Cert, files.Key = first.Files(t, dir, "server")
	s := startSecured(t, Config{TLS: files, HTTPTLS: files})
	trust := &tls.Config{RootCAs: ca.Pool()}
	listeners := map[string]string{"gRPC": s.at.GRPC.String(), "HTTP": s.at.HTTP.String()}
	shows := func(when string, want callertest.Cert) {
		t.Helper()
		for name, address := range listeners {
			if got := serialAt(t, address, trust); got != want.X509(t).SerialNumber.String() {
				t.Errorf("%s: %s shows another certificate", when, name)
			}
		}
	}
	shows("at the start", first)
	open := clerkgatev1.NewUserServiceClient(s.dial(t, trust))
	call := func(when string) {
		t.Helper()
		if _, err := open.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	call("at the start")
	reload := func(well bool) {
		t.Helper()
		if err := s.Reload(); (err == nil) != well {
			t.Errorf("Reload: %v", err)
		}
	}
	second := ca.Issue("127.0.0.1")
	second.Files(t, dir, "server")
	reload(true)
	shows("after a change", second)
	call("an open connection, after a change")
	for name, broken := range map[string]callertest.Cert{
		"rubbish":           {Cert: []byte("rubbish"), Key: second.Key},
		"the key of others": {Cert: ca.Issue("127.0.0.1").Cert, Key: second.Key},
		"expired":           ca.IssueUntil(time.Now().Add(-time.Minute), "127.0.0.1"),
	} {
		broken.Files(t, dir, "server")
		reload(false)
		shows(name, second)
	}
	if n := strings.Count(s.log.String(), "the TLS files can't be used"); n != 6 {
		t.Errorf("%d lines about broken files, want one for each listener and each of the three:\n%s", n, s.log)
	}
	if strings.Contains(s.log.String(), "PRIVATE") {
		t.Error("the log shows a key")
	}
	third := ca.Issue("127.0.0.1")
	third.Files(t, dir, "server")
	reload(true)
	shows("a good one again", third)
}

// TestFiles checks the state of files: of each listener that there is, the certificates that expire
// first.
func TestFiles(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	end := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	intermediate, leaf := ca.IssueUntil(end, "first to expire"), ca.Issue("127.0.0.1")
	files := TLSFiles{ClientCA: ca.File(dir, "clients.crt")}
	files.Cert, files.Key = callertest.Cert{Cert: append(leaf.Cert, intermediate.Cert...), Key: leaf.Key}.Files(t, dir, "server")
	s := startSecured(t, Config{TLS: files, HTTPTLS: TLSFiles{Cert: files.Cert, Key: files.Key}, WebhookTLS: files})
	own := telemetry.Certificate{Kind: telemetry.ServerCertificate, NotBefore: end.Add(-2 * time.Hour).UTC(), NotAfter: end.UTC()}
	block, _ := pem.Decode(ca.PEM)
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	want := telemetry.Files{TLS: []telemetry.TLSFiles{
		{Listener: "grpc", Certificates: []telemetry.Certificate{
			own, {Kind: telemetry.ClientCACertificate, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter},
		}},
		{Listener: "http", Certificates: []telemetry.Certificate{own}}, // and there is no webhook listener
	}}
	if diff := cmp.Diff(want, s.Files()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	leaf = ca.Issue("127.0.0.1")
	callertest.Cert{Cert: leaf.Cert, Key: intermediate.Key}.Files(t, dir, "server")
	if s.Reload() == nil {
		t.Fatal("the key of another certificate is taken")
	}
	for _, files := range s.Files().TLS {
		if files.Err == nil || !files.Certificates[0].NotAfter.Equal(end) {
			t.Errorf("unusable files: %+v", files)
		}
	}
	leaf.Files(t, dir, "server")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, files := range s.Files().TLS {
		if files.Err != nil || !files.Certificates[0].NotAfter.After(end) {
			t.Errorf("usable files again: %+v", files)
		}
	}
}

// TestTLSFilesThatCantBeUsed: with unusable files the server does not start, instead of
// running without TLS.
func TestTLSFilesThatCantBeUsed(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	empty := callertest.Cert{Cert: []byte("none"), Key: []byte("none")}
	noCert, _ := empty.Files(t, dir, "empty")
	up := &fakeUpstream{}
	for name, files := range map[string]TLSFiles{
		"no key":            {Cert: cert},
		"only clients":      {ClientCA: cert},
		"no such file":      {Cert: cert, Key: dir + "/none"},
		"no certificate":    {Cert: noCert, Key: key},
		"no authority's":    {Cert: cert, Key: key, ClientCA: noCert},
		"two in each place": {Cert: key, Key: cert},
	} {
		if files.Check() == nil {
			t.Errorf("%s: Check finds no fault", name)
		}
		for _, cfg := range []Config{{TLS: files}, {HTTPTLS: files}, {WebhookTLS: files, WebhookListen: "127.0.0.1:0"}} {
			cfg.Users, cfg.Quota, cfg.GRPCListen, cfg.HTTPListen = up, up, "127.0.0.1:0", "127.0.0.1:0"
			cfg.OnListen = func(Addresses) { t.Errorf("%s: the server listens", name) }
			if err := New(cfg).Run(t.Context()); err == nil {
				t.Errorf("%s: Run goes on", name)
			}
		}
	}
}
