package server

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

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
		{"gzip bomb", "POST", getUserPath, bomb.String(), append([]string{"Content-Encoding", "gzip"}, asJSON...), 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"bad gzip", "POST", getUserPath, "{}", append([]string{"Content-Encoding", "gzip"}, asJSON...), 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"half of gzip", "POST", getUserPath, bomb.String()[:100], append([]string{"Content-Encoding", "gzip"}, asJSON...), 400, "invalid_argument", "INVALID_ARGUMENT"},
		{"no time", "POST", getUserPath, `{"userId": "user_0000"}`, append([]string{"Connect-Timeout-Ms", "0"}, asJSON...), 504, "deadline_exceeded", "DEADLINE_EXCEEDED"},
		{"bad timeout", "POST", getUserPath, `{}`, append([]string{"Connect-Timeout-Ms", "-1"}, asJSON...), 400, "invalid_argument", ""},
		{"unary call of a stream", "POST", streamPath, `{}`, asJSON, 415, "invalid_argument", "INVALID_ARGUMENT"},
		{"unary call of a stream, GET", "GET", streamPath, ``, asJSON, 405, "invalid_argument", "INVALID_ARGUMENT"},
		{"HEAD", "HEAD", getUserPath, ``, asJSON, 405, "", "INVALID_ARGUMENT"},
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

// TestSlowHTTPBody bounds the time of a body, with an error in Connect's form.
func TestSlowHTTPBody(t *testing.T) {
	body := &callBody{limits: defaults, ReadCloser: io.NopCloser(iotest.ErrReader(os.ErrDeadlineExceeded)), intake: newIntake(1, 1)}
	_, err := body.Read(make([]byte, 1))
	ce := new(connect.Error)
	if !errors.As(err, &ce) || ce.Meta().Get("clerkgate-reason") != "INVALID_ARGUMENT" || !strings.Contains(ce.Message(), "within") {
		t.Errorf("%v", err)
	}
}

// TestHTTPRefusalsAreCounted wants a metric and a line of the log for each call that does
// not reach its method, whoever has answered it.
func TestHTTPRefusalsAreCounted(t *testing.T) {
	up := &fakeUpstream{}
	registry := prometheus.NewRegistry()
	r := start(t, Config{Users: up, Quota: up, Metrics: registry})
	fill := func() { r.server.calls.intake.maxCalls = 0 }
	refused := map[string]int{}
	for _, tt := range []struct {
		name, path, body string
		header           []string
		want             string // the metric's labels
		before           func()
	}{
		{"other type", getUserPath, `{}`, []string{"Content-Type", "text/plain"}, "InvalidArgument GetUser unary", nil},
		{"a stream as a unary call", streamPath, `{}`, []string{"Content-Type", "application/json"}, "InvalidArgument StreamUsers server_stream", nil},
		{"a unary call as a stream", getUserPath, `{}`, []string{"Content-Type", "application/connect+json"}, "InvalidArgument GetUser unary", nil},
		{"from a web page", getUserPath, `{}`, []string{"Content-Type", "application/json", "Origin", "https://a.example"}, "PermissionDenied GetUser unary", nil},
		{"unknown compression", getUserPath, `{}`, []string{"Content-Type", "application/json", "Content-Encoding", "br"}, "InvalidArgument GetUser unary", nil},
		{"bad timeout", getUserPath, `{}`, []string{"Content-Type", "application/json", "Connect-Timeout-Ms", "-1"}, "InvalidArgument GetUser unary", nil},
		{"bad gzip", getUserPath, `{}`, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, "InvalidArgument GetUser unary", nil},
		{"half an envelope", streamPath, "\x00\x00\x00\x00\x09{}", []string{"Content-Type", "application/connect+json"}, "InvalidArgument StreamUsers server_stream", nil},
		{"two messages", streamPath, "\x00\x00\x00\x00\x02{}\x00\x00\x00\x00\x02{}", []string{"Content-Type", "application/grpc-web+json"}, "InvalidArgument StreamUsers server_stream", nil},
		{"a large body", getUserPath, strings.Repeat(" ", defaults.MaxRequestBytes+1), []string{"Content-Type", "application/json"}, "InvalidArgument GetUser unary", nil},
		{"no time", getUserPath, `{}`, []string{"Content-Type", "application/json", "Connect-Timeout-Ms", "0"}, "DeadlineExceeded GetUser unary", nil},
		{"too many calls", getUserPath, `{}`, []string{"Content-Type", "application/json"}, "ResourceExhausted GetUser unary", fill},
	} {
		if tt.before != nil {
			tt.before()
		}
		r.post(t, tt.path, tt.body, append(tt.header, requestIDKey, strings.ReplaceAll(tt.name, " ", "-"))...)
		refused[tt.want]++
		l := strings.Fields(tt.want)
		want := fmt.Sprintf(`grpc_server_handled_total{grpc_code="%s",grpc_method="%s",grpc_service="clerkgate.v1.UserService",grpc_type="%s"} %d`, l[0], l[1], l[2], refused[tt.want])
		eventually(t, tt.name+": "+want, func() bool {
			_, metrics := send(t, http.DefaultClient, http.MethodGet, r.httpURL+"/metrics", nil)
			return strings.Contains(metrics, want)
		})
		if log := r.log.String(); !strings.Contains(log, `"request_id":"`+strings.ReplaceAll(tt.name, " ", "-")+`"`) {
			t.Errorf("%s: no line in the log:\n%s", tt.name, log)
		}
	}
}

// TestGuardCountsStreamsAsStreams refuses a stream and a unary call of nobody's.
func TestGuardCountsStreamsAsStreams(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := startGuarded(t, Config{Metrics: registry})
	c := httpClient(t, false, &tls.Config{RootCAs: g.ca.Pool()})
	send(t, c, http.MethodPost, "https://"+g.at.HTTP.String()+streamPath, strings.NewReader("\x00\x00\x00\x00\x02{}"), "Content-Type", "application/connect+json")
	send(t, c, http.MethodPost, "https://"+g.at.HTTP.String()+getUserPath, strings.NewReader("{}"), "Content-Type", "application/json")
	_, metrics := send(t, c, http.MethodGet, "https://"+g.at.HTTP.String()+"/metrics", nil, "Authorization", "Bearer "+g.scrape)
	for _, labels := range []string{`grpc_method="StreamUsers",grpc_service="clerkgate.v1.UserService",grpc_type="server_stream"`,
		`grpc_method="GetUser",grpc_service="clerkgate.v1.UserService",grpc_type="unary"`} {
		if want := `grpc_server_handled_total{grpc_code="Unauthenticated",` + labels + `} 1`; !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
}
