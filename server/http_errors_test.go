package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"connectrpc.com/connect"
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

// TestSlowHTTPBody bounds the time of a body, with an error in Connect's form.
func TestSlowHTTPBody(t *testing.T) {
	body := &callBody{ReadCloser: io.NopCloser(iotest.ErrReader(os.ErrDeadlineExceeded)), intake: newIntake(1, 1)}
	_, err := body.Read(make([]byte, 1))
	ce := new(connect.Error)
	if !errors.As(err, &ce) || ce.Meta().Get("clerkgate-reason") != "INVALID_ARGUMENT" || !strings.Contains(ce.Message(), "within") {
		t.Errorf("%v", err)
	}
}
