package client

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// cable is a connection that can be cut without either side noticing.
type cable struct {
	net.Conn
	cut atomic.Bool
}

func (c *cable) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *cable) Read(p []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(p); err != nil || !c.cut.Load() {
			return n, err
		}
	}
}

// TestDeadConnection cuts the connection of a stream: it is found dead within 40 s, and the
// stream resumes on another. A connection that is only idle is kept.
func TestDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu     sync.Mutex
			cables []*cable // guarded by mu
			tokens []string // guarded by mu
		)
		f := &fake{
			stream: func(req *clerkgatev1.StreamUsersRequest, s streamOfUsers) error {
				mu.Lock()
				tokens = append(tokens, req.GetResumeToken())
				first := len(tokens) == 1
				mu.Unlock()
				if first {
					_ = s.Send(message("a", "user_1"))
					<-s.Context().Done()
					return s.Context().Err()
				}
				return s.Send(message("", "user_2"))
			},
			wrap: func(conn net.Conn) net.Conn {
				mu.Lock()
				defer mu.Unlock()
				cables = append(cables, &cable{Conn: conn})
				return cables[len(cables)-1]
			},
		}
		f.run(t, Config{}, func(c *Client) {
			var cut time.Time
			for u, err := range c.StreamUsers(t.Context(), StreamOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				if u.GetId() == "user_1" {
					time.Sleep(5*time.Minute + time.Second) // idle; just behind a ping
					mu.Lock()
					if len(cables) != 1 {
						t.Errorf("%d connections while idle", len(cables))
					}
					cables[0].cut.Store(true)
					mu.Unlock()
					cut = time.Now()
				}
			}
			if took := time.Since(cut); took > 41*time.Second {
				t.Errorf("it took %v", took)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(tokens, []string{"", "a"}) || len(cables) != 2 {
				t.Errorf("tokens %q, %d connections", tokens, len(cables))
			}
		})
	})
}
