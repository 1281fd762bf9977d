package server

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestHTTPGuard calls every method as callers that may and may not.
func TestHTTPGuard(t *testing.T) {
	g := startGuarded(t, Config{})
	url := "https://" + g.at.HTTP.String()
	trust := &tls.Config{RootCAs: g.ca.Pool()}
	withCert := &tls.Config{RootCAs: g.ca.Pool(), GetClientCertificate: showing(g.ca.Issue("spiffe://example.org/billing").TLS(t))}
	for _, h2 := range []bool{false, true} {
		plain, cert := httpClient(t, h2, trust), httpClient(t, h2, withCert)
		for _, tt := range []struct {
			name, method, token string
			client              *http.Client
			status              int
			reason              string
		}{
			{"nobody", "GetUser", "", plain, 401, "CALLER_UNKNOWN"},
			{"bad token", "GetUser", "cgt_x", plain, 401, "CALLER_UNKNOWN"},
			{"certificate", "GetUser", "", cert, 200, ""},
			{"certificate, not allowed", "CountUsers", "", cert, 403, "CALLER_NOT_ALLOWED"},
			{"token", "GetUser", g.token, plain, 200, ""},
			{"token, not allowed", "BatchGetUsers", g.token, plain, 403, "CALLER_NOT_ALLOWED"},
			{"JSON Web Token", "CountUsers", g.issuer.Token("clerkgate", "sync", nil), plain, 200, ""},
		} {
			header := []string{"Content-Type", "application/json"}
			if tt.token != "" {
				header = append(header, "Authorization", "Bearer "+tt.token)
			}
			body := `{}`
			if tt.method == "GetUser" {
				body = `{"userId": "user_a"}`
			}
			resp, answer := send(t, tt.client, http.MethodPost, url+"/clerkgate.v1.UserService/"+tt.method, strings.NewReader(body), header...)
			if resp.StatusCode != tt.status || resp.Header.Get("Clerkgate-Reason") != tt.reason {
				t.Errorf("%s: %d %v: %s", tt.name, resp.StatusCode, resp.Header, answer)
			}
			if h2 != (resp.ProtoMajor == 2) {
				t.Errorf("%s: %s", tt.name, resp.Proto)
			}
		}
		resp, answer := send(t, plain, http.MethodPost, url+"/grpc.health.v1.Health/Check", strings.NewReader("{}"), "Content-Type", "application/json")
		if resp.StatusCode != 200 || !strings.Contains(answer, "SERVING") {
			t.Errorf("health: %d %s", resp.StatusCode, answer)
		}
	}
	if got := g.Refusals()["not_allowed"]; got != 4 {
		t.Errorf("%d refused as not allowed, want 4", got)
	}
}

// TestHTTPFullViewParts wants, by HTTP, the parts of a user that the caller may see.
func TestHTTPFullViewParts(t *testing.T) {
	g := startGuarded(t, Config{})
	c := httpClient(t, false, &tls.Config{RootCAs: g.ca.Pool(), GetClientCertificate: showing(g.ca.Issue("spiffe://example.org/billing").TLS(t))})
	req := &clerkgatev1.GetUserRequest{UserId: "user_a", View: clerkgatev1.UserView_USER_VIEW_FULL}
	want, err := clerkgatev1.NewUserServiceClient(g.conns["billing"]).GetUser(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, c, "https://"+g.at.HTTP.String(), getUserPath, req, nil, connect.WithProtoJSON())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.User, got.Msg.User, protocmp.Transform()); diff != "" || got.Msg.User.PrivateMetadataJson == nil || got.Msg.User.ExtraJson != nil {
		t.Errorf("(-gRPC +HTTP):\n%s", diff)
	}
}

// TestGuardReadsNoBody refuses an unknown caller before its body comes.
func TestGuardReadsNoBody(t *testing.T) {
	g := startGuarded(t, Config{})
	conn, err := tls.Dial("tcp", g.at.HTTP.String(), &tls.Config{RootCAs: g.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "POST "+getUserPath+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
	b := make([]byte, 12)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "HTTP/1.1 401" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestHTTPPeer checks by what the callers of requests, such as viewers of the page, are
// told apart.
func TestHTTPPeer(t *testing.T) {
	for _, tt := range []struct {
		peer net.Addr
		want identity
	}{
		{&net.TCPAddr{IP: net.ParseIP("10.1.2.3"), Port: 99}, identity{address: netip.MustParsePrefix("10.1.2.3/32"), name: "a"}},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 99}, identity{address: netip.MustParsePrefix("2001:db8::/64"), name: "a"}},
		{&net.UnixAddr{Net: "unix", Name: "@"}, identity{name: "a"}},
		{nil, identity{name: "a"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(callerKey, "a")
		ctx := context.WithValue(t.Context(), connectionKey{}, connection{peer: tt.peer})
		if got := identify(incomingContext(ctx, r.WithContext(ctx))); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.peer, got, tt.want)
		}
	}
}

// TestHTTPCredentialsAsGRPC shows the same credentials by gRPC and by HTTP, on a port and
// through a Unix socket, and wants the same caller or the same refusal.
func TestHTTPCredentialsAsGRPC(t *testing.T) {
	token, other := caller.NewToken(), caller.NewToken()
	dir := socketDir(t)
	file := filepath.Join(dir, "callers.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
mesh:
  - {header: x-forwarded-client-cert, from: [127.0.0.1]}
  - {header: l5d-client-id, from: [unix]}
callers:
  - {name: billing, identity: {certificates: ["spiffe://example.org/billing"], tokens: [{sha256: %s}]}}
  - {name: jobs, identity: {certificates: ["dns:jobs.example"], tokens: [{sha256: %s}]}}
  - {name: anybody, identity: {label: true}}
`, caller.HashToken(token), caller.HashToken(other)), 0o600); err != nil {
		t.Fatal(err)
	}
	const xfcc, refused = "URI=spiffe://example.org/billing", "CALLER_UNKNOWN"
	bearer := "Bearer " + token
	for _, unix := range []bool{false, true} {
		cfg := Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}, CallersFile: file}
		if unix {
			cfg.GRPCListen, cfg.HTTPListen = "unix:"+filepath.Join(dir, "grpc"), "unix:"+filepath.Join(dir, "http")
		}
		r := start(t, cfg)
		ifTCP := func(name string) string {
			if unix {
				return refused
			}
			return name
		}
		ifUnix := func(name string) string {
			if !unix {
				return refused
			}
			return name
		}
		for _, tt := range []struct {
			want  string
			shown []string
		}{
			{refused, nil},
			{"billing", []string{"authorization", bearer}},
			{"billing", []string{"Authorization", "bearer  " + token}},
			{"billing", []string{"authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token))}},
			{refused, []string{"authorization", bearer, "authorization", bearer}},
			{refused, []string{"authorization", bearer, "Authorization", "Bearer " + other}},
			{refused, []string{"authorization", bearer + ", " + bearer}},
			{refused, []string{"authorization", bearer + "x"}},
			{refused, []string{"authorization-bin", bearer}},
			{refused, []string{"proxy-authorization", bearer}},
			{refused, []string{"connect-authorization", bearer}},
			{refused, []string{"content-authorization", bearer}},
			{refused, []string{"cookie", "authorization=" + bearer}},
			{ifTCP("billing"), []string{xfccKey, xfcc}},
			{ifTCP("jobs"), []string{xfccKey, xfcc, xfccKey, "DNS=jobs.example"}},
			{ifTCP("jobs"), []string{xfccKey, xfcc + ",DNS=jobs.example"}},
			{refused, []string{xfccKey, xfcc + ";DNS=jobs.example"}},
			{refused, []string{xfccKey, "Hash=aa"}},
			{ifUnix("jobs"), []string{l5dKey, "jobs.example"}},
			{refused, []string{l5dKey, "jobs.example", l5dKey, "jobs.example"}},
			{"anybody", []string{callerKey, "anybody"}},
			{refused, []string{callerKey, "anybody", callerKey, "anybody"}},
			{refused, []string{callerKey, "billing"}},
			{"billing", []string{callerKey, "anybody", "authorization", bearer}},
			{refused, []string{callerKey, "anybody", "authorization", "Bearer cgt_x"}},
		} {
			if unix && slices.Contains(tt.shown, xfccKey) && len(tt.shown) == 2 {
				tt.shown = append(tt.shown, "x-forwarded-for", "127.0.0.1", "forwarded", "for=127.0.0.1")
			}
			name := func(answer *clerkgatev1.WhoAmIResponse, err error) string {
				if err != nil {
					return strings.TrimPrefix(reasonOf(err), "Unauthenticated ")
				}
				return answer.GetName()
			}
			got := name(clerkgatev1.NewCallerServiceClient(r.conn).WhoAmI(metadata.AppendToOutgoingContext(t.Context(), tt.shown...), &clerkgatev1.WhoAmIRequest{}))
			if got != tt.want {
				t.Errorf("Unix socket %t, gRPC, %q: %s, want %s", unix, tt.shown, got, tt.want)
			}
			for protocol, p := range protocols {
				c := r.httpClient(t, p.h2c)
				req := connect.NewRequest(&clerkgatev1.WhoAmIRequest{})
				for i := 0; i < len(tt.shown); i += 2 {
					req.Header().Add(tt.shown[i], tt.shown[i+1])
				}
				answer, err := connect.NewClient[clerkgatev1.WhoAmIRequest, clerkgatev1.WhoAmIResponse](c,
					r.httpURL+clerkgatev1.CallerService_WhoAmI_FullMethodName, p.options...).CallUnary(t.Context(), req)
				var got string
				if ce := new(connect.Error); errors.As(err, &ce) {
					got = ce.Meta().Get("clerkgate-reason")
				} else if err != nil {
					t.Error(err)
				} else {
					got = answer.Msg.GetName()
				}
				if got != tt.want {
					t.Errorf("Unix socket %t, %s, %q: %s, want %s", unix, protocol, tt.shown, got, tt.want)
				}
			}
		}
	}
}

// TestHTTPHeaderBound sends metadata within and beyond the bound, which is that of gRPC.
func TestHTTPHeaderBound(t *testing.T) {
	r := start(t, Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}})
	for _, h2c := range []bool{false, true} {
		for size, taken := range map[int]bool{defaults.MaxMetadataBytes - 4<<10: true, defaults.MaxMetadataBytes + 8<<10: false} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.httpURL+clerkgatev1.CallerService_WhoAmI_FullMethodName, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Large", strings.Repeat("x", size))
			resp, err := httpClient(t, h2c, nil).Do(req)
			switch {
			case err == nil:
				if _ = resp.Body.Close(); (resp.StatusCode == http.StatusOK) != taken {
					t.Errorf("h2c %t, %d bytes: %d", h2c, size, resp.StatusCode)
				}
			case taken: // else the connection may end before its client has read the answer
				t.Errorf("h2c %t, %d bytes: %v", h2c, size, err)
			}
		}
	}
}

// TestHTTPFullViewOnLoopback asks by HTTP for the view FULL, from this machine and from
// elsewhere, where loopback may have it.
func TestHTTPFullViewOnLoopback(t *testing.T) {
	up := &fakeUpstream{users: []*clerkgatev1.User{privateUser()}}
	cfg := Config{Users: up, Quota: up, FullView: FullViewLoopback}
	request := &clerkgatev1.GetUserRequest{UserId: "user_a", View: clerkgatev1.UserView_USER_VIEW_FULL}
	for _, address := range []string{"", "unix:" + filepath.Join(socketDir(t), "http")} {
		cfg.HTTPListen = address
		r := start(t, cfg)
		for name, p := range protocols {
			answer, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, r.httpClient(t, p.h2c), r.httpURL, getUserPath, request, nil, p.options...)
			if err != nil || partsShown(answer.Msg.User) != caller.AllParts {
				t.Errorf("%s at %q: %v", name, address, err)
			}
		}
	}

	cfg.Logger = leaktest.Logger(slog.DiscardHandler)
	h := New(cfg).probes()
	for _, peer := range []net.Addr{nil, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1")}} {
		r := httptest.NewRequest(http.MethodPost, getUserPath, strings.NewReader(`{"userId": "user_a", "view": "USER_VIEW_FULL"}`))
		r = r.WithContext(context.WithValue(t.Context(), connectionKey{}, connection{peer: peer}))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
		for key, value := range map[string]string{
			"Content-Type": "application/json", "X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1",
			"Forwarded": "for=127.0.0.1", ":authority": "localhost", "Peer": "127.0.0.1",
		} {
			r.Header[key] = []string{value}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || w.Header().Get("Clerkgate-Reason") != "CALLER_NOT_ALLOWED" {
			t.Errorf("%v: %d: %s", peer, w.Code, w.Body)
		}
	}
}

// TestMeshHeadersOfAnUnknownPeer: a peer that is not known is no Unix socket.
func TestMeshHeadersOfAnUnknownPeer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "callers.yaml")
	if err := os.WriteFile(file, []byte(`
mesh: [{header: l5d-client-id, from: [unix]}]
callers: [{name: jobs, identity: {certificates: ["dns:jobs.example"]}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	g := New(Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}, CallersFile: file}).guard
	for _, at := range []net.Addr{nil, &net.UnixAddr{Net: "unix"}} {
		r := httptest.NewRequest(http.MethodPost, getUserPath, nil)
		r.Header.Set(l5dKey, "jobs.example")
		ctx := context.WithValue(t.Context(), connectionKey{}, connection{peer: at})
		who, err := g.identify(incomingContext(ctx, r.WithContext(ctx)))
		if (at != nil) != (who != nil) {
			t.Errorf("%v: %v, %v", at, who, err)
		}
	}
}
