package clerkapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const countAnswer = `{"total_count":7}`

// certificate returns httptest's certificate for example.com, and a pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"h2"}}, roots
}

// serveConns serves the connections of a listener with serve until the test ends.
func serveConns(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// TestOneArrivalHTTP1: the server answers the first request on each connection and drops
// the second, which net/http would resend on another connection, whether reused or new.
func TestOneArrivalHTTP1(t *testing.T) {
	tests := []struct {
		name string
		kept int // connections
		drop func(net.Conn)
	}{
		{"closed, to a new connection", 1, func(net.Conn) {}},
		{"closed, to a kept connection", 2, func(net.Conn) {}},
		{"reset, to a new connection", 1, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		{"reset, to a kept connection", 2, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var arrivals atomic.Int64
			meet := make(chan struct{})
			address := serveConns(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				for first := true; ; first = false {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					arrivals.Add(1)
					if !first {
						test.drop(conn)
						return
					}
					if test.kept == 2 { // answer only when there are two connections
						select {
						case meet <- struct{}{}:
						case <-meet:
						case <-t.Context().Done():
							return
						}
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"+countAnswer)
				}
			})
			for range 20 {
				client := clientOf(t, Config{BaseURL: "http://" + address})
				var calls sync.WaitGroup
				for range test.kept {
					calls.Go(func() {
						if _, err := client.CountUsers(t.Context(), nil); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				arrivals.Store(0)
				_, err := client.CountUsers(t.Context(), nil)
				wantError(t, err, ErrUnavailable, false)
				client.CloseIdleConnections()
				if n := arrivals.Load(); n != 1 {
					t.Fatalf("%d arrivals of one request", n)
				}
			}
		})
	}
}

// h2Conn is the server's side of an HTTP/2 connection, frame by frame.
type h2Conn struct {
	*http2.Framer
	t *testing.T
}

// serveH2 reads a connection and calls request for the headers of each request. It
// answers pings as long as alive returns true.
func serveH2(t *testing.T, conn net.Conn, cfg *tls.Config, alive func() bool, request func(c h2Conn, stream uint32)) {
	secure := tls.Server(conn, cfg)
	if _, err := io.ReadFull(secure, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	c := h2Conn{http2.NewFramer(secure, secure), t}
	_ = c.WriteSettings()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if alive() && !f.IsAck() {
				_ = c.WritePing(true, f.Data)
			}
		case *http2.HeadersFrame:
			if !f.StreamEnded() {
				t.Error("a request without a body has one")
			}
			request(c, f.StreamID)
		}
	}
}

func (c h2Conn) answer(stream uint32) {
	var block bytes.Buffer
	if err := hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"}); err != nil {
		c.t.Error(err)
	}
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = c.WriteData(stream, true, []byte(countAnswer))
}

func always() bool { return true }

// TestOneArrivalHTTP2: the server reports that it has not processed a request, which
// net/http would resend.
func TestOneArrivalHTTP2(t *testing.T) {
	tests := []struct {
		name   string
		refuse func(c h2Conn, stream uint32)
	}{
		{"REFUSED_STREAM", func(c h2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeRefusedStream) }},
		{"PROTOCOL_ERROR", func(c h2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeProtocol) }},
		{"GOAWAY", func(c h2Conn, stream uint32) { _ = c.WriteGoAway(stream-1, http2.ErrCodeNo, nil) }},
	}
	cfg, roots := certificate(t)
	for _, test := range tests {
		for _, kept := range []bool{false, true} {
			name := test.name + ", new"
			if kept {
				name = test.name + ", kept"
			}
			t.Run(name, func(t *testing.T) {
				var arrivals atomic.Int64
				var refusing atomic.Bool
				address := serveConns(t, func(conn net.Conn) {
					serveH2(t, conn, cfg, always, func(c h2Conn, stream uint32) {
						arrivals.Add(1)
						if refusing.Load() {
							test.refuse(c, stream)
							return
						}
						c.answer(stream)
					})
				})
				var dialer net.Dialer
				client := clientOf(t, Config{BaseURL: "https://example.com", RootCAs: roots, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return dialer.DialContext(ctx, "tcp", address)
				}})
				if kept {
					if _, err := client.CountUsers(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
				}
				refusing.Store(true)
				arrivals.Store(0)
				_, err := client.CountUsers(t.Context(), nil)
				wantError(t, err, ErrUnavailable, false)
				if n := arrivals.Load(); n != 1 {
					t.Errorf("%d arrivals of one request", n)
				}
				refusing.Store(false)
				if _, err := client.CountUsers(t.Context(), nil); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

// TestDeadConnection: a request on a connection that became silent fails within 5
// seconds, and the next one uses another connection.
func TestDeadConnection(t *testing.T) {
	cfg, roots := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		dials := 0
		client := clientOf(t, Config{BaseURL: "https://example.com", RootCAs: roots, DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials++
			near, far := net.Pipe()
			first := dials == 1
			go func() {
				conn := buffered(far)
				defer conn.Close()
				serveH2(t, conn, cfg, func() bool { return !first || !dead.Load() }, func(c h2Conn, stream uint32) {
					if !first || !dead.Load() {
						c.answer(stream)
					}
				})
			}()
			return near, nil
		}})
		if _, err := client.CountUsers(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		dead.Store(true)
		start := time.Now()
		_, err := client.CountUsers(t.Context(), nil)
		wantError(t, err, ErrUnavailable, false)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if _, err := client.CountUsers(t.Context(), nil); err != nil || dials != 2 {
			t.Errorf("afterwards: %v, %d dials", err, dials)
		}
	})
}

// bufferedConn accepts writes at once, as a socket does and a pipe does not.
type bufferedConn struct {
	net.Conn
	writes chan []byte
}

func buffered(conn net.Conn) net.Conn {
	c := bufferedConn{conn, make(chan []byte, 64)}
	go func() {
		for p := range c.writes {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	}()
	return c
}

func (c bufferedConn) Close() error {
	close(c.writes)
	return c.Conn.Close()
}

func (c bufferedConn) Write(p []byte) (int, error) {
	c.writes <- bytes.Clone(p)
	return len(p), nil
}

// TestConnectionsAreKept sends 64 requests at once, twice, after a single one.
func TestConnectionsAreKept(t *testing.T) {
	const inFlight = 64
	tests := []struct {
		name  string
		major int
		want  int64 // connections
	}{
		{"HTTP/1.1", 1, inFlight},
		{"HTTP/2", 2, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var conns atomic.Int64
			arrived, release := make(chan struct{}), make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != test.major {
					t.Errorf("got %s", r.Proto)
				}
				arrived <- struct{}{}
				<-release
				_, _ = io.WriteString(w, countAnswer)
			}))
			server.EnableHTTP2 = test.major == 2
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			server.StartTLS()
			defer server.Close()
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			client := clientOf(t, Config{BaseURL: server.URL, RootCAs: roots})
			for _, n := range []int{1, inFlight, inFlight} {
				var calls sync.WaitGroup
				for range n {
					calls.Go(func() {
						if _, err := client.CountUsers(t.Context(), nil); err != nil {
							t.Error(err)
						}
					})
				}
				for range n {
					<-arrived
				}
				for range n {
					release <- struct{}{}
				}
				calls.Wait()
			}
			if got := conns.Load(); got != test.want {
				t.Errorf("%d connections, want %d", got, test.want)
			}
		})
	}
}
