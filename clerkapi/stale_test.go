package clerkapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// TestADeadKeptConnectionIsTold: a reused connection that was silently closed fails the
// request that finds out. The error reports that, and the other idle connections are not
// used any more.
func TestADeadKeptConnectionIsTold(t *testing.T) {
	var dead atomic.Bool
	meet := make(chan struct{})
	address := serveConns(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for first := true; ; first = false {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if dead.Load() && !first {
				_ = conn.(*net.TCPConn).SetLinger(0)
				return
			}
			if !dead.Load() { // answer only when there are both connections
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
	client := clientOf(t, Config{BaseURL: "http://" + address})
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := client.CountUsers(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	dead.Store(true)
	_, err := client.CountUsers(t.Context(), nil)
	if e := wantError(t, err, ErrUnavailable, false); !e.Stale {
		t.Errorf("%v: it is not told that the connection was a kept one", err)
	}
	if _, err := client.CountUsers(t.Context(), nil); err != nil {
		t.Errorf("the next request: %v, want it on a fresh connection", err)
	}
}

// TestOtherEndsAreNotStale: a new connection that ends, and a reused one that ends in the
// middle of an answer.
func TestOtherEndsAreNotStale(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + countAnswer
	for _, answers := range [][]string{{""}, {whole, whole[:20]}} {
		address := serveConns(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			for _, answer := range answers {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(conn, answer)
			}
		})
		client := clientOf(t, Config{BaseURL: "http://" + address})
		for range answers[1:] {
			if _, err := client.CountUsers(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		_, err := client.CountUsers(t.Context(), nil)
		if e := wantError(t, err, ErrUnavailable, false); e.Stale {
			t.Errorf("%v: passes for a dead kept connection", err)
		}
	}
}

func TestIdleConnectionsAreDroppedInTime(t *testing.T) {
	if d := newTransport(nil, nil, nil).IdleConnTimeout; d <= 0 || d.Seconds() >= 60 {
		t.Errorf("idle connections are kept for %v, want less than a minute", d)
	}
}
