package server

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/telemetry"
)

func TestAddressOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1/32",
		"::ffff:192.0.2.1":    "192.0.2.1/32",
		"2001:db8:1:2:3:4::5": "2001:db8:1:2::/64",
		"::1":                 "::/64",
	} {
		if got := addressOf(&net.TCPAddr{IP: net.ParseIP(text), Port: 7}).String(); got != want {
			t.Errorf("%s counts as %s, want %s", text, got, want)
		}
	}
	if got := addressOf(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a socket's address counts as %s", got)
	}
}

// TestConnectionsAreLimited: connections beyond the limit of an address are closed at
// once, with a bounded number of log lines; closing one frees its place once.
func TestConnectionsAreLimited(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log, began := &logBuffer{}, time.Now()
	l := newBoundedListener(tcp, "test", 12, 0.25, time.Second, leaktest.Logger(slog.NewTextHandler(log, nil)))
	accepted := make(chan net.Conn, 100)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	var kept []net.Conn
	open := func() bool { // connects and reports whether the listener keeps the connection
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		closed := make(chan struct{})
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			close(closed)
		}()
		select {
		case conn := <-accepted:
			kept = append(kept, conn)
			return true
		case <-closed:
			return false
		}
	}
	for i := range 3 {
		if !open() {
			t.Errorf("connection %d is refused", i)
		}
	}
	for range 20 {
		if open() {
			t.Error("one too many is open")
		}
	}
	if n := l.refused.address.Load(); n != 20 || l.refused.full.Load() != 0 {
		t.Errorf("%d refused connections of one address count, want 20", n)
	}
	most := 1 + int(time.Since(began)/tellGap)
	if n := strings.Count(log.String(), "connections are refused"); n < 1 || n > most {
		t.Errorf("%d lines of the log, want at most %d", n, most)
	}
	for range 3 {
		_ = kept[0].Close()
	}
	if l.connections() != 2 || !open() || open() {
		t.Errorf("after one is closed, %d are open", l.connections())
	}
	_ = l.Close()
	for _, conn := range kept {
		_ = conn.Close()
	}
	if l.connections() != 0 || len(l.from) != 0 {
		t.Errorf("%d connections of %d addresses are left", l.connections(), len(l.from))
	}
}

// TestConnectionsOfAllAddresses: the total limit applies to any mix of addresses, and one
// address can't exclude the others.
func TestConnectionsOfAllAddresses(t *testing.T) {
	l := newBoundedListener(nil, "test", 12, 0.25, 0, leaktest.Logger(slog.DiscardHandler))
	from := func(ip string) bool {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close() })
		return l.admit(addressedConn{far, &net.TCPAddr{IP: net.ParseIP(ip)}}) != nil
	}
	for i, tt := range []struct {
		ip   string
		want bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false},
		{"192.0.2.2", true}, {"192.0.2.2", true}, {"192.0.2.2", true}, {"192.0.2.2", false},
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", true}, {"2001:db8::4", false},
		{"192.0.2.3", true}, {"192.0.2.3", true}, {"192.0.2.4", true}, {"192.0.2.5", false},
	} {
		if got := from(tt.ip); got != tt.want {
			t.Errorf("%d: from %s: admitted %v", i, tt.ip, got)
		}
	}
	if full, address := l.refused.full.Load(), l.refused.address.Load(); full != 1 || address != 3 {
		t.Errorf("%d are refused of all and %d of one address, want 1 and 3", full, address)
	}
}

// addressedConn is a connection from an address.
type addressedConn struct {
	net.Conn
	from net.Addr
}

func (c addressedConn) RemoteAddr() net.Addr { return c.from }

// TestWriteTimeout: a peer that does not read can't block a write forever.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		const limit = 50 * time.Millisecond
		l := newBoundedListener(nil, "test", 1, 0.25, limit, leaktest.Logger(slog.DiscardHandler))
		conn := l.admit(addressedConn{far, &net.TCPAddr{}})
		defer conn.Close()
		began := time.Now()
		if _, err := conn.Write([]byte("x")); err == nil || time.Since(began) != limit {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestRefusedConnectionsCount opens more connections to each listener than there may be.
func TestRefusedConnectionsCount(t *testing.T) {
	r := start(t, Config{Users: &fakeUpstream{}, Quota: &fakeUpstream{}, MaxConnections: 1})
	for name, address := range map[string]string{"grpc": r.conn.Target(), "http": r.httpAt.String()} {
		var last net.Conn
		for range 2 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			last = conn
		}
		_ = last.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, _ = last.Read(make([]byte, 1)) // returns once it is refused
		if r.server.RefusedConnections()[telemetry.RefusedConnection{Listener: name, Reason: "full"}] == 0 {
			t.Errorf("%s: no refused connection counts", name)
		}
	}
}
