package server

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// TestConnectionsAreCountedBack opens and ends connections in different ways. None
// counts afterwards.
func TestConnectionsAreCountedBack(t *testing.T) {
	const soon = 50 * time.Millisecond
	g := startGuarded(t, Config{Limits: Limits{ConnectionAge: soon, ConnectionIdle: soon, HTTPIdle: soon, ReadTimeout: soon}})
	var at net.Addr
	web := &site{name: "HTTP", address: "127.0.0.1:0", handler: g.probes(), bound: &at, tls: g.Server.tls.http, calls: true, refused: &refusedConnections{}}
	if err := web.listen(g.cfg); err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = web.serve() })
	defer served.Wait()
	defer web.server.Close()
	trust := &tls.Config{RootCAs: g.ca.Pool(), ServerName: "127.0.0.1", NextProtos: []string{"h2", "http/1.1"}}
	ends := []func(net.Conn){
		func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, // RST
		func(net.Conn) {}, // FIN
		func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); _, _ = io.Copy(io.Discard, c) }, // no TLS
		func(c net.Conn) { _ = tls.Client(c, &tls.Config{ServerName: "other"}).Handshake() },                   // broken by the client
		func(c net.Conn) { // RST after the handshake
			_ = tls.Client(c, trust).Handshake()
			_ = c.(*net.TCPConn).SetLinger(0)
		},
	}
	// These end by the server: a request, then its age or idle time.
	slow := []string{"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", framed(nil), "GET /healthz HTTP/1.1\r\nHost:"}
	var wg sync.WaitGroup
	addresses := []net.Addr{g.at.GRPC, at}
	for worker := range 8 {
		wg.Go(func() {
			for i := range 40 {
				conn, err := net.Dial("tcp", addresses[(worker+i/5)%2].String())
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				if i%20 == 19 {
					c := tls.Client(conn, trust)
					_, _ = io.WriteString(c, slow[i/20%3])
					if _, err := io.Copy(io.Discard, c); isTimeout(err) {
						t.Errorf("a connection with %.10q stays open", slow[i/20%3])
					}
				} else {
					ends[i%5](conn)
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	for _, c := range g.conns {
		_ = c.Close()
	}
	for _, l := range []*boundedListener{g.edge.outbox.listener.Load(), web.listener} {
		eventually(t, "no connection counts", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.open)+len(l.from) == 0
		})
	}
}
