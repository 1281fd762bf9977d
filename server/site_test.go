package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// defaults are the limits of a server that is given none.
var defaults = DefaultConfig().Limits

// TestSlowHTTPClients: whatever a client sends late or does not read, its connection
// ends, at every path and with every method.
func TestSlowHTTPClients(t *testing.T) {
	head := func(method, path string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", method, path)
	}
	for _, tt := range []struct {
		name, sent string
		within     time.Duration
	}{
		{"nothing", "", httpHeaderTimeout},
		{"half a header", "GET /healthz HTTP/1.1\r\nHost:", httpHeaderTimeout},
		{"no body, elsewhere", head("POST", "/x"), defaults.ReadTimeout},
		{"no body, to the webhook's path", head("PUT", "/webhooks/clerk"), defaults.ReadTimeout},
		{"no body, to /healthz", head("POST", "/healthz"), defaults.ReadTimeout},
		{"no body of a GET", head("GET", "/healthz"), defaults.ReadTimeout},
		{"no body of a GET of metrics", head("GET", "/metrics"), defaults.ReadTimeout},
		{"half a body", head("POST", "/x") + "12345", defaults.ReadTimeout},
		{"half of a chunked body", "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12", defaults.ReadTimeout},
		{"an idle connection", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", defaults.HTTPIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := &fakeUpstream{}
				s := New(Config{Users: up, Quota: up, Metrics: prometheus.NewRegistry()})
				conn := serveHTTPInBubble(t, s.probes())
				began := time.Now()
				if _, err := io.WriteString(conn, tt.sent); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took > tt.within {
					t.Errorf("the connection ended after %v, want %v at most", took, tt.within)
				}
			})
		})
	}
}

// TestHTTPAnswerThatIsNotRead: a client that does not read its answer is disconnected.
func TestHTTPAnswerThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		conn := serveHTTPInBubble(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
			ended <- time.Now()
		}))
		began := time.Now()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if took := (<-ended).Sub(began); took > defaults.writeTimeout() {
			t.Errorf("the handler ended after %v", took)
		}
	})
}

// TestHTTPHandlerWithItsOwnDeadlines: a handler that streams can continue as long as it
// wants.
func TestHTTPHandlerWithItsOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := serveHTTPInBubble(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			control := http.NewResponseController(w)
			for range 5 {
				_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
				_, _ = io.WriteString(w, "x")
				_ = control.Flush()
				time.Sleep(defaults.writeTimeout())
			}
		}))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "xxxxx" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// serveHTTPInBubble serves h like a site, and returns a connection to it. Both end with
// the test.
func serveHTTPInBubble(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	listener := make(pipeListener)
	server := newHTTPServer(h, defaults)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	conn, err := listener.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		<-served
	})
	return conn
}
