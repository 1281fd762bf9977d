package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/clerkgate/clerkgate/client"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestGoClient has package client call a server with TLS and a callers file, as callers with a
// token and with a certificate.
func TestGoClient(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	token := caller.NewToken()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	callers := write("callers.yaml", fmt.Sprintf("callers:\n"+
		"  - name: support\n    identity: {tokens: [{sha256: %s}]}\n    allow: {methods: [GetUser, StreamUsers], permits: true}\n"+
		"  - name: billing\n    identity: {certificates: [dns:billing.example]}\n    allow: {methods: [BatchGetUsers], full_view: [private_metadata]}\n"+
		"  - %s\n",
		caller.HashToken(token), leaktest.Viewer()))
	tokenFile := write("token", token+"\n")
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	clientCert, clientKey := ca.Issue("billing.example").Files(t, dir, "client")
	trust := ca.File(dir, "ca.crt")
	address, id, _ := serveSim(t, "--tls-cert-file", cert, "--tls-key-file", key, "--client-ca-file", trust, "--callers-file", callers)

	connect := func(certFile, keyFile string, token func(context.Context) (string, error)) *client.Client {
		t.Helper()
		config, err := client.LoadTLS(trust, certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Config{Address: "https://" + address, TLS: config, Token: token, DialOptions: leaktest.DialOptions()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ctx := t.Context()
	denied := func(err error, code codes.Code, reason string) {
		t.Helper()
		var e *client.Error
		if !errors.As(err, &e) || e.Code != code || e.Reason != reason {
			t.Errorf("%v, want %v (%s)", err, code, reason)
		}
	}

	support := connect("", "", client.TokenFile(tokenFile))
	if who, err := support.WhoAmI(ctx); err != nil || who.GetName() != "support" {
		t.Errorf("%v, %v", who, err)
	}
	if u, err := support.GetUser(ctx, id); err != nil || u.GetId() != id {
		t.Errorf("%v, %v", u, err)
	}
	n := 0
	for _, err := range support.StreamUsers(ctx, client.StreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 700 {
		t.Errorf("%d users streamed", n)
	}
	if err := support.WithPermits(ctx, 1, 0, func(context.Context, *client.Lease) error { return nil }); err != nil {
		t.Error(err)
	}
	_, err := support.CountUsers(ctx, nil)
	denied(err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")

	billing := connect(clientCert, clientKey, nil)
	results, err := billing.BatchGetUsers(ctx, []string{id}, client.Full())
	if err != nil || results[0].User == nil || results[0].User.PrivateMetadataJson == nil {
		t.Errorf("%v, %v", results, err)
	}
	_, err = billing.GetUser(ctx, id)
	denied(err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")

	// The token's file is replaced.
	write("token", caller.NewToken())
	_, err = support.GetUser(ctx, id)
	denied(err, codes.Unauthenticated, "CALLER_UNKNOWN")
	write("token", token)
	if _, err := support.GetUser(ctx, id); err != nil {
		t.Error(err)
	}
	_, err = connect("", "", nil).GetUser(ctx, id)
	denied(err, codes.Unauthenticated, "CALLER_UNKNOWN")
}
