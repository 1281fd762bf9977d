package clerkapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// How soon a connection that died without a word is noticed: within 5 seconds
// by HTTP/2 pings, and by the kernel's keepalive probes under HTTP/1.1.
const (
	pingAfter    = 2500 * time.Millisecond // without a frame
	pingTimeout  = 2 * time.Second
	probeAfter   = 2 * time.Second // without a packet
	probeEvery   = time.Second
	probeCount   = 2
	ackTimeout   = 4 * time.Second // for data sent
	dialTimeout  = 5 * time.Second // TCP and TLS each
	idleTimeout  = 90 * time.Second
	idlePerHost  = 128 // above what is ever in flight, so that bursts find their connections again
	headerBounds = 64 << 10
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func newTransport(roots *x509.CertPool, dial dialFunc) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probeCount},
			Control:         dialControl,
		}).DialContext
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           idlePerHost,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: headerBounds,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  pingAfter,
			PingTimeout:      pingTimeout,
			WriteByteTimeout: ackTimeout,
		},
	}
}

// attempt watches one request on its way, so that it arrives at Clerk once at
// the most: net/http sends a GET again by itself when a kept connection turns
// out to be closed, or when an HTTP/2 server refuses the stream.
type attempt struct {
	cancel context.CancelFunc // of the request
	begun  atomic.Bool        // part of the request has been written
	again  atomic.Bool        // it was about to be sent once more
	first  atomic.Pointer[time.Time]
}

// answered is when the first byte of the answer came, the zero time if none has.
func (a *attempt) answered() time.Time {
	if t := a.first.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:          a.gotConn,
		WroteHeaderField: func(string, []string) { a.begun.Store(true) },
		GotFirstResponseByte: func() {
			now := time.Now()
			a.first.Store(&now)
		},
	}
}

// gotConn runs before the request is written to the connection.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	if !a.begun.Load() {
		return
	}
	a.again.Store(true)
	a.cancel()
	// HTTP/2 looks at the context before it writes, HTTP/1.1 may look after, so
	// take the connection away; nobody else is using it.
	if c, ok := info.Conn.(*tls.Conn); !ok || c.ConnectionState().NegotiatedProtocol != "h2" {
		_ = info.Conn.Close()
	}
}
