// Package redislink connects to Redis. It parses the URL, makes connections that close
// when a context ends, runs scripts, and counts errors. Packages usercache and quotaredis
// use it.
package redislink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Access holds the credentials for Redis and the authorities to trust. The zero value
// means the credentials in the URL and the system's authorities.
type Access struct {
	// Credentials returns the user and the password for each new connection. It is not
	// used for sentinels, which have others.
	Credentials func() (user, password string)
	// RootCAs are the authorities to trust for rediss:// URLs.
	RootCAs *x509.CertPool
}

// parameters are the allowed parameters of a URL.
var parameters = []string{"addr", "client_name", "db", "dial_timeout", "master_set", "protocol", "skip_verify", "write_timeout"}

// Options parses a URL: redis://[user:password@]host:port[/database], rediss:// for TLS,
// or unix://[user:password@]/path?db=database, and ignores white space around it.
// addr=host:port adds an address, which selects a cluster; with master_set=name the
// addresses are sentinels. protocol=2 avoids RESP3, skip_verify=true trusts any
// certificate, client_name=name appears in CLIENT LIST. Times are dial_timeout (default 1
// s) and write_timeout (default 3 s). Errors do not show the URL, since it may contain a
// password.
func Options(text string, access Access) (rueidis.ClientOption, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text[:min(1, len(text))], "\"'`") || strings.HasPrefix(text, "\ufeff") {
		return rueidis.ClientOption{}, errors.New("the Redis URL is in quotes, or has a byte order mark before it: remove them")
	}
	u, err := url.Parse(text)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("the Redis URL can't be read; it looks like redis://user:password@host:port/0, with special characters of the password as %XX")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
	default:
		return rueidis.ClientOption{}, errors.New("the Redis URL must begin with redis://, rediss:// or unix://")
	}
	for name := range u.Query() {
		if !slices.Contains(parameters, name) {
			return rueidis.ClientOption{}, fmt.Errorf("the Redis URL has an unknown parameter: want %s", strings.Join(parameters, ", "))
		}
	}
	if u.Scheme != "rediss" && (access.RootCAs != nil || u.Query().Has("skip_verify")) {
		return rueidis.ClientOption{}, errors.New("certificates need TLS: the Redis URL must begin with rediss://")
	}
	options, err := rueidis.ParseURL(text)
	if err != nil {
		return options, errors.New("the Redis URL has a bad database number, path, timeout or skip_verify")
	}
	if options.Dialer.Timeout <= 0 {
		options.Dialer.Timeout = time.Second
	}
	if options.ConnWriteTimeout <= 0 {
		options.ConnWriteTimeout = 3 * time.Second
	}
	if options.TLSConfig != nil {
		options.TLSConfig.RootCAs = access.RootCAs
	}
	if access.Credentials != nil && options.Sentinel.MasterSet == "" {
		options.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			user, password := access.Credentials()
			return rueidis.AuthCredentials{Username: user, Password: password}, nil
		}
	}
	if options.Sentinel.MasterSet != "" {
		options.Sentinel.TLSConfig = options.TLSConfig
		options.Sentinel.Dialer = options.Dialer
		options.Sentinel.TopologyRefreshInterval = 5 * time.Second
	}
	options.DisableCache = true
	options.DisableRetry = true     // a late call is useless
	options.AlwaysPipelining = true // a call that times out does not close the connection
	options.PipelineMultiplex = -1  // one connection per server
	options.BlockingPoolSize = 1    // not used
	return options, nil
}

// Connect returns a client whose connections close when ctx ends, so that nothing waits
// for a Redis that does not answer. It fails while Redis is unavailable.
func Connect(ctx context.Context, options rueidis.ClientOption) (rueidis.Client, error) {
	options.DialCtxFn = tieTo(ctx, options.DialCtxFn)
	return rueidis.NewClient(options)
}

// tieTo returns a dialer whose connections close when ctx ends. A nil dial means
// rueidis's own.
func tieTo(ctx context.Context, dial dialFunc) dialFunc {
	if dial == nil {
		dial = dialTCP
	}
	return func(dialing context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		dialing, cancel := context.WithCancel(dialing)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		conn, err := dial(dialing, address, d, config)
		if err != nil {
			return nil, err
		}
		return &tiedConn{Conn: conn, untie: context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
	}
}

type dialFunc = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

func dialTCP(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", address)
}

// tiedConn is a connection that closes when a context ends.
type tiedConn struct {
	net.Conn
	untie func() bool
}

// Close closes the connection.
func (t *tiedConn) Close() error {
	t.untie()
	return t.Conn.Close()
}
