package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// protocols are the ways to call by HTTP: the client's options, and whether it speaks
// HTTP/2 without TLS.
var protocols = map[string]struct {
	options []connect.ClientOption
	h2c     bool
}{
	"Connect":                {nil, false},
	"Connect over h2c":       {nil, true},
	"Connect, JSON":          {[]connect.ClientOption{connect.WithProtoJSON()}, false},
	"Connect, JSON and gzip": {[]connect.ClientOption{connect.WithProtoJSON(), connect.WithSendGzip()}, false},
	"gRPC-Web":               {[]connect.ClientOption{connect.WithGRPCWeb()}, false},
	"gRPC-Web, JSON":         {[]connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}, false},
	"gRPC over h2c":          {[]connect.ClientOption{connect.WithGRPC()}, true},
}

// httpClient returns a client of HTTP/1.1 or of HTTP/2 alone, until the test ends.
func httpClient(t testing.TB, h2 bool, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	transport.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// callByHTTP calls a method whose answer is one message.
func callByHTTP[Req, Res any](t testing.TB, c *http.Client, url, method string, req *Req, header http.Header, options ...connect.ClientOption) (*connect.Response[Res], error) {
	r := connect.NewRequest(req)
	for k, v := range header {
		r.Header()[k] = v
	}
	return connect.NewClient[Req, Res](c, url+method, options...).CallUnary(t.Context(), r)
}

// TestHTTPAnswersAsGRPC calls every method that has an answer by each protocol, and wants
// the answer that gRPC gives.
func TestHTTPAnswersAsGRPC(t *testing.T) {
	up := &fakeUpstream{users: append(usersAt(1, 2, 3), privateUser()), garbled: map[string]bool{"user_0001": false}}
	r := start(t, Config{Users: up, Quota: up, FullView: FullViewAny})
	full := clerkgatev1.UserView_USER_VIEW_FULL
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			c := httpClient(t, p.h2c, nil)
			compare(t, c, r, p.options, clerkgatev1.UserService_GetUser_FullMethodName, r.users.GetUser,
				&clerkgatev1.GetUserRequest{UserId: "user_a"}, &clerkgatev1.GetUserRequest{UserId: "user_a", View: full})
			compare(t, c, r, p.options, clerkgatev1.UserService_BatchGetUsers_FullMethodName, r.users.BatchGetUsers,
				&clerkgatev1.BatchGetUsersRequest{UserIds: []string{"user_0000", "user_a", "user_nobody", "-x"}, View: full})
			compare(t, c, r, p.options, clerkgatev1.UserService_ListUsers_FullMethodName, r.users.ListUsers,
				&clerkgatev1.ListUsersRequest{}, &clerkgatev1.ListUsersRequest{View: full, PageSize: 2})
			compare(t, c, r, p.options, clerkgatev1.UserService_CountUsers_FullMethodName, r.users.CountUsers, &clerkgatev1.CountUsersRequest{})
			compare(t, c, r, p.options, clerkgatev1.UserService_InvalidateUsers_FullMethodName, r.users.InvalidateUsers,
				&clerkgatev1.InvalidateUsersRequest{UserIds: []string{"user_a"}})
			compare(t, c, r, p.options, clerkgatev1.QuotaService_GetQuota_FullMethodName, r.quota.GetQuota, &clerkgatev1.GetQuotaRequest{})
			compare(t, c, r, p.options, clerkgatev1.CallerService_WhoAmI_FullMethodName,
				clerkgatev1.NewCallerServiceClient(r.conn).WhoAmI, &clerkgatev1.WhoAmIRequest{})

			want := drain(t, r, &clerkgatev1.StreamUsersRequest{View: full})
			stream, err := connect.NewClient[clerkgatev1.StreamUsersRequest, clerkgatev1.StreamUsersResponse](
				c, r.httpURL+clerkgatev1.UserService_StreamUsers_FullMethodName, p.options...).
				CallServerStream(t.Context(), connect.NewRequest(&clerkgatev1.StreamUsersRequest{View: full}))
			if err != nil {
				t.Fatal(err)
			}
			var got []*clerkgatev1.StreamUsersResponse
			for stream.Receive() {
				got = append(got, stream.Msg())
			}
			if err := errors.Join(stream.Err(), stream.Close()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&clerkgatev1.Freshness{}, "age"),
				protocmp.IgnoreFields(&clerkgatev1.StreamUsersResponse{}, "resume_token")); diff != "" {
				t.Errorf("StreamUsers (-gRPC +HTTP):\n%s", diff)
			}
		})
	}
}

// compare calls a method by gRPC and by HTTP.
func compare[Req, Res any](t *testing.T, c *http.Client, r *running, options []connect.ClientOption, method string,
	byGRPC func(context.Context, *Req, ...grpc.CallOption) (*Res, error), requests ...*Req) {
	t.Helper()
	for _, req := range requests {
		want, err := byGRPC(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := callByHTTP[Req, Res](t, c, r.httpURL, method, req, nil, options...)
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		if diff := cmp.Diff(want, got.Msg, protocmp.Transform(), protocmp.IgnoreFields(&clerkgatev1.Freshness{}, "age")); diff != "" {
			t.Errorf("%s (-gRPC +HTTP):\n%s", method, diff)
		}
	}
}

// drain reads a stream by gRPC.
func drain(t *testing.T, r *running, req *clerkgatev1.StreamUsersRequest) (all []*clerkgatev1.StreamUsersResponse) {
	t.Helper()
	stream, err := r.users.StreamUsers(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// TestHTTPErrors wants code, reason and time to retry of a failure by each protocol.
func TestHTTPErrors(t *testing.T) {
	up := &fakeUpstream{failures: map[string]error{"user_away": &clerkapi.Error{Kind: clerkapi.ErrUnavailable, RetryAfter: 1500 * time.Millisecond}}}
	r := start(t, Config{Users: up, Quota: up})
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			c := httpClient(t, p.h2c, nil)
			for id, want := range map[string]struct {
				code          connect.Code
				reason, retry string
			}{
				"user_away":   {connect.CodeUnavailable, "CLERK_UNAVAILABLE", "1500"},
				"user_nobody": {connect.CodeNotFound, "USER_NOT_FOUND", ""},
				"-x":          {connect.CodeInvalidArgument, "INVALID_ARGUMENT", ""},
			} {
				_, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, c, r.httpURL,
					clerkgatev1.UserService_GetUser_FullMethodName, &clerkgatev1.GetUserRequest{UserId: id}, nil, p.options...)
				ce := new(connect.Error)
				if !errors.As(err, &ce) || ce.Code() != want.code {
					t.Errorf("%s: %v", id, err)
					continue
				}
				info, retry := detailsOf(t, ce)
				if info.GetReason() != want.reason || info.GetDomain() != errorDomain || (retry != nil) != (want.retry != "") ||
					ce.Meta().Get("clerkgate-reason") != want.reason || ce.Meta().Get("clerkgate-retry-ms") != want.retry {
					t.Errorf("%s: %v, %v, %v", id, info, retry, ce.Meta())
				}
			}
		})
	}
}

func detailsOf(t *testing.T, ce *connect.Error) (info *errdetails.ErrorInfo, retry *errdetails.RetryInfo) {
	t.Helper()
	for _, d := range ce.Details() {
		m, err := d.Value()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *errdetails.RetryInfo:
			retry = m
		}
	}
	return info, retry
}

// post sends what curl would.
func (r *running) post(t *testing.T, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return send(t, http.DefaultClient, http.MethodPost, r.httpURL+path, strings.NewReader(body), header...)
}

func send(t *testing.T, c *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

const (
	getUserPath = clerkgatev1.UserService_GetUser_FullMethodName
	streamPath  = clerkgatev1.UserService_StreamUsers_FullMethodName
)

// TestPlainJSON sends a request as curl does, and reads the answer and an error.
func TestPlainJSON(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	r := start(t, Config{Users: up, Quota: up})
	resp, body := r.post(t, getUserPath, `{"userId": "user_0000"}`, "Content-Type", "application/json")
	got := &clerkgatev1.GetUserResponse{}
	if err := protojson.Unmarshal([]byte(body), got); err != nil || resp.StatusCode != 200 || got.GetUser().GetId() != "user_0000" {
		t.Errorf("%d %s: %v", resp.StatusCode, body, err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	resp, body = r.post(t, getUserPath, `{"userId": "user_x"}`, "Content-Type", "application/json")
	var failed struct {
		Code    string
		Message string
		Details []struct {
			Type  string
			Debug map[string]any
		}
	}
	if err := json.Unmarshal([]byte(body), &failed); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if resp.StatusCode != 404 || failed.Code != "not_found" || failed.Details[0].Debug["reason"] != "USER_NOT_FOUND" || resp.Header.Get("Clerkgate-Reason") != "USER_NOT_FOUND" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

// TestBadHTTPRequests wants an error in Connect's form for whatever is no call, and
// nothing of it at the upstream.
func TestBadHTTPRequests(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	r := start(t, Config{Users: up, Quota: up})
	asJSON := []string{"Content-Type", "application/json"}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write([]byte(`{"userId": "` + strings.Repeat("x", 8<<20) + `"}`))
	_ = z.Close()
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, reason             string
	}{
		{"malformed JSON", "POST", getUserPath, `{"userId": `, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"no object", "POST", getUserPath, `[]`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"empty body", "POST", getUserPath, ``, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"unknown field", "POST", getUserPath, `{"userId": "user_0000", "vew": 2}`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"field twice", "POST", getUserPath, `{"userId": "user_0000", "user_id": "user_0001"}`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"wrong type", "POST", getUserPath, `{"userId": 7}`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"two objects", "POST", getUserPath, `{"userId": "user_0000"}{}`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"bad protobuf", "POST", getUserPath, "\x0a\x05x", []string{"Content-Type", "application/proto"}, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"no Content-Type", "POST", getUserPath, `{}`, nil, 415, "invalid_argument", "INVALID_ARGUMENT"},
		{"a form", "POST", getUserPath, `userId=user_0000`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "invalid_argument", "INVALID_ARGUMENT"},
		{"text", "POST", getUserPath, `{"userId": "user_0000"}`, []string{"Content-Type", "text/plain"}, 415, "invalid_argument", "INVALID_ARGUMENT"},
		{"other charset", "POST", getUserPath, `{}`, []string{"Content-Type", "application/json; charset=latin1"}, 415, "invalid_argument", "INVALID_ARGUMENT"},
		{"GET", "GET", getUserPath + "?message={}&encoding=json", ``, nil, 405, "invalid_argument", "INVALID_ARGUMENT"},
		{"preflight", "OPTIONS", getUserPath, ``, []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403, "permission_denied", "CALLER_NOT_ALLOWED"},
		{"from a web page", "POST", getUserPath, `{"userId": "user_0000"}`, append([]string{"Origin", r.httpURL}, asJSON...), 403, "permission_denied", "CALLER_NOT_ALLOWED"},
		{"unknown method", "POST", "/clerkgate.v1.UserService/Nope", `{}`, asJSON, 501, "unimplemented", "UNIMPLEMENTED"},
		{"huge body", "POST", getUserPath, `{"userId": "` + strings.Repeat("x", 2<<20) + `"}`, asJSON, 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"unknown compression", "POST", getUserPath, `{}`, append([]string{"Content-Encoding", "br"}, asJSON...), 501, "unimplemented", ""},
		{"gzip bomb", "POST", getUserPath, bomb.String(), append([]string{"Content-Encoding", "gzip"}, asJSON...), 429, "resource_exhausted", ""},
		{"bad timeout", "POST", getUserPath, `{}`, append([]string{"Connect-Timeout-Ms", "-1"}, asJSON...), 400, "invalid_argument", ""},
		{"unary call of a stream", "POST", streamPath, `{}`, asJSON, 415, "", ""},
		{"bad priority", "POST", getUserPath, `{"userId": "user_0000"}`, append([]string{priorityKey, "urgent"}, asJSON...), 400, "invalid_argument", "INVALID_ARGUMENT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := send(t, http.DefaultClient, tt.method, r.httpURL+tt.path, strings.NewReader(tt.body), tt.header...)
			var failed struct{ Code string }
			_ = json.Unmarshal([]byte(body), &failed)
			if resp.StatusCode != tt.status || failed.Code != tt.code || resp.Header.Get("Clerkgate-Reason") != tt.reason {
				t.Errorf("%d, %v: %s", resp.StatusCode, resp.Header, body)
			}
			for k := range resp.Header {
				if strings.HasPrefix(k, "Access-Control-") {
					t.Errorf("header %s", k)
				}
			}
			if len(body) > 2000 {
				t.Errorf("%d bytes of error", len(body))
			}
		})
	}
	if asked := up.asked(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

// TestHTTPMetadata wants caller, priority and deadline of a call at the upstream.
func TestHTTPMetadata(t *testing.T) {
	up := &fakeUpstream{}
	deadlines := make(chan time.Duration, 1)
	up.onCall = func(ctx context.Context, _ call) error {
		d, _ := ctx.Deadline()
		deadlines <- time.Until(d)
		return nil
	}
	r := start(t, Config{Users: up, Quota: up})
	for _, timeout := range []string{"Connect-Timeout-Ms", "Grpc-Timeout"} {
		up.change(func() { up.calls = nil })
		value, options := "20000", []connect.ClientOption(nil)
		if timeout == "Grpc-Timeout" {
			value, options = "20S", []connect.ClientOption{connect.WithGRPCWeb()}
		}
		header := http.Header{timeout: {value}, "Clerkgate-Caller": {"edge"}, "Clerkgate-Priority": {"batch"}}
		if _, err := callByHTTP[clerkgatev1.CountUsersRequest, clerkgatev1.CountUsersResponse](t, http.DefaultClient, r.httpURL,
			clerkgatev1.UserService_CountUsers_FullMethodName, &clerkgatev1.CountUsersRequest{}, header, options...); err != nil {
			t.Fatal(err)
		}
		if d := <-deadlines; d < 15*time.Second || d > 20*time.Second {
			t.Errorf("%s: %v left", timeout, d)
		}
		if o := up.asked()[0].options; o.Caller != "edge" || o.Party.Name != "edge" || o.Priority != gate.Batch {
			t.Errorf("%s: %+v", timeout, o)
		}
	}
}

// TestHTTPDeadline wants a call that outlasts its deadline to end with the reason.
func TestHTTPDeadline(t *testing.T) {
	up := &fakeUpstream{onCall: func(ctx context.Context, _ call) error { <-ctx.Done(); return ctx.Err() }}
	r := start(t, Config{Users: up, Quota: up})
	resp, body := r.post(t, getUserPath, `{"userId": "user_a"}`, "Content-Type", "application/json", "Connect-Timeout-Ms", "200")
	if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("Clerkgate-Reason") != "DEADLINE_EXCEEDED" || resp.Header.Get("Clerkgate-Retry-Ms") == "" {
		t.Errorf("%d %v: %s", resp.StatusCode, resp.Header, body)
	}
}

// TestHTTPCallIsMeasuredAndLogged wants the call in gRPC's metrics and the log.
func TestHTTPCallIsMeasuredAndLogged(t *testing.T) {
	up := &fakeUpstream{}
	registry := prometheus.NewRegistry()
	r := start(t, Config{Users: up, Quota: up, Metrics: registry})
	for _, body := range []string{`{"userId": "-x"}`, `{`} {
		r.post(t, getUserPath, body, "Content-Type", "application/json", "X-Request-Id", "abc", "Clerkgate-Caller", "edge")
	}
	_, metrics := send(t, http.DefaultClient, http.MethodGet, r.httpURL+"/metrics", nil)
	if want := `grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="GetUser",grpc_service="clerkgate.v1.UserService",grpc_type="unary"} 2`; !strings.Contains(metrics, want) {
		t.Errorf("no %s", want)
	}
	if log := r.log.String(); !strings.Contains(log, `"request_id":"abc"`) || !strings.Contains(log, `"caller":"edge"`) || !strings.Contains(log, `"peer":"127.0.0.1:`) {
		t.Errorf("log:\n%s", log)
	}
}

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

// TestHTTPDrain ends streams with SHUTTING_DOWN, lets calls end, and refuses new ones.
func TestHTTPDrain(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	began, goOn := make(chan struct{}), make(chan struct{})
	up.onCall = func(context.Context, call) error { close(began); <-goOn; return nil }
	r := start(t, Config{Users: up, Quota: up})
	watch, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](http.DefaultClient,
		r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName).CallServerStream(t.Context(), connect.NewRequest(&clerkgatev1.WatchQuotaRequest{}))
	if err != nil || !watch.Receive() {
		t.Fatal(err, watch.Err())
	}
	type result struct {
		status int
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		resp, err := http.Post(r.httpURL+getUserPath, "application/json", strings.NewReader(`{"userId": "user_0000"}`))
		if err != nil {
			ended <- result{0, err}
			return
		}
		ended <- result{resp.StatusCode, resp.Body.Close()}
	}()
	<-began
	r.stop()
	for watch.Receive() {
	}
	ce := new(connect.Error)
	if !errors.As(watch.Err(), &ce) || ce.Code() != connect.CodeUnavailable || ce.Meta().Get("clerkgate-reason") != "SHUTTING_DOWN" {
		t.Errorf("the stream ended with %v", watch.Err())
	}
	_ = watch.Close()
	if resp, body := r.post(t, getUserPath, `{"userId": "user_0000"}`, "Content-Type", "application/json"); resp.StatusCode != 503 || resp.Header.Get("Clerkgate-Reason") != "SHUTTING_DOWN" {
		t.Errorf("a new call: %d %s", resp.StatusCode, body)
	}
	close(goOn)
	if got := <-ended; got.err != nil || got.status != http.StatusOK {
		t.Errorf("the call under way: %d, %v", got.status, got.err)
	}
}

// TestHTTPStreamEndsWithItsCaller frees a stream whose caller has gone.
func TestHTTPStreamEndsWithItsCaller(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			up := &fakeUpstream{}
			r := start(t, Config{Users: up, Quota: up})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			watch, err := connect.NewClient[clerkgatev1.WatchQuotaRequest, clerkgatev1.WatchQuotaResponse](httpClient(t, h2, nil),
				r.httpURL+clerkgatev1.QuotaService_WatchQuota_FullMethodName).CallServerStream(ctx, connect.NewRequest(&clerkgatev1.WatchQuotaRequest{}))
			if err != nil || !watch.Receive() {
				t.Fatal(err, watch.Err())
			}
			cancel()
			eventually(t, "the stream ends", func() bool { return r.server.edge.active.Load() == 0 })
			_ = watch.Close()
		})
	}
}

// TestHTTPStreamThatIsNotRead ends a stream whose caller reads nothing.
func TestHTTPStreamThatIsNotRead(t *testing.T) {
	up := &fakeUpstream{}
	for i := range 200 {
		u := userAt(i, int64(i))
		u.PublicMetadataJson = `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
		up.users = append(up.users, u)
	}
	r := start(t, Config{Users: up, Quota: up, SendTimeout: 200 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.httpURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST "+streamPath+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\nContent-Length: 7\r\n\r\n\x00\x00\x00\x00\x02{}")
	eventually(t, "the stream begins", func() bool { return len(up.asked()) > 0 })
	eventually(t, "the stream ends", func() bool { return r.server.edge.active.Load() == 0 })
	eventually(t, "the outbox is empty", func() bool { return r.server.edge.outbox.bytes() == 0 })
}

// TestHTTPAnswerIsFreed leaves nothing in the outbox after answers in bytes and JSON.
func TestHTTPAnswerIsFreed(t *testing.T) {
	u := userAt(0, 1)
	u.PublicMetadataJson = `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
	up := &fakeUpstream{users: []*clerkgatev1.User{u}}
	r := start(t, Config{Users: up, Quota: up})
	for name, p := range protocols {
		c := httpClient(t, p.h2c, nil)
		if _, err := callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, c, r.httpURL, getUserPath, &clerkgatev1.GetUserRequest{UserId: u.Id}, nil, p.options...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "the outbox is empty", func() bool { return r.server.edge.outbox.bytes() == 0 })
	i := r.server.calls.intake
	eventually(t, "the intake is empty", func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.all == load{} && len(i.from) == 0
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestSlowHTTPBody bounds the time of a body, with an error in Connect's form.
func TestSlowHTTPBody(t *testing.T) {
	body := &callBody{ReadCloser: io.NopCloser(iotest.ErrReader(os.ErrDeadlineExceeded)), intake: newIntake(1, 1)}
	_, err := body.Read(make([]byte, 1))
	ce := new(connect.Error)
	if !errors.As(err, &ce) || ce.Meta().Get("clerkgate-reason") != "INVALID_ARGUMENT" || !strings.Contains(ce.Message(), "within") {
		t.Errorf("%v", err)
	}
}

// TestIntake bounds calls and bytes, of one address and of all.
func TestIntake(t *testing.T) {
	a, b := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	i := newIntake(4, 100)
	for _, tt := range []struct {
		address      netip.Prefix
		calls, bytes int
		want         error
	}{
		{a, 2, 50, nil}, {a, 1, 0, errCallerIntake}, {a, 0, 1, errCallerIntake},
		{b, 2, 49, nil}, {netip.Prefix{}, 0, 2, errIntakeFull}, {netip.Prefix{}, 1, 0, errIntakeFull}, {netip.Prefix{}, 0, 1, nil},
	} {
		if err := i.add(tt.address, tt.calls, tt.bytes); !errors.Is(err, tt.want) {
			t.Errorf("%v %d %d: %v, want %v", tt.address, tt.calls, tt.bytes, err, tt.want)
		}
	}
	i.remove(a, 2, 50)
	i.remove(b, 2, 49)
	i.remove(netip.Prefix{}, 0, 1)
	if i.all != (load{}) || len(i.from) > 0 {
		t.Errorf("left: %+v, %v", i.all, i.from)
	}
}

// FuzzFrame wants no panic and no answer to what is no message, and each request that
// can be read to mean the same in JSON.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"userId": "user_a", "view": "USER_VIEW_FULL", "maxAge": "0s"}`), true)
	f.Add([]byte("\n\x06user_a"), false)
	f.Fuzz(func(t *testing.T, b []byte, asJSON bool) {
		in := &frame{request: &clerkgatev1.GetUserRequest{}}
		if err := (frameCodec{json: asJSON}).Unmarshal(b, in); err != nil {
			t.Fatal(err)
		}
		if in.fault != nil {
			if m := classify(in.fault).message; len(m) > 300 {
				t.Errorf("%d bytes of message", len(m))
			}
			return
		}
		text, err := (frameCodec{json: true}).Marshal(&frame{answer: in.request})
		if err != nil {
			return // a time out of range, or a field that JSON has no form for
		}
		again := &frame{request: &clerkgatev1.GetUserRequest{}}
		if err := (frameCodec{json: true}).Unmarshal(text, again); err != nil || again.fault != nil {
			t.Fatal(err, again.fault)
		}
		again.request.ProtoReflect().SetUnknown(in.request.ProtoReflect().GetUnknown())
		if asJSON && !proto.Equal(in.request, again.request) {
			t.Errorf("%v, then %v", in.request, again.request)
		}
	})
}

// FuzzHTTPCall sends any header and body to a method, and wants an answer in a form of
// Connect's.
func FuzzHTTPCall(f *testing.F) {
	f.Add(getUserPath, "application/json", "Connect-Timeout-Ms", "5", []byte(`{"userId": "user_a"}`))
	f.Add(streamPath, "application/connect+json", "Content-Encoding", "gzip", []byte("\x00\x00\x00\x00\x02{}"))
	up := &fakeUpstream{users: usersAt(1)}
	s := New(Config{Users: up, Quota: up, Logger: slog.New(slog.DiscardHandler)})
	h := s.probes()
	f.Fuzz(func(t *testing.T, path, contentType, key, value string, body []byte) {
		if !strings.HasPrefix(path, "/clerkgate.v1.") || strings.Contains(path, "Watch") {
			path = getUserPath
		}
		r := httptest.NewRequest(http.MethodPost, "http://x/", bytes.NewReader(body))
		r.URL.Path = path
		r.Header.Set("Content-Type", contentType)
		r.Header.Set(key, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		if s.Panics() > 0 {
			t.Error("a panic")
		}
	})
}

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
