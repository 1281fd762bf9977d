package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

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
	s := New(Config{Users: up, Quota: up, Logger: leaktest.Logger(slog.DiscardHandler)})
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
