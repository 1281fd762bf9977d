package clerkapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// How soon a connection that died without a word is noticed: within 5 seconds
// by HTTP/2 pings, and by the kernel's keepalive probes under HTTP/1.1.
const (
	pingAfter    = 2500 * time.Millisecond // without a frame
	pingTimeout  = 2 * time.Second
	probeAfter   = 2 * time.Second // without a packet
	probeEvery   = time.Second
	probeCount   = 2
	ackTimeout   = 4 * time.Second  // for data sent
	dialTimeout  = 5 * time.Second  // TCP and TLS each
	idleTimeout  = 50 * time.Second // before the 60 s after which many proxies close without a word
	idlePerHost  = 128              // above what is ever in flight, so that bursts find their connections again
	headerBounds = 64 << 10
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// headersTooLong is how net/http says that an HTTP/2 server takes less headers
// than the request has. The request has not left then.
const headersTooLong = "request header list larger than peer's advertised limit"

// proxyFor returns the transport's choice of a proxy: choose's or, if that is nil,
// the environment's. It fails if a variable that matters to base holds no URL of a
// proxy; the error shows nothing of it, as it may hold a password.
func proxyFor(base string, choose func(*url.URL) (*url.URL, error)) (func(*http.Request) (*url.URL, error), error) {
	if choose == nil {
		env := httpproxy.FromEnvironment()
		name, value := "HTTP_PROXY", env.HTTPProxy
		if strings.HasPrefix(base, "https:") {
			name, value = "HTTPS_PROXY", env.HTTPSProxy
		}
		if value != "" && !isProxy(value) {
			return nil, fmt.Errorf("%s must be the URL of an HTTP or SOCKS5 proxy, such as http://proxy.example:3128", name)
		}
		choose = env.ProxyFunc()
	}
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }, nil
}

// isProxy reports whether text names a proxy: by a URL, or by host:port alone.
func isProxy(text string) bool {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	return err == nil && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) && u.Hostname() != ""
}

func newTransport(roots *x509.CertPool, proxy func(*http.Request) (*url.URL, error), dial dialFunc) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probeCount},
			Control:         dialControl,
		}).DialContext
	}
	return &http.Transport{
		Proxy:                  proxy,
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
	kept   atomic.Bool        // the connection had been used before
	first  atomic.Pointer[time.Time]
}

// answered is when the first byte of the answer came, the zero time if none has.
func (a *attempt) answered() time.Time {
	if t := a.first.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// stale reports whether the request went on a kept connection that has ended
// before any byte of an answer came.
func (a *attempt) stale() bool { return a.kept.Load() && a.begun.Load() && a.first.Load() == nil }

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
		a.kept.Store(info.Reused)
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
