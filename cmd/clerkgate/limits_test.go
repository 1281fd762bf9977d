package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// patience is how long a test waits for what its flags shorten to a second. It is shorter
// than the default of any of them, but for --keepalive-min-interval and --read-timeout.
const patience = 40 * time.Second

// limited is a server with limits other than the defaults.
type limited struct {
	*testing.T
	grpc, http, id string
}

func serveLimited(t *testing.T, flags ...string) limited {
	t.Helper()
	address, id, log := serveSim(t, flags...)
	at := regexp.MustCompile(`msg=serving .*http=(\S+)`).FindStringSubmatch(log.String())
	if at == nil {
		t.Fatalf("no addresses in the log:\n%s", log)
	}
	return limited{t, address, at[1], id}
}

// dial connects to an address, until the test ends, for at most patience.
func (l limited) dial(address string) net.Conn {
	l.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// frames begins HTTP/2 on the gRPC listener. It answers nothing.
func (l limited) frames() *http2.Framer {
	l.Helper()
	conn := l.dial(l.grpc)
	framer := http2.NewFramer(conn, conn)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		l.Fatal(err)
	}
	if err := errors.Join(framer.WriteSettings(), framer.WriteSettingsAck()); err != nil {
		l.Fatal(err)
	}
	return framer
}

// goAway reads frames until the server ends the connection, and returns the code of its last
// GOAWAY. It may answer pings.
func (l limited) goAway(framer *http2.Framer, answer bool) http2.ErrCode {
	l.Helper()
	var code http2.ErrCode
	for {
		frame, err := framer.ReadFrame()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			l.Fatal("the connection stays open")
		case err != nil:
			return code
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			if code = frame.ErrCode; code != http2.ErrCodeNo {
				return code
			}
		case *http2.PingFrame: // gRPC sends one after its first GOAWAY
			if answer {
				_ = framer.WritePing(true, frame.Data)
			}
		}
	}
}

// get asks for /healthz on a connection, and reports whether it is the last answer.
func (l limited) get(conn net.Conn) (last bool) {
	l.Helper()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		l.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		l.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.Close
}

// call gets a user with a padding in the request and in the metadata, by gRPC and by HTTP.
func (l limited) call(request, md int) (byGRPC codes.Code, byHTTP int) {
	l.Helper()
	conn, err := leaktest.Dial(l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		l.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(l.Context(), "x-padding", strings.Repeat("x", md))
	_, err = clerkgatev1.NewUserServiceClient(conn).GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: strings.Repeat("x", request)})
	body := fmt.Sprintf(`{"userId": %q}`, strings.Repeat("x", request))
	req, _ := http.NewRequestWithContext(l.Context(), http.MethodPost, "http://"+l.http+"/clerkgate.v1.UserService/GetUser", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Padding", strings.Repeat("x", md))
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{DisableKeepAlives: true})}
	resp, httpErr := client.Do(req)
	if httpErr != nil {
		l.Fatal(httpErr)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if strings.Contains(string(answer), "at most") {
		return status.Code(err), http.StatusRequestEntityTooLarge
	}
	return status.Code(err), resp.StatusCode
}

// TestLimitsTakeEffect sets each limit to a value at which its effect shows.
func TestLimitsTakeEffect(t *testing.T) {
	t.Run("connection-age", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--connection-age", "1s")
		conn := l.dial(l.http)
		last := false
		for !last {
			last = l.get(conn)
		}
		if code := l.goAway(l.frames(), true); code != http2.ErrCodeNo {
			t.Errorf("%v", code)
		}
	})
	t.Run("connection-idle-timeout", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--connection-idle-timeout", "1s")
		if code := l.goAway(l.frames(), true); code != http2.ErrCodeNo {
			t.Errorf("%v", code)
		}
	})
	t.Run("keepalive", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--keepalive-interval", "1s", "--keepalive-timeout", "1s")
		l.goAway(l.frames(), false)
	})
	t.Run("keepalive-min-interval", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--keepalive-min-interval", "20s", "--keepalive-timeout", "5s")
		framer := l.frames()
		ended, pings := make(chan struct{}), sync.WaitGroup{}
		pings.Go(func() {
			ticker := time.NewTicker(1100 * time.Millisecond)
			defer ticker.Stop()
			for framer.WritePing(false, [8]byte{1}) == nil {
				select {
				case <-ticker.C:
				case <-ended:
					return
				}
			}
		})
		defer pings.Wait()
		defer close(ended)
		if code := l.goAway(framer, false); code != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("%v", code)
		}
	})
	t.Run("http-idle-timeout", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--http-idle-timeout", "1s")
		conn := l.dial(l.http)
		l.get(conn)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("an idle connection: %v, want its end", err)
		}
	})
	t.Run("read-timeout", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--read-timeout", "1s")
		conn := l.dial(l.http)
		_ = conn.SetDeadline(time.Now().Add(9 * time.Second)) // the default is 10 s
		if _, err := io.WriteString(conn, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("a body that does not arrive: %v, want the end of the connection", err)
		}
	})
	for _, tt := range []struct {
		flag, value string
		request, md int // bytes
		byGRPC      codes.Code
		byHTTP      int
	}{
		{"max-request-bytes", "256KiB", 200 << 10, 0, codes.InvalidArgument, http.StatusBadRequest},
		{"max-request-bytes", "256KiB", 300 << 10, 0, codes.ResourceExhausted, http.StatusRequestEntityTooLarge},
		{"max-request-bytes", "2MiB", 1500 << 10, 0, codes.InvalidArgument, http.StatusBadRequest},
		{"max-metadata-bytes", "8KiB", 1, 6 << 10, codes.InvalidArgument, http.StatusBadRequest},
		{"max-metadata-bytes", "8KiB", 1, 16 << 10, codes.Internal, http.StatusRequestHeaderFieldsTooLarge},
		{"max-metadata-bytes", "256KiB", 1, 200 << 10, codes.InvalidArgument, http.StatusBadRequest},
	} {
		t.Run(fmt.Sprintf("%s %s, %d and %d bytes", tt.flag, tt.value, tt.request, tt.md), func(t *testing.T) {
			t.Parallel()
			if byGRPC, byHTTP := serveLimited(t, "--"+tt.flag, tt.value).call(tt.request, tt.md); byGRPC != tt.byGRPC || byHTTP != tt.byHTTP {
				t.Errorf("%v and %d, want %v and %d", byGRPC, byHTTP, tt.byGRPC, tt.byHTTP)
			}
		})
	}
	t.Run("connections-per-address", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--max-connections", "20", "--connections-per-address", "15%")
		for _, address := range []string{l.grpc, l.http} {
			for n := range 4 {
				conn := l.dial(address)
				_, _ = io.WriteString(conn, http2.ClientPreface)
				if _, err := conn.Read(make([]byte, 1)); (err == nil) != (n < 3) {
					t.Errorf("connection %d to %s: %v", n+1, address, err)
				}
			}
		}
	})
	t.Run("max-timeout", func(t *testing.T) {
		t.Parallel()
		l := serveLimited(t, "--max-timeout", "1s", "--default-timeout", "1s", "--sim-latency", "30s", "--upstream-timeout", "60s")
		conn, err := leaktest.Dial(l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		users := clerkgatev1.NewUserServiceClient(conn)
		_, err = users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: l.id})
		stream, streamErr := users.StreamUsers(ctx, &clerkgatev1.StreamUsersRequest{})
		if streamErr == nil {
			_, streamErr = stream.Recv()
		}
		if status.Code(err) != codes.DeadlineExceeded || status.Code(streamErr) != codes.DeadlineExceeded {
			t.Errorf("%v; a stream: %v", err, streamErr)
		}
	})
}
