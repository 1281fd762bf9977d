package client

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
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
