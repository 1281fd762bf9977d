package server

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// patience is how long a test waits for what its limits shorten to a second or less: a
// busy machine does not reach it.
const patience = time.Minute

// framed returns HTTP/2 as a client begins it, with the frames that write writes.
func framed(write func(*http2.Framer)) string {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&b, nil)
	_ = framer.WriteSettings()
	if write != nil {
		write(framer)
	}
	return b.String()
}

// headerBlock returns the header of a request.
func headerBlock(method, path, contentType string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "x"}, {":path", path}, {"content-type", contentType}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return block.Bytes()
}

// TestSlowClients sends parts of requests over real connections, and no more. Each
// connection ends, and meanwhile others are served.
func TestSlowClients(t *testing.T) {
	up := &fakeUpstream{users: usersAt(1)}
	r := start(t, Config{Users: up, Quota: up, Page: pageSources(), Limits: Limits{
		ReadTimeout: 200 * time.Millisecond, KeepaliveInterval: time.Second, KeepaliveTimeout: time.Second,
	}})
	post := func(path, contentType string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	}
	const message = "7\r\n\x00\x00\x00\x00\x02{}\r\n" // one chunk with an enveloped message
	watch, lookup := clerkgatev1.QuotaService_WatchQuota_FullMethodName, clerkgatev1.UserService_GetUser_FullMethodName
	half := func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("POST", lookup, "application/grpc")[:5]})
	}
	whole := func(contentType string) func(*http2.Framer) {
		return func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: headerBlock("POST", lookup, contentType)})
		}
	}
	grpcAt, httpAt := r.conn.Target(), r.httpAt.String()
	tests := []struct {
		name, address, sent string
		drip                string // is sent again and again
	}{
		{"HTTP/1.1: no header", httpAt, "", ""},
		{"HTTP/1.1: half a header", httpAt, "GET /healthz HTTP/1.1\r\nHost:", ""},
		{"HTTP/1.1: a header by the byte", httpAt, "GET /healthz HTTP/1.1\r\nHost:", "x"},
		{"HTTP/1.1: no body", httpAt, post(lookup, "application/json"), ""},
		{"HTTP/1.1: a message and no end", httpAt, post(lookup, "application/json") + "2\r\n{}\r\n", ""},
		{"HTTP/1.1: a body by the byte", httpAt, post(lookup, "application/json"), "1\r\n \r\n"},
		{"HTTP/1.1: gRPC-Web and no end", httpAt, post(lookup, "application/grpc-web+json") + message, ""},
		{"HTTP/1.1: a stream and no end", httpAt, post(watch, "application/connect+json") + message, ""},
		{"h2c: half a preface", httpAt, http2.ClientPreface[:10], ""},
		{"h2c: no settings", httpAt, http2.ClientPreface, ""},
		{"h2c: half a header", httpAt, framed(half), ""},
		{"h2c: half a frame", httpAt, framed(whole(""))[:len(http2.ClientPreface)+9+20], ""},
		{"h2c: no body", httpAt, framed(whole("application/json")), ""},
		{"gRPC: half a header", grpcAt, framed(half), ""},
		{"gRPC: half a frame", grpcAt, framed(whole(""))[:len(http2.ClientPreface)+9+20], ""},
		{"gRPC: no body", grpcAt, framed(whole("application/grpc")), ""},
		{"h2c: a header by the frame", httpAt, framed(half), "\x00\x00\x00\x09\x00\x00\x00\x00\x01"}, // CONTINUATION
		{"gRPC: a header by the frame", grpcAt, framed(half), "\x00\x00\x00\x09\x00\x00\x00\x00\x01"},
	}
	conns := make([]net.Conn, len(tests))
	for i, tt := range tests {
		conn, err := net.Dial("tcp", tt.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, tt.sent); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	if _, err := r.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{}); err != nil {
		t.Errorf("a call beside them: %v", err)
	}
	if code := httpStatus(t, r.httpURL+"/healthz"); code != http.StatusOK {
		t.Errorf("a probe beside them: %d", code)
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, ended := conns[i], make(chan struct{})
			go func() {
				defer close(ended)
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, net.ErrClosed) || isTimeout(err) {
					t.Errorf("the connection stays open: %v", err)
				}
			}()
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-ended:
					return
				case <-pace.C:
					_, _ = io.WriteString(conn, tt.drip)
				}
			}
		})
	}
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// TestLateBody: a call whose body is late is refused with the reason, although its HTTP/2
// connection answers pings.
func TestLateBody(t *testing.T) {
	up := &fakeUpstream{}
	r := start(t, Config{Users: up, Quota: up, Limits: Limits{ReadTimeout: 100 * time.Millisecond}})
	for _, h2c := range []bool{false, true} {
		body, rest := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.httpURL+getUserPath, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := r.httpClient(t, h2c).Do(req)
		if err != nil {
			t.Fatalf("h2c %v: %v", h2c, err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_, _ = resp.Body.Close(), rest.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), "must come within") {
			t.Errorf("h2c %v: %d %s", h2c, resp.StatusCode, answer)
		}
	}
}

// TestViewerWithABody watches the page by requests whose bodies never arrive. They are
// answered nevertheless, and no viewer is left.
func TestViewerWithABody(t *testing.T) {
	up := &fakeUpstream{}
	r := start(t, Config{Users: up, Quota: up, Page: pageSources(), Limits: Limits{ReadTimeout: 100 * time.Millisecond}})
	for _, header := range []string{"Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12"} {
		conn, err := net.Dial("tcp", r.httpAt.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, "GET /page/events HTTP/1.1\r\nHost: x\r\n"+header)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if line, err := bufio.NewReader(resp.Body).ReadString('\n'); !strings.HasPrefix(line, "event: hello") {
			t.Errorf("%q: %q, %v", header, line, err)
		}
		_ = conn.Close()
	}
	eventually(t, "no viewer is left", func() bool {
		l := r.server.edge.streams
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.all == 0
	})
}
