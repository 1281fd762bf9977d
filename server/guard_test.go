package server

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// guarded is a server with TLS and a callers file: one caller by certificate, one by
// token, one by JSON Web Token.
type guarded struct {
	*secured
	up                  *fakeUpstream
	ca                  *callertest.CA
	issuer              *callertest.Issuer
	dir, file           string
	token, scrape, temp string
	conns               map[string]*grpc.ClientConn // by caller; "nobody" has no credentials
}

func (g *guarded) write(t *testing.T, more string) {
	t.Helper()
	text := fmt.Sprintf(`
issuers: [{name: test, issuer: %q, audience: clerkgate}]
callers:
  - name: billing
    identity: {certificates: ["spiffe://example.org/billing"]}
    allow: {methods: [GetUser, BatchGetUsers], full_view: [private_metadata]}
  - name: support
    identity: {tokens: [{sha256: %s}, {sha256: %s}]}
    allow: {methods: [GetUser, ListUsers, WatchQuota], max_priority: batch, streams: 1, invalidate: true}
  - name: sync
    identity: {jwt: [{issuer: test, claims: {sub: sync}}]}
    allow: {methods: [GetUser, StreamUsers, CountUsers], full_view: [private_metadata, memberships, verifications, extra], permits: true}
  - name: prometheus
    identity: {tokens: [{sha256: %s}]}
    allow: {metrics: true}
  - %s
`, g.issuer.URL, caller.HashToken(g.token), caller.HashToken(g.temp), caller.HashToken(g.scrape), leaktest.Viewer()) + more
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startGuarded(t *testing.T, cfg Config) *guarded {
	t.Helper()
	g := &guarded{
		up: &fakeUpstream{users: []*clerkgatev1.User{privateUser()}}, ca: callertest.NewCA(t), issuer: callertest.NewIssuer(t),
		dir: t.TempDir(), token: caller.NewToken(), temp: caller.NewToken(), scrape: caller.NewToken(), conns: map[string]*grpc.ClientConn{},
	}
	g.file = filepath.Join(g.dir, "callers.yaml")
	g.write(t, "")
	cfg.TLS.ClientCA = g.ca.File(g.dir, "ca.crt")
	cfg.TLS.Cert, cfg.TLS.Key = g.ca.Issue("127.0.0.1").Files(t, g.dir, "server")
	cfg.HTTPTLS, cfg.CallersFile = cfg.TLS, g.file
	if cfg.Users == nil {
		cfg.Users, cfg.Quota = g.up, g.up
	}
	g.secured = startSecured(t, cfg)
	t.Cleanup(func() {
		if refused := leaktest.Pages("https://" + g.at.HTTP.String()); refused != nil {
			t.Errorf("not looked at: %v", refused)
		}
	})
	trust := &tls.Config{RootCAs: g.ca.Pool()}
	withCert := &tls.Config{RootCAs: g.ca.Pool(), GetClientCertificate: showing(g.ca.Issue("spiffe://example.org/billing").TLS(t))}
	g.conns["nobody"] = g.dial(t, trust)
	g.conns["billing"] = g.dial(t, withCert)
	g.conns["support"] = g.dial(t, trust, grpc.WithPerRPCCredentials(shown("Bearer "+g.token)))
	g.conns["sync"] = g.dial(t, trust, grpc.WithPerRPCCredentials(shown("Bearer "+g.issuer.Token("clerkgate", "sync", nil))))
	g.conns["prometheus"] = g.dial(t, trust, grpc.WithPerRPCCredentials(shown("Bearer "+g.scrape)))
	return g
}

// dialAs connects with an authorization header.
func (g *guarded) dialAs(t *testing.T, header string) *grpc.ClientConn {
	t.Helper()
	return g.dial(t, &tls.Config{RootCAs: g.ca.Pool()}, grpc.WithPerRPCCredentials(shown(header)))
}

// shown is an authorization header.
type shown string

func (s shown) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(s)}, nil
}
func (shown) RequireTransportSecurity() bool { return true }

// privateUser returns a user with every part of the view FULL.
func privateUser() *clerkgatev1.User {
	return &clerkgatev1.User{
		Id: "user_a", PrivateMetadataJson: proto.String(`{"p":1}`), ExtraJson: proto.String(`{"e":1}`),
		OrganizationMemberships: []*clerkgatev1.OrganizationMembership{{
			PrivateMetadataJson: proto.String(`{"m":1}`), Organization: &clerkgatev1.Organization{PrivateMetadataJson: proto.String(`{"o":1}`)},
		}},
		EmailAddresses: []*clerkgatev1.UserEmailAddress{{Verification: &clerkgatev1.Verification{Nonce: proto.String("n")}}},
	}
}

// partsShown returns the parts of the view FULL in a user.
func partsShown(u *clerkgatev1.User) caller.Parts {
	var p caller.Parts
	if u.PrivateMetadataJson != nil {
		p |= caller.PrivateMetadata
	}
	if u.ExtraJson != nil {
		p |= caller.Extra
	}
	if len(u.OrganizationMemberships) > 0 && (u.OrganizationMemberships[0].PrivateMetadataJson != nil || u.OrganizationMemberships[0].Organization.PrivateMetadataJson != nil) {
		p |= caller.Memberships
	}
	if len(u.EmailAddresses) > 0 && u.EmailAddresses[0].Verification.Nonce != nil {
		p |= caller.Verifications
	}
	return p
}

// methodCalls call each method, in a view if it has one, and return the users in the
// answer.
var methodCalls = map[string]func(ctx context.Context, conn *grpc.ClientConn, v clerkgatev1.UserView) ([]*clerkgatev1.User, error){
	"GetUser": func(ctx context.Context, conn *grpc.ClientConn, v clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		resp, err := clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_a", View: v})
		return []*clerkgatev1.User{resp.GetUser()}, err
	},
	"BatchGetUsers": func(ctx context.Context, conn *grpc.ClientConn, v clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		resp, err := clerkgatev1.NewUserServiceClient(conn).BatchGetUsers(ctx, &clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_a"}, View: v})
		if err != nil {
			return nil, err
		}
		return []*clerkgatev1.User{resp.Results[0].GetUser()}, nil
	},
	"ListUsers": func(ctx context.Context, conn *grpc.ClientConn, v clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		resp, err := clerkgatev1.NewUserServiceClient(conn).ListUsers(ctx, &clerkgatev1.ListUsersRequest{View: v})
		return resp.GetUsers(), err
	},
	"StreamUsers": func(ctx context.Context, conn *grpc.ClientConn, v clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		stream, err := clerkgatev1.NewUserServiceClient(conn).StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{View: v})
		if err != nil {
			return nil, err
		}
		m, err := stream.Recv()
		return m.GetUsers(), err
	},
	"CountUsers": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewUserServiceClient(conn).CountUsers(ctx, &clerkgatev1.CountUsersRequest{})
		return nil, err
	},
	"InvalidateUsers": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewUserServiceClient(conn).InvalidateUsers(ctx, &clerkgatev1.InvalidateUsersRequest{UserIds: []string{"user_a"}})
		return nil, err
	},
	"GetQuota": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewQuotaServiceClient(conn).GetQuota(ctx, &clerkgatev1.GetQuotaRequest{})
		return nil, err
	},
	"WatchQuota": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		stream, err := clerkgatev1.NewQuotaServiceClient(conn).WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{})
		if err != nil {
			return nil, err
		}
		_, err = stream.Recv()
		return nil, err
	},
	"GetUsage": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewQuotaServiceClient(conn).GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
		return nil, err
	},
	"AcquirePermits": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewQuotaServiceClient(conn).AcquirePermits(ctx, &clerkgatev1.AcquirePermitsRequest{Count: 1})
		return nil, err
	},
	"ReleasePermits": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewQuotaServiceClient(conn).ReleasePermits(ctx, &clerkgatev1.ReleasePermitsRequest{LeaseId: "none"})
		return nil, err
	},
	"WhoAmI": func(ctx context.Context, conn *grpc.ClientConn, _ clerkgatev1.UserView) ([]*clerkgatev1.User, error) {
		_, err := clerkgatev1.NewCallerServiceClient(conn).WhoAmI(ctx, &clerkgatev1.WhoAmIRequest{})
		return nil, err
	},
}

// TestWhatEachCallerMayDo calls each method in each view as each caller, and compares
// with the file. A token and a JSON Web Token also come as the password of HTTP Basic.
func TestWhatEachCallerMayDo(t *testing.T) {
	began := time.Now()
	g := startGuarded(t, Config{})
	const byPassword = " by password"
	for who, password := range map[string]string{"support": g.token, "sync": g.issuer.Token("clerkgate", "sync", nil), "nobody": caller.NewToken()} {
		g.conns[who+byPassword] = g.dialAs(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("any:"+password)))
	}
	for _, service := range services {
		for _, method := range methodsOf(service) {
			if methodCalls[method] == nil {
				t.Errorf("%s is not tried", method)
			}
		}
	}
	methods := map[string][]string{
		"nobody":     {},
		"billing":    {"GetUser", "BatchGetUsers", "WhoAmI"},
		"support":    {"GetUser", "ListUsers", "WatchQuota", "InvalidateUsers", "WhoAmI"},
		"sync":       {"GetUser", "StreamUsers", "CountUsers", "AcquirePermits", "ReleasePermits", "WhoAmI"},
		"prometheus": {"WhoAmI"},
	}
	parts := map[string]caller.Parts{"billing": caller.PrivateMetadata, "sync": caller.AllParts}
	for name, conn := range g.conns {
		who := strings.TrimSuffix(name, byPassword)
		for method, call := range methodCalls {
			for _, view := range []clerkgatev1.UserView{clerkgatev1.UserView_USER_VIEW_BASIC, clerkgatev1.UserView_USER_VIEW_FULL} {
				before := len(g.up.asked())
				ctx, cancel := context.WithCancel(t.Context())
				users, err := call(ctx, conn, view)
				cancel()
				got, want := reasonOf(err), "OK"
				hasView := slices.Contains([]string{"GetUser", "BatchGetUsers", "ListUsers", "StreamUsers"}, method)
				full := view == clerkgatev1.UserView_USER_VIEW_FULL && hasView
				switch {
				case who == "nobody":
					want = "Unauthenticated CALLER_UNKNOWN"
				case !slices.Contains(methods[who], method), full && parts[who] == 0:
					want = "PermissionDenied CALLER_NOT_ALLOWED"
				case method == "ReleasePermits":
					want = "NotFound LEASE_NOT_FOUND"
				}
				if who == "support" && method == "WatchQuota" && got == "ResourceExhausted CALLER_OVER_QUOTA" {
					got = "OK" // its one stream is still ending
				}
				if got != want {
					t.Errorf("%s, %s, %v: %s, want %s", name, method, view, got, want)
				}
				if want != "OK" && method != "ReleasePermits" && len(g.up.asked()) != before {
					t.Errorf("%s, %s: the cache is asked though the call is refused", who, method)
				}
				if err == nil && hasView {
					wantParts := caller.Parts(0)
					if full {
						wantParts = parts[who]
					}
					if len(users) != 1 || partsShown(users[0]) != wantParts {
						t.Errorf("%s, %s, %v: parts %v, want %v", who, method, view, partsShown(users[0]).Names(), wantParts.Names())
					}
				}
			}
		}
	}
	if n := g.Refusals()["no_credentials"]; n != int64(2*len(methodCalls)) {
		t.Errorf("%d refusals are counted, want %d", n, 2*len(methodCalls))
	}
	most := 1 + int(time.Since(began)/tellGap)
	if n := strings.Count(g.log.String(), "calls are refused: the caller is not known"); n == 0 || n > most {
		t.Errorf("%d lines of refused calls, want at most %d", n, most)
	}
	for _, secret := range []string{g.token, g.scrape, g.issuer.Token("", "", nil)[:20]} {
		if strings.Contains(g.log.String(), secret) {
			t.Error("the log shows a token")
		}
	}
}

// TestCallersAtTheGate checks the names and priorities of calls in the queue.
func TestCallersAtTheGate(t *testing.T) {
	g := startGuarded(t, Config{})
	ctx := metadata.AppendToOutgoingContext(t.Context(), callerKey, "somebody-else")
	for who, want := range map[string]gate.Options{
		"billing": {Caller: "billing", Party: gate.Party{Peer: "billing"}},
		"support": {Caller: "support", Party: gate.Party{Peer: "support"}, Priority: gate.Batch},
	} {
		if _, err := clerkgatev1.NewUserServiceClient(g.conns[who]).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_a"}); err != nil {
			t.Fatal(err)
		}
		asked := g.up.asked()
		if got := asked[len(asked)-1].options; got != want {
			t.Errorf("%s: %+v, want %+v", who, got, want)
		}
	}
	resp, err := clerkgatev1.NewCallerServiceClient(g.conns["support"]).WhoAmI(t.Context(), &clerkgatev1.WhoAmIRequest{})
	if err != nil || resp.Name != "support" || !resp.BatchOnly || resp.MaxStreams != 1 ||
		!slices.Equal(resp.Methods, []string{"GetUser", "InvalidateUsers", "ListUsers", "WatchQuota"}) || len(resp.FullView) != 0 {
		t.Errorf("WhoAmI: %v, %v", resp, err)
	}
}

// TestLargeTokens: by default, a JSON Web Token of 50 KiB passes on both listeners.
func TestLargeTokens(t *testing.T) {
	g := startGuarded(t, Config{})
	token := "Bearer " + g.issuer.Token("clerkgate", "sync", map[string]any{"groups": strings.Repeat("x", 38<<10)})
	if len(token) < 50<<10 {
		t.Fatalf("it has %d bytes", len(token))
	}
	if _, err := clerkgatev1.NewUserServiceClient(g.dialAs(t, token)).GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "user_a"}); err != nil {
		t.Errorf("by gRPC: %v", err)
	}
	for _, h2 := range []bool{false, true} {
		client := httpClient(t, h2, &tls.Config{RootCAs: g.ca.Pool()})
		resp, answer := send(t, client, http.MethodPost, "https://"+g.at.HTTP.String()+getUserPath, strings.NewReader(`{"userId": "user_a"}`),
			"Content-Type", "application/json", "Authorization", token)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("by HTTP, HTTP/2 %v: %d %s", h2, resp.StatusCode, answer)
		}
	}
}

// TestOwnStreams opens more streams than the file allows.
func TestOwnStreams(t *testing.T) {
	g := startGuarded(t, Config{})
	client := clerkgatev1.NewQuotaServiceClient(g.conns["support"])
	first, err := client.WatchQuota(t.Context(), &clerkgatev1.WatchQuotaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	second, err := client.WatchQuota(t.Context(), &clerkgatev1.WatchQuotaRequest{})
	if err == nil {
		_, err = second.Recv()
	}
	if got := reasonOf(err); got != "ResourceExhausted CALLER_OVER_QUOTA" {
		t.Errorf("the second stream: %s", got)
	}
}

// TestWhatNeedsNoCaller calls health and the probes without credentials, and reflection,
// which needs a caller.
func TestWhatNeedsNoCaller(t *testing.T) {
	g := startGuarded(t, Config{})
	if _, err := grpc_health_v1.NewHealthClient(g.conns["nobody"]).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	for who, want := range map[string]string{"nobody": "Unauthenticated CALLER_UNKNOWN", "support": "OK"} {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(g.conns[who]).ServerReflectionInfo(t.Context())
		if err == nil {
			_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
			_, err = stream.Recv()
		}
		if got := reasonOf(err); got != want {
			t.Errorf("reflection for %s: %s, want %s", who, got, want)
		}
	}
}

// TestCallersFileIsReadAgain replaces the file with one without a token, and with an
// invalid one.
func TestCallersFileIsReadAgain(t *testing.T) {
	g := startGuarded(t, Config{})
	as := func(token, want string) {
		t.Helper()
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		_, err := clerkgatev1.NewCallerServiceClient(g.conns["nobody"]).WhoAmI(ctx, &clerkgatev1.WhoAmIRequest{})
		if got := reasonOf(err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	old := g.temp
	as(g.token, "OK")
	as(old, "OK")
	g.temp = caller.NewToken()
	g.write(t, "")
	if err := g.Reload(); err != nil {
		t.Error(err)
	}
	as(g.token, "OK")
	as(g.temp, "OK")
	as(old, "Unauthenticated CALLER_UNKNOWN")
	g.write(t, "  - rubbish")
	if err := g.Reload(); err == nil || !strings.Contains(g.log.String(), "the last one stays in use") {
		t.Errorf("a broken file: %v\n%s", err, g.log)
	}
	as(g.token, "OK")
}

// TestCallersOverHTTP requests the endpoints of the HTTP listener.
func TestCallersOverHTTP(t *testing.T) {
	g := startGuarded(t, Config{Pprof: true, Metrics: prometheus.NewRegistry()})
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool()}})}
	defer client.CloseIdleConnections()
	for _, tt := range []struct {
		path, password string
		want           int
	}{
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/metrics", "", 401},
		{"/metrics", "cgt_x", 401},
		{"/metrics", g.token, 403},
		{"/metrics", g.scrape, 200},
		{"/debug/pprof/", "", 401},
		{"/debug/pprof/", g.scrape, 403},
		{"/debug/pprof/", "cgt_x", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.at.HTTP.String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.password != "" {
			req.SetBasicAuth("any", tt.password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want || (tt.want == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s with %q: %d %v, want %d", tt.path, tt.password, resp.StatusCode, resp.Header, tt.want)
		}
	}
}

// TestCertificateWithoutFile: with client authorities and no callers file, every call
// needs a certificate.
func TestCertificateWithoutFile(t *testing.T) {
	dir, ca := t.TempDir(), callertest.NewCA(t)
	files := TLSFiles{ClientCA: ca.File(dir, "ca.crt")}
	files.Cert, files.Key = ca.Issue("127.0.0.1").Files(t, dir, "server")
	s := startSecured(t, Config{TLS: files, HTTPTLS: files})
	for name, tt := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"none": {&tls.Config{RootCAs: ca.Pool()}, "Unauthenticated CALLER_UNKNOWN"},
		"any":  {&tls.Config{RootCAs: ca.Pool(), GetClientCertificate: showing(ca.Issue("x.example").TLS(t))}, "OK"},
	} {
		conn := s.dial(t, tt.config)
		_, err := clerkgatev1.NewUserServiceClient(conn).CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
		if got := reasonOf(err); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("%s: health: %v", name, err)
		}
	}
}
