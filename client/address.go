package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

const (
	defaultAddress = "127.0.0.1:9090"
	defaultPort    = "9090" // of an address without one
)

// parseAddress returns an address in gRPC's form, and whether to use TLS. wantTLS reports
// whether there is a TLS configuration.
func parseAddress(address string, wantTLS bool) (target string, secure bool, err error) {
	if address == "" {
		address = defaultAddress
	}
	invalid := func(want string) error { return fmt.Errorf("address %q: %s", address, want) }
	scheme, rest, found := strings.Cut(address, "://")
	switch {
	case strings.HasPrefix(address, "unix:"):
		if wantTLS {
			return "", false, invalid("a Unix socket has no TLS")
		}
		return address, false, nil
	case !found:
		return withPort(address), wantTLS, nil
	case scheme != "https" && scheme != "http":
		return "", false, invalid("want host:port, unix:/path or https://host:port")
	case scheme == "http" && wantTLS:
		return "", false, invalid("http:// means no TLS; want https://")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(rest, "?#") {
		return "", false, invalid("want https://host:port, and nothing else")
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[scheme])
	}
	return host, scheme == "https", nil
}

// withPort returns an address with the default port if it has none: a host alone, or an IPv6
// address with or without brackets.
func withPort(address string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if !strings.Contains(address, ":") || net.ParseIP(bare) != nil {
		return net.JoinHostPort(bare, defaultPort)
	}
	return address
}

// staysHere reports whether what is sent to target does not leave this machine.
func staysHere(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(target)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// LoadTLS returns a configuration for Config.TLS. caFile holds the PEM certificates of the
// authorities to trust; empty means the system's. certFile and keyFile hold the certificate
// to show and its private key, also PEM; both empty means none. They are read again for each
// connection, so that they can be replaced.
func LoadTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("file of authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("file of authorities: %s holds no PEM certificate", caFile)
		}
	}
	switch {
	case certFile == "" && keyFile == "":
		return config, nil
	case certFile == "" || keyFile == "":
		return nil, errors.New("a certificate needs both its file and the file of its key")
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	// Sent whatever authorities the server names. If it does not trust this one, it refuses the
	// connection with an error.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}

// StaticToken returns a Config.Token that is always the same.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// TokenFile returns a Config.Token that is the content of a file, without spaces around it.
// The file is read for each call, so that it can be replaced.
func TokenFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		b, err := os.ReadFile(path)
		return string(b), err
	}
}

// bearer shows a token with every call.
type bearer func(context.Context) (string, error)

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b(ctx)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if token, err = cleanToken(token); err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity returns false: New has checked where the token goes.
func (bearer) RequireTransportSecurity() bool { return false }

// cleanToken returns a token without spaces around it. Its errors do not show the token.
func cleanToken(token string) (string, error) {
	token = strings.TrimSpace(token)
	if token == "" {
		return "", errors.New("token: it is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("token: want printable ASCII characters only, and no space")
	}
	return token, nil
}
