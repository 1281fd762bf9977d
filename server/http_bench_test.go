package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// BenchmarkGetUser compares the ways to call, from the client's request to its answer.
func BenchmarkGetUser(b *testing.B) {
	up := &fakeUpstream{users: []*clerkgatev1.User{privateUser()}}
	r := start(b, Config{Users: up, Quota: up})
	forget := func() { up.change(func() { up.calls = up.calls[:0] }) }
	req := &clerkgatev1.GetUserRequest{UserId: "user_a"}
	b.Run("gRPC", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.users.GetUser(b.Context(), req); err != nil {
				b.Fatal(err)
			}
			forget()
		}
	})
	for _, name := range []string{"Connect", "Connect over h2c", "Connect, JSON", "gRPC-Web", "gRPC over h2c"} {
		p := protocols[name]
		b.Run(name, func(b *testing.B) {
			c := connect.NewClient[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](httpClient(b, p.h2c, nil), r.httpURL+getUserPath, p.options...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.CallUnary(b.Context(), connect.NewRequest(req)); err != nil {
					b.Fatal(err)
				}
				forget()
			}
		})
	}
}

// BenchmarkHTTPCaller compares calls by HTTP whose callers show nothing, a token and a
// JSON Web Token, without the network.
func BenchmarkHTTPCaller(b *testing.B) {
	up := &fakeUpstream{users: []*clerkgatev1.User{privateUser()}}
	issuer, token := callertest.NewIssuer(b), caller.NewToken()
	path := filepath.Join(b.TempDir(), "callers.yaml")
	text := fmt.Sprintf(`
issuers: [{name: test, issuer: %q, audience: clerkgate}]
callers: [{name: billing, identity: {tokens: [{sha256: %s}], jwt: [{issuer: test, claims: {sub: billing}}]}, allow: {methods: [GetUser]}}]
`, issuer.URL, caller.HashToken(token))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, shown := range map[string]string{"nothing": "", "a token": token, "a JSON Web Token": issuer.Token("clerkgate", "billing", nil)} {
		cfg := Config{Users: up, Quota: up, Logger: slog.New(slog.DiscardHandler)}
		if shown != "" {
			cfg.CallersFile = path
		}
		h := New(cfg).probes()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, getUserPath, strings.NewReader(`{"userId": "user_a"}`))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set(authorizationKey, "Bearer "+shown)
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
				up.change(func() { up.calls = up.calls[:0] })
			}
		})
	}
}
