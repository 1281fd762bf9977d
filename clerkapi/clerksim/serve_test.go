package clerksim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			s := newSim(t, Config{Users: 3})
			url, client := serve(t, s, p.tls)
			resp, body, err := fetch(t.Context(), client, url+"/v1/users")
			if err != nil {
				t.Fatal(err)
			}
			if resp.Proto != p.proto || len(decode[[]User](t, body)) != 3 {
				t.Errorf("got %s over %s", body, resp.Proto)
			}
		})
	}
}

// TestServeStops: an answer in flight is completed, and one without an end is aborted.
func TestServeStops(t *testing.T) {
	s := newSim(t, Config{Users: 1, Latency: 50 * time.Millisecond, KeepArrivals: 2})
	addFault(t, s, Fault{Kind: FaultHang, Endpoint: List})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, ln, nil) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	type outcome struct {
		resp *http.Response
		err  error
	}
	ends := map[string]chan outcome{"/v1/users/count": make(chan outcome, 1), "/v1/users": make(chan outcome, 1)}
	for target, end := range ends {
		go func() {
			resp, _, err := fetch(context.WithoutCancel(ctx), client, "http://"+ln.Addr().String()+target)
			end <- outcome{resp, err}
		}()
	}
	for len(s.Arrivals()) < 2 {
		select {
		case err := <-stopped:
			t.Fatalf("Serve ended early: %v", err)
		default:
		}
	}
	stop()
	if o := <-ends["/v1/users/count"]; o.err != nil || o.resp.StatusCode != http.StatusOK {
		t.Errorf("the answer under way: %v", o.err)
	}
	if o := <-ends["/v1/users"]; o.err == nil {
		t.Errorf("the answer that never ends: %v", o.resp)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newSim(t, Config{Users: 1}).Serve(t.Context(), ln, nil); err == nil {
		t.Error("Serve on a closed listener ended well")
	}
}

func TestSelfSigned(t *testing.T) {
	config, text, err := SelfSigned("clerk.example", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		t.Fatalf("not one certificate: %s", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	for host, ok := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "clerk.example": true, "192.0.2.1": true, "api.example": false} {
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); (err == nil) != ok {
			t.Errorf("for %s: %v, want good %v", host, err, ok)
		}
	}
	if config.MinVersion < tls.VersionTLS12 || len(config.Certificates) != 1 {
		t.Errorf("got %+v", config)
	}
}
