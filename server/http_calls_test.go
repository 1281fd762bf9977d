package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/leaktest"
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
	return &http.Client{Transport: leaktest.Transport(httpTransport(t, h2, config))}
}

func httpTransport(t testing.TB, h2 bool, config *tls.Config) *http.Transport {
	transport := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	transport.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// httpClient returns a client that connects to the server, be it a port or a Unix socket.
func (r *running) httpClient(t testing.TB, h2c bool) *http.Client {
	transport := httpTransport(t, h2c, nil)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, r.httpAt.Network(), r.httpAt.String())
	}
	return &http.Client{Transport: leaktest.Transport(transport)}
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

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
