package webhook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlowBodiesKeepNobodyOut: while more bodies than there are places stall, a complete
// one is repeatedly accepted, and all others end.
func TestSlowBodiesKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(&recorder{}, secret("a"))
		server := newPipeServer(t, h)
		stalled := signed(t, secret("b"), "msg_stalled", "x").Header
		body := eventText("user.deleted", `{"id":"user_1"}`, "")
		var flood sync.WaitGroup
		for range 3 * maxBodies {
			flood.Go(func() {
				if status, took := server.post(t, stalled, maxBody, "{"); status != http.StatusRequestTimeout && status != http.StatusServiceUnavailable || took > bodyTimeout {
					t.Errorf("a stalled body: status %d after %v", status, took)
				}
			})
		}
		synctest.Wait()
		for i := range 10 {
			header := signed(t, secret("a"), fmt.Sprintf("msg_%d", i), body).Header
			status, took := server.post(t, header, len(body), body)
			if status != http.StatusNoContent || took > slowAfter {
				t.Errorf("Clerk's event: status %d after %v", status, took)
			}
		}
		flood.Wait()
		if n := len(h.bodies.reading) + len(h.bodies.waiting); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}

// TestBodiesAtOnce: the number of bodies being read is limited, a slow one gives way to a
// waiting one, and one that waits too long is refused.
func TestBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bodies{limit: 2}
		cuts := 0
		enter := func(timeout time.Duration) (func(), bool, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			began := time.Now()
			leave, ok := b.enter(ctx, func() { cuts++ })
			return leave, ok, time.Since(began)
		}
		first, _, _ := enter(time.Second)
		time.Sleep(slowAfter / 2)
		second, _, _ := enter(time.Second)
		if _, ok, took := enter(slowAfter / 4); ok || took != slowAfter/4 || cuts != 0 {
			t.Errorf("with both places taken: %v after %v, %d cut off", ok, took, cuts)
		}
		time.AfterFunc(slowAfter, first) // half a second after it was cut off
		third, ok, took := enter(10 * slowAfter)
		if !ok || took != slowAfter || cuts != 1 {
			t.Errorf("beside a slow one: %v after %v, %d cut off", ok, took, cuts)
		}
		second()
		third()
		if fourth, ok, took := enter(time.Second); !ok || took != 0 {
			t.Errorf("with a free place: %v after %v", ok, took)
		} else {
			fourth()
		}
	})
}

// TestEveryMethodAndPathIsBounded: an unread body keeps no connection open, on a server
// without timeouts.
func TestEveryMethodAndPathIsBounded(t *testing.T) {
	for _, line := range []string{"POST /x", "PUT " + Path, "POST " + Path} {
		t.Run(line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newPipeServer(t, handler(&recorder{}, secret("a")))
				conn := server.dial()
				began := time.Now()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", line)
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took > bodyTimeout {
					t.Errorf("the connection ended after %v", took)
				}
			})
		})
	}
}

// pipeServer is an HTTP server over pipes.
type pipeServer struct{ connections pipes }

// newPipeServer serves h until the test ends.
func newPipeServer(t *testing.T, h http.Handler) pipeServer {
	s := pipeServer{make(pipes)}
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(s.connections) // ends with the listener
	}()
	t.Cleanup(func() {
		close(s.connections)
		server.Close()
		<-served
	})
	return s
}

func (s pipeServer) dial() net.Conn {
	ours, theirs := net.Pipe()
	s.connections <- theirs
	return ours
}

// post sends the header and a part of the body of a delivery, and returns the status and
// the duration.
func (s pipeServer) post(t *testing.T, header http.Header, length int, part string) (status int, took time.Duration) {
	conn := s.dial()
	defer conn.Close()
	began := time.Now()
	go func() {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", Path, length)
		_ = header.Write(conn)
		fmt.Fprintf(conn, "\r\n%s", part)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return 0, 0
	}
	return resp.StatusCode, time.Since(began)
}
