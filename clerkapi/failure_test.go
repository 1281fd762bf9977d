package clerkapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestStatuses(t *testing.T) {
	const notFound = `{"errors":[{"message":"not found","long_message":"No user was found","code":"resource_not_found"}],"clerk_trace_id":"trace2"}`
	const html = `<html>Cloudflare</html>`
	tests := []struct {
		name     string
		status   int
		body     string
		want     error
		codes    []string
		message  string
		trace    string
		callsAll bool // LookupUsers of one id returns the same
	}{
		{"400", 400, `{"errors":[{"message":"bad","code":"form_param_format_invalid"}]}`, ErrRejected, []string{"form_param_format_invalid"}, "bad", "", true},
		{"413", 413, html, ErrRejected, nil, html, "", true},
		{"414", 414, ``, ErrRejected, nil, "", "", true},
		{"422", 422, `{"errors":[{"code":"a"},{"code":"b","long_message":"two"}]}`, ErrRejected, []string{"a", "b"}, "two", "", true},
		{"401", 401, `{"errors":[{"message":"The key sk_test_abcdefgh is wrong","code":"clerk_key_invalid"}]}`, ErrKeyRejected, []string{"clerk_key_invalid"}, "The key [redacted] is wrong", "", true},
		{"401 of Clerk's", 401, `{"errors":[{"code":"authentication_invalid"}]}`, ErrKeyRejected, []string{"authentication_invalid"}, "", "", true},
		{"401 of somebody's", 401, html, ErrKeyRejected, nil, html, "", true},
		{"401 with another code", 401, `{"errors":[{"code":"resource_forbidden"}]}`, ErrRefused, []string{"resource_forbidden"}, "", "", true},
		{"403 about the key", 403, `{"errors":[{"code":"authorization_invalid"}]}`, ErrKeyRejected, []string{"authorization_invalid"}, "", "", true},
		{"400 about the key", 400, `{"errors":[{"code":"clerk_key_invalid"}]}`, ErrKeyRejected, []string{"clerk_key_invalid"}, "", "", true},
		{"403 of Clerk's", 403, `{"errors":[{"code":"organization_not_enabled_in_instance"}]}`, ErrRefused, []string{"organization_not_enabled_in_instance"}, "", "", true},
		{"403 of a CDN", 403, html, ErrRefused, nil, html, "", true},
		{"402", 402, `{}`, ErrPlanLimit, nil, "{}", "", true},
		{"404 of Clerk's", 404, notFound, ErrNotFound, []string{"resource_not_found"}, "No user was found", "trace2", false},
		{"404 of somebody's", 404, html, ErrRefused, nil, html, "", true},
		{"404 with another code", 404, `{"errors":[{"code":"route_not_found"}]}`, ErrRefused, []string{"route_not_found"}, "", "", true},
		{"408", 408, ``, ErrUnavailable, nil, "", "", true},
		{"421", 421, ``, ErrUnavailable, nil, "", "", true},
		{"429", 429, html, ErrRateLimited, nil, html, "", true},
		{"500", 500, `{"errors":"down"}`, ErrUnavailable, nil, `{"errors":"down"}`, "", true},
		{"502 with a key in it", 502, "<p>\nsk_live_abcdefgh</p>\x1b", ErrUnavailable, nil, "<p> [redacted]", "", true},
		{"503", 503, `{"errors":[null,{"code":"service_unavailable"}]}`, ErrUnavailable, []string{"service_unavailable"}, "", "", true},
		{"599", 599, ``, ErrUnavailable, nil, "", "", true},
		{"201", 201, `[]`, ErrBadAnswer, nil, "[]", "", true},
		{"204", 204, ``, ErrBadAnswer, nil, "", "", true},
		{"301", 301, ``, ErrBadAnswer, nil, "", "", true},
		{"304", 304, ``, ErrBadAnswer, nil, "", "", true},
		{"405", 405, html, ErrRefused, nil, html, "", true},
		{"409", 409, ``, ErrRefused, nil, "", "", true},
		{"418", 418, ``, ErrRefused, nil, "", "", true},
		{"425", 425, ``, ErrRefused, nil, "", "", true},
		{"431", 431, ``, ErrRejected, nil, "", "", true},
		{"451", 451, ``, ErrRefused, nil, "", "", true},
		{"499", 499, ``, ErrRefused, nil, "", "", true},
		{"codes that are none", 422, `{"errors":[{"code":"a b"},{"code":"sk_live_x"},{"code":"ok","message":"a\nb\u001b"}]}`, ErrRejected, []string{"ok"}, "a b", "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "/v1/elsewhere")
				w.Header().Set("X-RateLimit-Limit", "100")
				w.Header().Set("X-RateLimit-Remaining", "0")
				w.Header().Set("X-RateLimit-Reset", "6")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := client.ListUsers(t.Context(), ListParams{Limit: 1})
			e := wantError(t, err, test.want, false)
			want := Error{
				Kind: test.want, Status: test.status, Codes: test.codes, Message: test.message, RetryAfter: 7 * time.Second,
				Meta: Meta{TraceID: test.trace, RateLimit: RateLimit{true, 100, 0, 6 * time.Second}, Answered: e.Meta.Answered},
			}
			if e.Meta.Answered.IsZero() {
				t.Error("it is not known when the answer came")
			}
			if diff := cmp.Diff(want, *e, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			l, err := client.LookupUsers(t.Context(), []string{"user_a"})
			if test.callsAll {
				wantError(t, err, test.want, false)
			} else if err != nil || !slices.Equal(found(l), []string{"none"}) || l.Meta.TraceID != test.trace {
				t.Errorf("lookup: %+v, %v", l, err)
			}
			if requests != 2 {
				t.Errorf("%d requests for 2 calls", requests)
			}
		})
	}
}

func TestErrorBodiesAreBounded(t *testing.T) {
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		t.Error("all of a huge body was read")
	})
	_, err := client.CountUsers(t.Context(), nil)
	wantError(t, err, ErrUnavailable, false)
}

func TestBodiesAreBounded(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			text := []byte(`{"total_count":7}` + strings.Repeat(" ", 83))
			if zipped {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer z.Close()
				_, _ = z.Write(text)
				return
			}
			_, _ = w.Write(text)
		}))
		defer server.Close()
		for _, limit := range []int64{99, 100} {
			client := clientOf(t, Config{BaseURL: server.URL, MaxBodyBytes: limit})
			count, err := client.CountUsers(t.Context(), nil)
			if limit == 100 {
				if err != nil || count.Total != 7 {
					t.Errorf("zipped %v: %v", zipped, err)
				}
				continue
			}
			wantError(t, err, ErrTooLarge, false)
			if !strings.Contains(err.Error(), "larger than 99 bytes") {
				t.Errorf("zipped %v: %v", zipped, err)
			}
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"total_count":7}`))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, answer string
		want         error
	}{
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"total_count\":7}", ErrBadAnswer},
		{"cut off between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"total_count\":7}\r\n", ErrBadAnswer},
		{"gzip cut off", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + zipped.String()[:zipped.Len()-4], ErrBadAnswer},
		{"no gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n{\"total_count\":7}", ErrBadAnswer},
		{"nothing", "", ErrUnavailable},
		{"no HTTP", "sk_live_abcdefgh\r\n\r\n", ErrUnavailable},
		{"headers cut off", "HTTP/1.1 200 OK\r\nContent-", ErrUnavailable},
		{"headers too large", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 128<<10), ErrUnavailable},
		{"whole", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + zipped.String(), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, test.answer)
				_ = conn.Close()
			})
			_, err := client.CountUsers(t.Context(), nil)
			if test.want != nil {
				wantError(t, err, test.want, false)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingSent(t *testing.T) {
	refused := errors.New("refused by sk_test_abcdefgh\n")
	tests := []struct {
		name string
		dial dialFunc
	}{
		{"dial fails", func(context.Context, string, string) (net.Conn, error) { return nil, refused }},
		{"TLS fails", func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				_, _ = server.Read(make([]byte, 1))
				_ = server.Close()
			}()
			return client, nil
		}},
		{"dial times out as a context does", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := clientOf(t, Config{DialContext: test.dial})
			_, err := client.CountUsers(t.Context(), nil)
			wantError(t, err, ErrUnavailable, true)
		})
	}
	t.Run("no key", func(t *testing.T) {
		client, err := New(Config{Key: func() string { return "" }, DialContext: tests[0].dial})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CountUsers(t.Context(), nil)
		wantError(t, err, ErrKeyRejected, true)
	})
	t.Run("key that no header can hold", func(t *testing.T) {
		client, err := New(Config{Key: func() string { return testKey + "\n" }, DialContext: tests[0].dial})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CountUsers(t.Context(), nil)
		wantError(t, err, ErrUnavailable, true)
	})
	t.Run("context ended before", func(t *testing.T) {
		client := clientOf(t, Config{DialContext: tests[0].dial})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := client.CountUsers(ctx, nil)
		wantError(t, err, ErrAbandoned, true)
	})
}

// TestWaiting: the server, on an in-memory connection, reads the request, answers partly
// or not at all, and stays silent.
func TestWaiting(t *testing.T) {
	const part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
	tests := []struct {
		name   string
		answer string
		caller time.Duration // deadline of the caller; 0: none
		cancel time.Duration // when the caller leaves; 0: never
		want   error
		after  time.Duration
	}{
		{"own timeout", "", 0, 0, ErrUnavailable, 10 * time.Second},
		{"own timeout in the body", part, 0, 0, ErrUnavailable, 10 * time.Second},
		{"own timeout before the caller's", "", 11 * time.Second, 0, ErrUnavailable, 10 * time.Second},
		{"caller's deadline", "", 9 * time.Second, 0, ErrAbandoned, 9 * time.Second},
		{"caller's deadline in the body", part, 9 * time.Second, 0, ErrAbandoned, 9 * time.Second},
		{"caller leaves", "", 0, 3 * time.Second, ErrAbandoned, 3 * time.Second},
		{"caller leaves in the body", part, 0, 3 * time.Second, ErrAbandoned, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := clientOf(t, Config{BaseURL: "http://clerk.test", DialContext: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						defer far.Close()
						if _, err := far.Read(make([]byte, 64<<10)); err != nil {
							return
						}
						_, _ = io.WriteString(far, test.answer)
						_, _ = far.Read(make([]byte, 1))
					}()
					return near, nil
				}})
				ctx := t.Context()
				if test.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.caller)
					defer cancel()
				}
				if test.cancel > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer time.AfterFunc(test.cancel, cancel).Stop()
				}
				start := time.Now()
				_, err := client.CountUsers(ctx, nil)
				wantError(t, err, test.want, false)
				if test.want == ErrAbandoned && !errors.Is(err, ctx.Err()) {
					t.Errorf("got %v, want %v in it", err, ctx.Err())
				}
				if took := time.Since(start); took != test.after {
					t.Errorf("it took %v, want %v", took, test.after)
				}
			})
		})
	}
}

// TestWaitingToConnect: the caller leaves before there is a connection.
func TestWaitingToConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := clientOf(t, Config{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		_, err := client.CountUsers(t.Context(), nil)
		wantError(t, err, ErrUnavailable, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.CountUsers(ctx, nil)
		wantError(t, err, ErrAbandoned, true)
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add(422, []byte(`{"errors":[{"message":"a","long_message":"b sk_live_x","code":"c"}],"clerk_trace_id":"d"}`))
	f.Add(404, []byte(`{"errors":[{"code":"resource_not_found"}]}`))
	f.Add(503, []byte(`<html>`))
	f.Add(500, []byte("{\"errors\":[{\"message\":\"\xff\\ud800\\u0000\"}]}"))
	f.Fuzz(func(t *testing.T, status int, text []byte) {
		e := answerError(status, http.Header{}, text, time.Time{})
		if e.Kind == nil || len(e.Codes) > maxCodes {
			t.Errorf("kind %v, %d codes", e.Kind, len(e.Codes))
		}
		if n := utf8.RuneCountInString(e.Message); n > maxMessage+1 || !utf8.ValidString(e.Message) {
			t.Errorf("message of %d runes: %q", n, e.Message)
		}
		shown := e.Error() + " " + e.Message + " " + e.Meta.TraceID
		if strings.ContainsAny(shown, "\r\n\x00\x1b") || Redact(shown) != shown {
			t.Errorf("unfit text %q", shown)
		}
	})
}
