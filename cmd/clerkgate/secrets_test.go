package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// shownTo collects all that a server shows to anybody.
type shownTo struct {
	collector.UnimplementedTraceServiceServer
	mu  sync.Mutex
	all bytes.Buffer // guarded by mu
}

func (s *shownTo) add(what, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.all, "%s: %s\n", what, text)
}

// Export takes spans as a collector does.
func (s *shownTo) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	leaktest.Saw(leaktest.Span, req.String())
	s.add("spans", req.String())
	return &collector.ExportTraceServiceResponse{}, nil
}

// collect listens for spans until the test ends, and returns the collector's URL.
func (s *shownTo) collect(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

// TestNoSecretIsShown runs a server at debug level with every kind of secret, has
// everything called rightly and wrongly, with secrets where none should be, and looks
// for them in the log, answers, errors, trailers, metrics, pages, profiles and spans.
func TestNoSecretIsShown(t *testing.T) {
	dir, ca, issuer, seen := t.TempDir(), callertest.NewCA(t), callertest.NewIssuer(t), &shownTo{}
	token, unknown := caller.NewToken(), caller.NewToken()
	jwt, badJWT := issuer.Token("clerkgate", "sync", nil), issuer.Token("other", "sync", nil)
	pair := ca.Issue("127.0.0.1")
	cert, key := pair.Files(t, dir, "server")
	callers := filepath.Join(dir, "callers.yaml")
	const allow = "{methods: [GetUser, BatchGetUsers, ListUsers, CountUsers, GetQuota, GetUsage], full_view: [private_metadata], metrics: true, pprof: true, permits: true, invalidate: true}"
	text := fmt.Sprintf("issuers: [{name: a, issuer: %q, audience: clerkgate}]\ncallers:\n  - {name: one, identity: {tokens: [{sha256: %s}]}, allow: %s}\n  - {name: two, identity: {jwt: [{issuer: a, claims: {sub: sync}}]}, allow: %s}\n  - %s\n",
		issuer.URL, caller.HashToken(token), allow, allow, leaktest.Viewer())
	if err := os.WriteFile(callers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	redisPassword := leaktest.Secret("Redis's password", "redispassword1")
	redis := redistest.Start(t, "--requirepass", redisPassword)
	t.Setenv(webhookSecretEnv, webhookSecret)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", seen.collect(t))
	secrets := map[string]string{
		"the caller's token": token, "an unknown token": unknown, "a JSON Web Token": jwt, "one that is not valid": badJWT,
		"the webhook secret": webhookSecret, "the simulated key": simulatedKey, "a key shown as a name": "sk_live_shownasaname",
		"the private key": strings.TrimSpace(strings.Split(string(pair.Key), "\n")[1]), "Redis's password": redisPassword,
		"the hash of a token": caller.HashToken(token),
	}
	t.Run("serve", func(t *testing.T) {
		address, id, log := serveSim(t, "--log-level", "debug", "--tracing", "otlp", "--pprof", "--callers-file", callers,
			"--tls-cert-file", cert, "--tls-key-file", key, "--webhook-listen", "127.0.0.1:0", "--webhook-tls-cert-file", "off",
			"--sim-webhook-url", "http://127.0.0.1:1/webhooks/clerk", "--redis-url", "redis://:"+redisPassword+"@"+redis.Addr())
		t.Cleanup(func() { seen.add("log", log.String()) })
		called(t, seen, address, id, ca, []string{"", "Bearer " + token, "Bearer " + jwt, "Bearer " + badJWT, "Bearer " + unknown, "Secret " + token, "Bearer " + secrets["a key shown as a name"]})
		asked(t, seen, log.String(), ca, token)
		for _, args := range [][]string{{"get", id, "sk_live_shownasaname"}, {"count"}, {"whoami"}, {"quota"}, {"list", "--filter", "query=" + token}} {
			for _, show := range []string{token, unknown} {
				t.Setenv(tokenEnv, show)
				_, out, errs := runCommand(t, append(args, "--address", "https://"+address, "--ca-file", ca.File(dir, "ca.crt"))...)
				seen.add("a command", out+errs)
			}
		}
	})
	seen.mu.Lock()
	defer seen.mu.Unlock()
	all := seen.all.String()
	for _, kind := range []string{"log", "spans", "an answer", "an error", "a trailer", "/metrics", "/readyz", "/debug/pprof/heap?debug=1", "a command", "a webhook"} {
		if !strings.Contains(all, kind+": ") {
			t.Errorf("nothing of the kind %q was seen", kind)
		}
	}
	for name, secret := range secrets {
		if i := strings.Index(all, secret); i >= 0 {
			t.Errorf("%s is shown: …%s…", name, all[max(0, i-300):min(len(all), i+len(secret)+100)])
		}
	}
}

// called makes calls with each of the headers, and with secrets in other places.
func called(t *testing.T, seen *shownTo, address, id string, ca *callertest.CA, headers []string) {
	t.Helper()
	conn, err := leaktest.Dial(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ca.Pool()})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	users, quota := clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)
	for _, header := range headers {
		for _, name := range []string{"somebody", "sk_live_shownasaname", header} {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "clerkgate-caller", name, "x-request-id", name, "x-forwarded-client-cert", name)
			if header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", header)
			}
			note := func(m proto.Message, trailer metadata.MD, err error) {
				if err != nil {
					seen.add("an error", fmt.Sprintf("%v %v", err, status.Convert(err).Details()))
				} else {
					seen.add("an answer", fmt.Sprint(m))
				}
				seen.add("a trailer", fmt.Sprint(trailer))
			}
			for _, user := range []string{id, "user_nobody", name} {
				var trailer metadata.MD
				got, err := users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: user, View: clerkgatev1.UserView_USER_VIEW_FULL}, grpc.Trailer(&trailer))
				note(got, trailer, err)
			}
			listed, err := users.ListUsers(ctx, &clerkgatev1.ListUsersRequest{PageToken: name, OrderBy: name})
			note(listed, nil, err)
			counted, err := users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{})
			note(counted, nil, err)
			invalidated, err := users.InvalidateUsers(ctx, &clerkgatev1.InvalidateUsersRequest{UserIds: []string{name}})
			note(invalidated, nil, err)
			used, err := quota.GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
			note(used, nil, err)
			released, err := quota.ReleasePermits(ctx, &clerkgatev1.ReleasePermitsRequest{LeaseId: name})
			note(released, nil, err)
		}
	}
}

// asked reads what the HTTP listeners have, with a token and without.
func asked(t *testing.T, seen *shownTo, log string, ca *callertest.CA, token string) {
	t.Helper()
	at := regexp.MustCompile(`msg=serving .*http=(\S+).* webhooks=(\S+)`).FindStringSubmatch(log)
	if at == nil {
		t.Fatalf("no addresses in the log:\n%s", log)
	}
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}), Timeout: time.Minute}
	defer client.CloseIdleConnections()
	get := func(kind, method, url, body string) {
		for _, password := range []string{"", token, "cgt_other"} {
			req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("svix-signature", "v1,"+webhookSecret)
			req.Header.Set("svix-id", webhookSecret)
			if password != "" {
				req.SetBasicAuth("any", password)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			seen.add(kind, fmt.Sprint(resp.StatusCode, resp.Header)+string(answer))
		}
	}
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/", "/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		get(path, http.MethodGet, "https://"+at[1]+path, "")
	}
	get("a webhook", http.MethodPost, "http://"+at[2], `{"type":"user.updated","data":{"id":"`+webhookSecret+`"}}`)
}
