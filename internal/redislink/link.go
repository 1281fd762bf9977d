// Package redislink is how the service reaches Redis: the URL, connections that
// end when they are told to, and scripts.
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

// Access is who this is to Redis, and whom it trusts to be Redis. The zero value
// means the user and the password of the URL, and the system's certificates.
type Access struct {
	// Credentials returns the user and the password, for each new connection. It is
	// not used with sentinels, which have others.
	Credentials func() (user, password string)
	// RootCAs are whom to trust with rediss://.
	RootCAs *x509.CertPool
}

// parameters are those that a URL may have.
var parameters = []string{"addr", "client_name", "db", "dial_timeout", "master_set", "protocol", "skip_verify", "write_timeout"}

// Options reads a URL: redis://[user:password@]host:port[/database], rediss:// for
// TLS, or unix://[user:password@]/path?db=database. White space around it does not
// count. More addresses are given by addr=host:port, and make a cluster;
// master_set=name makes the addresses those of sentinels. protocol=2 avoids RESP3,
// skip_verify=true trusts any certificate, client_name=name is shown by CLIENT LIST.
// Times are dial_timeout (default 1 s) and write_timeout (default 3 s). Its error
// shows nothing of the URL, since it may hold a password.
func Options(text string, access Access) (rueidis.ClientOption, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text[:min(1, len(text))], "\"'`") || strings.HasPrefix(text, "\ufeff") {
		return rueidis.ClientOption{}, errors.New("the Redis URL is in quotes, or a byte order mark stands before it: leave them out")
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
			return rueidis.ClientOption{}, fmt.Errorf("the Redis URL has a parameter that there is not; there are %s", strings.Join(parameters, ", "))
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
	options.DisableRetry = true     // a call that is late is of no use
	options.AlwaysPipelining = true // so that a call that takes too long does not cost the connection
	options.PipelineMultiplex = -1  // one connection to a server
	options.BlockingPoolSize = 1    // not used
	return options, nil
}

// Connect makes a client whose connections end with ctx, so that nothing waits
// for a Redis that does not answer. It fails while Redis is away.
func Connect(ctx context.Context, options rueidis.ClientOption) (rueidis.Client, error) {
	options.DialCtxFn = tieTo(ctx, options.DialCtxFn)
	return rueidis.NewClient(options)
}

// tieTo makes a dialer whose connections end with ctx. A nil dial is rueidis's own.
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
		return &tied{Conn: conn, untie: context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
	}
}

type dialFunc = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

func dialTCP(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", address)
}

// tied is a connection that is closed when a context ends.
type tied struct {
	net.Conn
	untie func() bool
}

// Close closes the connection.
func (t *tied) Close() error {
	t.untie()
	return t.Conn.Close()
}
