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

// Detection of dead connections: within 5 seconds, by HTTP/2 pings, and by the kernel's
// keepalive probes under HTTP/1.1.
const (
	pingAfter    = 2500 * time.Millisecond // without a frame
	pingTimeout  = 2 * time.Second
	probeAfter   = 2 * time.Second // without a packet
	probeEvery   = time.Second
	probeCount   = 2
	ackTimeout   = 4 * time.Second  // for data sent
	dialTimeout  = 5 * time.Second  // TCP and TLS each
	idleTimeout  = 50 * time.Second // before many proxies drop it silently after 60 s
	idlePerHost  = 128              // above the maximum in flight, so that bursts reuse their connections
	headerBounds = 64 << 10
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// headersTooLong is net/http's error if an HTTP/2 server accepts fewer header bytes than
// the request has. The request was not sent then.
const headersTooLong = "request header list larger than peer's advertised limit"

// proxyFor returns the transport's function that selects a proxy: choose, or the
// environment's if choose is nil. It fails if a variable that applies to base is not the
// URL of a proxy. The error does not show the value, which may contain a password.
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

// isProxy reports whether text names a proxy: a URL, or host:port.
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

// attempt tracks one request, so that it arrives at Clerk at most once: net/http resends
// a GET by itself if a reused connection turns out to be closed, or if an HTTP/2 server
// refuses the stream.
type attempt struct {
	cancel context.CancelFunc // of the request
	begun  atomic.Bool        // part of the request has been written
	again  atomic.Bool        // net/http was about to resend it
	kept   atomic.Bool        // the connection was used before
	first  atomic.Pointer[time.Time]
}

// answered returns when the first byte of the answer arrived, or the zero time if none
// has.
func (a *attempt) answered() time.Time {
	if t := a.first.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// stale reports whether the request was sent on a reused connection that ended before any
// byte of an answer.
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

// gotConn is called before the request is written to the connection.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	if !a.begun.Load() {
		a.kept.Store(info.Reused)
		return
	}
	a.again.Store(true)
	a.cancel()
	// HTTP/2 checks the context before it writes, HTTP/1.1 may check after. So close the
	// connection; nobody else uses it.
	if c, ok := info.Conn.(*tls.Conn); !ok || c.ConnectionState().NegotiatedProtocol != "h2" {
		_ = info.Conn.Close()
	}
}
