package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
)

// TestRefusalsSayWhatToDo checks the messages of refused calls.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a method":           {&methodDenied{"/clerkgate.v1.UserService/BatchGetUsers"}, "this caller may not call BatchGetUsers; CallerService.WhoAmI lists what it may call"},
		"a method of others": {&methodDenied{"/clerkgate.v1.X/a\nb"}, "this caller may not call a b; CallerService.WhoAmI lists what it may call"},
		"an unknown token":   {&caller.Error{Reason: caller.UnknownToken}, "the server does not know this caller; send a token, a JSON Web Token or a certificate of a caller in its callers file"},
		"no certificate":     {&caller.Error{Reason: caller.NoCertificate}, "the server serves only callers with a certificate; connect by TLS with one"},
		"an expired token":   {fmt.Errorf("call: %w", &caller.Error{Reason: caller.ExpiredToken}), "the token has expired; send a new one"},
		"two identities":     {&caller.Error{Reason: caller.TwoIdentities}, "the call has credentials of two callers; send those of one"},
		"an issuer away":     {&caller.Error{Reason: caller.IssuerAway}, "the server can't ask the issuer of the JSON Web Token for its keys; come back later"},
	} {
		if got := classify(tt.err).message; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestRefusedPagesNameThePermission requests over HTTP what the caller may not have.
func TestRefusedPagesNameThePermission(t *testing.T) {
	g := startGuarded(t, Config{Pprof: true, Metrics: prometheus.NewRegistry()})
	c := httpClient(t, false, &tls.Config{RootCAs: g.ca.Pool()})
	for path, permission := range map[string]string{"/metrics": "metrics: true", "/debug/pprof/": "pprof: true"} {
		resp, body := send(t, c, http.MethodGet, "https://"+g.at.HTTP.String()+path, nil, "Authorization", "Bearer "+g.token)
		if want := "this caller may not see this; it needs " + permission + " in the callers file\n"; resp.StatusCode != http.StatusForbidden || body != want {
			t.Errorf("%s: %d %q, want %q", path, resp.StatusCode, body, want)
		}
	}
}

// TestRefusedCallsNameTheMethod calls by gRPC what the caller may not call.
func TestRefusedCallsNameTheMethod(t *testing.T) {
	g := startGuarded(t, Config{})
	_, err := methodCalls["CountUsers"](t.Context(), g.conns["support"], clerkgatev1.UserView_USER_VIEW_BASIC)
	if got := status.Convert(err).Message(); !strings.Contains(got, "may not call CountUsers;") {
		t.Errorf("the message is %q", got)
	}
}

// TestUnknownCallersDoNotFillTheLog checks that a call of an unknown caller has no line from
// level info on but the guard's, of which there is one per second.
func TestUnknownCallersDoNotFillTheLog(t *testing.T) {
	g := startGuarded(t, Config{})
	if _, err := methodCalls["GetUser"](t.Context(), g.conns["nobody"], clerkgatev1.UserView_USER_VIEW_BASIC); err == nil {
		t.Fatal("the call was not refused")
	}
	lines := 0
	for line := range strings.Lines(g.log.String()) {
		if strings.Contains(line, "the caller is not known") && !strings.Contains(line, `"level":"DEBUG"`) {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines, want 1:\n%s", lines, g.log)
	}
}
