package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
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
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
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
		ctx := context.WithValue(t.Context(), peerKey{}, tt.peer)
		if got := identify(incomingContext(ctx, r.WithContext(ctx))); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.peer, got, tt.want)
		}
	}
}
