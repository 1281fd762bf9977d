package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rename replaces the prefix of headers with that of Standard Webhooks.
func rename(h http.Header, names ...string) {
	for _, name := range names {
		h.Set("webhook-"+name, h.Get("svix-"+name))
		h.Del("svix-" + name)
	}
}

func TestRefusals(t *testing.T) {
	good := eventText("user.deleted", `{"id":"user_1"}`, "")
	key := secret("a")
	sign := func(body string) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request { return signed(t, key, "msg_1", body) }
	}
	at := func(d time.Duration) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request { return signedAt(t, key, "msg_1", good, time.Now().Add(d)) }
	}
	// with returns a valid request whose header was changed.
	with := func(change func(http.Header)) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			r := signed(t, key, "msg_1", good)
			change(r.Header)
			return r
		}
	}
	id := func(id string) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request { return signed(t, key, id, good) }
	}
	for _, tt := range []struct {
		name    string
		secrets string
		request func(t *testing.T) *http.Request
		status  int
		outcome Outcome // empty: not refused
	}{
		{"good", key, sign(good), 204, ""},
		{"the old secret", secret("b") + ",\n" + key, sign(good), 204, ""},
		{"the new secret", key + " " + secret("b"), sign(good), 204, ""},
		{"several signatures", key, with(func(h http.Header) {
			h.Set("svix-signature", "v1a,xx v1,AAAA "+h.Get("svix-signature"))
		}), 204, ""},
		{"the longest id", key, id(strings.Repeat("m", 256)), 204, ""},
		{"signed a while ago", key, at(-290 * time.Second), 204, ""},
		{"signed a little ahead", key, at(290 * time.Second), 204, ""},
		{"signed long ago", key, at(-302 * time.Second), 400, Stale},
		{"signed far ahead", key, at(302 * time.Second), 400, Stale},
		{"signed at the end of time", key, func(t *testing.T) *http.Request {
			return signedAt(t, key, "msg_1", good, time.Unix(1<<62, 0))
		}, 400, Stale},
		{"another secret", secret("b"), sign(good), 401, Forged},
		{"long ago with another secret", secret("b"), at(-time.Hour), 401, Forged},
		{"another id", key, with(func(h http.Header) { h.Set("svix-id", "msg_2") }), 401, Forged},
		{"another time", key, with(func(h http.Header) {
			h.Set("svix-timestamp", strconv.FormatInt(time.Now().Unix()-1, 10))
		}), 401, Forged},
		{"another body", key, func(t *testing.T) *http.Request {
			r := signed(t, key, "msg_1", good)
			r.Body = http.NoBody
			return r
		}, 401, Forged},
		{"a signature that is none", key, with(func(h http.Header) { h.Set("svix-signature", "v1") }), 401, Forged},
		{"an empty signature", key, with(func(h http.Header) { h.Set("svix-signature", "") }), 401, Forged},
		{"no signature", key, with(func(h http.Header) { h.Del("svix-signature") }), 400, Malformed},
		{"no time", key, with(func(h http.Header) { h.Del("svix-timestamp") }), 400, Malformed},
		{"no id", key, with(func(h http.Header) { h.Del("svix-id") }), 400, Malformed},
		{"an empty id", key, with(func(h http.Header) { h.Set("svix-id", "") }), 400, Malformed},
		{"two ids", key, with(func(h http.Header) { h.Add("svix-id", "msg_1") }), 400, Malformed},
		{"two times", key, with(func(h http.Header) { h.Add("svix-timestamp", h.Get("svix-timestamp")) }), 400, Malformed},
		{"two signatures", key, with(func(h http.Header) { h.Add("svix-signature", h.Get("svix-signature")) }), 400, Malformed},
		{"a time that is no number", key, with(func(h http.Header) { h.Set("svix-timestamp", "now") }), 400, Malformed},
		{"names of Standard Webhooks", key, with(func(h http.Header) { rename(h, "id", "timestamp", "signature") }), 204, ""},
		{"both names, of which Svix's count", key, with(func(h http.Header) {
			for _, name := range headerNames {
				h.Set("webhook-"+name, "x")
			}
		}), 204, ""},
		{"names of both, mixed", key, with(func(h http.Header) { rename(h, "id") }), 400, Malformed},
		{"names of Standard Webhooks, no signature", key, with(func(h http.Header) {
			rename(h, headerNames...)
			h.Del("webhook-signature")
		}), 400, Malformed},
		{"names of Standard Webhooks, an empty signature of Svix's", key, with(func(h http.Header) {
			rename(h, headerNames...)
			h.Set("svix-signature", "")
		}), 400, Malformed},
		{"names of Standard Webhooks, another id", key, with(func(h http.Header) {
			rename(h, headerNames...)
			h.Set("webhook-id", "msg_2")
		}), 401, Forged},
		{"names of Standard Webhooks, another secret", secret("b"), with(func(h http.Header) { rename(h, headerNames...) }), 401, Forged},
		{"an id too long", key, id(strings.Repeat("m", 257)), 400, Malformed},
		{"an id with a space", key, id("msg 1"), 400, Malformed},
		{"an id beyond ASCII", key, id("msg_é"), 400, Malformed},
		{"an id that could be more", key, id("msg_1.1716883200"), 400, Malformed},
		{"nothing", key, sign(""), 400, Malformed},
		{"no JSON", key, sign("type=user.deleted"), 400, Malformed},
		{"more than JSON", key, sign(good + "x"), 400, Malformed},
		{"a list", key, sign("[]"), 400, Malformed},
		{"no type", key, sign(`{"data":{"id":"user_1"}}`), 400, Malformed},
		{"a type that is no text", key, sign(`{"type":7}`), 400, Malformed},
		{"nested too deep", key, sign(eventText("x", strings.Repeat("[", 20000)+strings.Repeat("]", 20000), "")), 400, Malformed},
		{"the largest body", key, sign(good + strings.Repeat(" ", maxBody-len(good))), 204, ""},
		{"a larger body", key, sign(good + strings.Repeat(" ", maxBody-len(good)+1)), 413, Malformed},
		{"no secret", "", sign(good), 500, Failed},
		{"blank secrets", " ,\n", sign(good), 500, Failed},
		{"a bad secret beside a good one", key + " whsec_x", sign(good), 500, Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &recorder{}
			h := handler(s, tt.secrets)
			if w := serve(h, tt.request(t)); w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if tt.outcome == "" {
				wantStats(t, h, map[Count]int64{{userDeleted, Applied}: 1})
				return
			}
			wantStats(t, h, map[Count]int64{{otherKind, tt.outcome}: 1})
			if len(s.calls) != 0 {
				t.Errorf("the sink was told %q", s.calls)
			}
		})
	}
}

// TestElsewhere: requests with another path or method are refused, counted and logged, in
// few short lines.
func TestElsewhere(t *testing.T) {
	var log bytes.Buffer
	h := New(Config{Secret: func() string { return secret("a") }, Sink: &recorder{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	send := func(method, path string) *httptest.ResponseRecorder {
		r := signed(t, secret("a"), "msg_1", eventText("user.deleted", `{"id":"user_1"}`, ""))
		r.Method, r.URL.Path = method, path
		return serve(h, r)
	}
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{http.MethodPost, "/api/webhooks?sk_live_hidden" + strings.Repeat("x", 2000), 404, ""},
		{http.MethodPost, "/", 404, ""},
		{http.MethodPost, Path + "//", 404, ""},
		{http.MethodPost, Path + "/x", 404, ""},
		{http.MethodGet, "/metrics", 404, ""},
		{http.MethodGet, Path, 405, "POST"},
		{http.MethodPut, Path, 405, "POST"},
		{http.MethodGet, Path + "/", 405, "POST"},
	} {
		if w := send(tt.method, tt.path); w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: status %d, Allow %q", tt.method, tt.path, w.Code, w.Header().Get("Allow"))
		}
	}
	wantStats(t, h, map[Count]int64{{otherKind, Misdirected}: 8})
	lines := strings.SplitAfter(log.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "/api/webhooks") || !strings.Contains(lines[1], "level=INFO") {
		t.Errorf("logged:\n%s", &log)
	}
	if strings.Contains(log.String(), "hidden") || log.Len() > 1000 {
		t.Errorf("too much is logged:\n%s", &log)
	}

	if w := send(http.MethodPost, Path+"/"); w.Code != http.StatusNoContent {
		t.Errorf("with a slash behind the path: status %d", w.Code)
	}
	wantStats(t, h, map[Count]int64{{otherKind, Misdirected}: 8, {userDeleted, Applied}: 1})
}

// webhookVariable is a variable name before a secret.
const webhookVariable = "CLERK_WEBHOOK_SIGNING_SECRET"

func TestCheckSecret(t *testing.T) {
	for text, ok := range map[string]bool{
		secret("a"):                             true,
		secret("a") + "," + secret("b"):         true,
		"\n" + secret("a") + "\t ":              true,
		"":                                      false,
		" , ":                                   false,
		"whsec_":                                false,
		"changeme":                              false,
		"whsec_changeme":                        false,
		`"` + secret("a") + `"`:                 false,
		"'" + secret("a") + "', " + secret("b"): false,
		"\ufeff" + secret("a"):                  false,
		webhookVariable + "=" + secret("a"):     false,
		strings.TrimPrefix(secret("a"), "wh"):   false,
		"whsec_" + strings.Repeat("!", 32):      false,
		secret("a") + " sk_test_" + "abcdefghijklmnopqrstuvwx": false,
	} {
		err := CheckSecret(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want good %v", text, err, ok)
		}
		if err != nil {
			for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
				if len(part) > len(secretPrefix) && strings.Contains(err.Error(), part) {
					t.Errorf("the error shows the secret: %v", err)
				}
			}
		}
	}
}

// TestLog: problems are logged at most once per ten seconds and kind; secrets and bodies
// never are.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &recorder{fail: map[string]error{"deleted": errors.New("refused: whsec_hidden sk_live_hidden")}}
		secrets := secret("a")
		h := New(Config{Secret: func() string { return secrets }, Sink: s, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		round := func() {
			for range 5 {
				serve(h, signed(t, secret("b"), "msg_forged", `{"type":"user.deleted","x":"private"}`))
				serve(h, signed(t, secret("a"), "msg_failed", eventText("user.deleted", `{"id":"user_1"}`, `,"x":"private"`)))
			}
		}
		round()
		time.Sleep(logInterval)
		round()
		if n := strings.Count(log.String(), "\n"); n != 4 {
			t.Errorf("%d lines:\n%s", n, &log)
		}
		time.Sleep(logInterval)
		secrets = "whsec_changeme"
		round()
		for _, part := range []string{"svix_id=msg_forged", "svix_id=msg_failed", "[redacted]", "the webhook signing secret can't be used"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("%q is missing", part)
			}
		}
		for _, part := range []string{"private", "hidden", "changeme", strings.TrimPrefix(secret("a"), secretPrefix)} {
			if strings.Contains(log.String(), part) {
				t.Errorf("%q is logged", part)
			}
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

// TestSlowSink: an event is answered before Clerk stops waiting, and is sent again.
func TestSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(&recorder{hang: true}, secret("a"))
		began := time.Now()
		w := serve(h, signed(t, secret("a"), "msg_1", eventText("user.deleted", `{"id":"user_1"}`, "")))
		if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != handleTimeout {
			t.Errorf("status %d after %v", w.Code, took)
		}
	})
}

// pipes is a listener whose connections are pipes.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// exchange posts to h over a connection: the header, and each part of a body of the given
// length after a pause. It returns the status and when it arrived.
func exchange(t *testing.T, h http.Handler, header http.Header, length int, pause time.Duration, parts ...string) (status int, took time.Duration) {
	t.Helper()
	listener := make(pipes, 1)
	server := &http.Server{Handler: h, WriteTimeout: time.Second} // less than an event may take
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with the listener
	}()
	ours, theirs := net.Pipe()
	listener <- theirs
	began := time.Now()
	go func() {
		fmt.Fprintf(ours, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", Path, length)
		_ = header.Write(ours)
		fmt.Fprint(ours, "\r\n")
		for _, part := range parts {
			time.Sleep(pause)
			fmt.Fprint(ours, part) // fails when the server has closed the connection
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	ours.Close()
	close(listener)
	<-served
	server.Close()
	time.Sleep(time.Minute) // for the writer to end
	return resp.StatusCode, took
}

func TestSlowBody(t *testing.T) {
	body := eventText("user.deleted", `{"id":"user_1"}`, "")
	halves := []string{body[:20], body[20:]}
	for _, tt := range []struct {
		name   string
		change func(http.Header)
		pause  time.Duration
		parts  []string
		status int
		took   time.Duration
	}{
		{"in time", nil, 2 * time.Second, halves, 204, 4 * time.Second},
		{"too slow", nil, 3 * time.Second, halves, 408, bodyTimeout},
		{"never whole", nil, 0, halves[:1], 408, bodyTimeout},
		// Refused at once, without waiting for the body.
		{"unwanted and never whole", func(h http.Header) { h.Del("svix-id") }, 0, halves[:1], 400, bodyTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				header := signed(t, secret("a"), "msg_1", body).Header
				if tt.change != nil {
					tt.change(header)
				}
				status, took := exchange(t, handler(&recorder{}, secret("a")), header, len(body), tt.pause, tt.parts...)
				if status != tt.status || took > tt.took {
					t.Errorf("status %d after %v, want %d after %v", status, took, tt.status, tt.took)
				}
			})
		})
	}
}

// TestSlowSinkBehindFastBody: the time limit of the body does not apply to the sink.
func TestSlowSinkBehindFastBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := eventText("user.deleted", `{"id":"user_1"}`, "")
		header := signed(t, secret("a"), "msg_1", body).Header
		status, took := exchange(t, handler(&recorder{hang: true}, secret("a")), header, len(body), 0, body)
		if status != http.StatusServiceUnavailable || took != handleTimeout {
			t.Errorf("status %d after %v", status, took)
		}
	})
}
