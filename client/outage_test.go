package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// away returns a wrapper of connections that closes them while the server is away.
func away(is *atomic.Bool) func(net.Conn) net.Conn {
	return func(conn net.Conn) net.Conn {
		if is.Load() {
			_ = conn.Close()
		}
		return conn
	}
}

// TestServerReturns checks that the client is soon connected again, however long the server
// was away.
func TestServerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		gone.Store(true)
		f := &fake{
			get: func(_ context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
				return found(req.GetUserId()), nil
			},
			wrap: away(&gone),
		}
		f.run(t, Config{}, func(c *Client) {
			get := func() error {
				_, err := c.GetUser(t.Context(), "user_x")
				return err
			}
			for range 10 {
				if err := get(); err == nil {
					t.Fatal("the server is away")
				}
				time.Sleep(time.Minute)
			}
			gone.Store(false)
			start := time.Now()
			for get() != nil {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("connected %v after the server's return", took)
			}
		})
	})
}

// TestStreamOutlastsRestart has the server away for 20 s in the middle of a stream.
func TestStreamOutlastsRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		f := &fake{
			stream: func(req *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
				if req.GetResumeToken() == "" {
					_ = s.Send(message("a", "user_1"))
					gone.Store(true)
					time.AfterFunc(20*time.Second, func() { gone.Store(false) })
					return refusal(codes.Unavailable, "SHUTTING_DOWN", 0)
				}
				if gone.Load() {
					return refusal(codes.Unavailable, "SHUTTING_DOWN", 0)
				}
				return s.Send(message("", "user_2"))
			},
			wrap: away(&gone),
		}
		f.run(t, Config{}, func(c *Client) {
			n := 0
			for _, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != 2 {
				t.Errorf("%d users", n)
			}
		})
	})
}

// TestOutageStopsRetries checks that an outage does not multiply the calls by their attempts,
// and that calls are retried again later.
func TestOutageStopsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := refusal(codes.Unavailable, "CLERK_UNAVAILABLE", 0)
		f := &fake{get: func(_ context.Context, req *clerkgatev1.GetUserRequest) (*clerkgatev1.GetUserResponse, error) {
			return found(req.GetUserId()), err
		}}
		f.run(t, Config{}, func(c *Client) {
			get := func(times int) (attempts int) {
				for range times {
					_, _ = c.GetUser(t.Context(), "user_x")
				}
				return len(f.taken())
			}
			if n := get(300); n < 330 || n > 350 {
				t.Errorf("300 calls made %d attempts in an outage", n)
			}
			err = nil
			get(3000)
			err = refusal(codes.Unavailable, "CLERK_UNAVAILABLE", 0)
			if n := get(1); n != 3 {
				t.Errorf("%d attempts of a call after the outage", n)
			}
		})
	})
}

// TestCannotConnect checks that the errors of a client that can't connect name the cause.
func TestCannotConnect(t *testing.T) {
	ca := callertest.NewCA(t)
	secured, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue("server").TLS(t)}})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "a%20b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []net.Listener{secured, plain, socket} {
		var serving sync.WaitGroup
		serving.Go(func() {
			s := grpc.NewServer()
			_ = s.Serve(l)
		})
		t.Cleanup(func() {
			_ = l.Close()
			serving.Wait()
		})
	}
	for _, tt := range []struct{ address, want string }{
		{secured.Addr().String(), "use an https:// address"},
		{"https://" + plain.Addr().String(), "does not look like a TLS handshake"},
		{"https://" + secured.Addr().String(), "failed to verify certificate"},
		{"clerkgate.invalid:9090", "has no IP address"},
	} {
		c, err := New(Config{Address: tt.address})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.GetUser(t.Context(), "user_x")
		var e *Error
		if !errors.As(err, &e) || e.Code != codes.Unavailable || e.Reason != "" || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%s: %v, want %q", tt.address, err, tt.want)
		}
		_ = c.Close()
	}
	c, err := New(Config{Address: "unix:" + socket.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.GetUser(t.Context(), "user_x"); status.Code(err) != codes.Unimplemented { // by this server
		t.Errorf("a path with a percent sign: %v", err)
	}
}
