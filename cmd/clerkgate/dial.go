package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// clientFlags are the flags of the connection to a server.
type clientFlags struct {
	Address string        `default:"127.0.0.1:9090" help:"The server's gRPC address: host:port, or a host alone for port 9090; unix:/path; or https://host:port for TLS, https://host for port 443."`
	Timeout time.Duration `default:"30s" help:"How long to wait for an answer."`

	TLS       bool   `name:"tls" help:"Speak TLS, and trust the system's authorities."`
	CAFile    string `name:"ca-file" placeholder:"FILE" help:"Speak TLS, and trust the PEM certificates in this file instead."`
	CertFile  string `name:"cert-file" placeholder:"FILE" help:"Speak TLS, and show the PEM certificate in this file."`
	KeyFile   string `name:"key-file" placeholder:"FILE" help:"The private key of that certificate."`
	TokenFile string `name:"token-file" placeholder:"FILE" help:"The file that holds the token to show. Without it, the token is taken from the environment variable CLERKGATE_TOKEN, if it is set. A token is sent over TLS, to a loopback address or to a Unix socket only."`
}

// tokenEnv holds the token of the client commands. No flag does.
const tokenEnv = "CLERKGATE_TOKEN"

// connect returns a connection to the server, which is to be closed.
func (f clientFlags) connect() (*grpc.ClientConn, error) {
	if f.Timeout <= 0 {
		return nil, usagef("--timeout: want a duration above 0, such as 30s")
	}
	target, secure, err := f.target()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithNoProxy(), // HTTPS_PROXY is for the way to Clerk
		grpc.WithUserAgent("clerkgate/" + buildVersion()),
	}
	if secure {
		config, err := f.tlsConfig()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	} else {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		if !secure && !staysHere(target) {
			return nil, usagef("a token is not sent without TLS to another machine: use --tls or --ca-file")
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, usagef("--address: want host:port, such as 127.0.0.1:9090: %v", err)
	}
	return conn, nil
}

// target returns the server's address as gRPC takes it, and whether to speak TLS.
func (f clientFlags) target() (target string, secure bool, err error) {
	secure = f.TLS || f.CAFile != "" || f.CertFile != "" || f.KeyFile != ""
	scheme, rest, found := strings.Cut(f.Address, "://")
	switch {
	case strings.HasPrefix(f.Address, "unix:"):
		if secure {
			return "", false, usagef("--address: a Unix socket has no TLS")
		}
		return f.Address, false, nil
	case !found:
		return withPort(f.Address, defaultPort), secure, nil
	case scheme != "https" && scheme != "http":
		return "", false, usagef("--address: want host:port, unix:/path or https://host:port")
	case scheme == "http" && secure:
		return "", false, usagef("--address: http:// means no TLS; want https://")
	}
	u, err := url.Parse(f.Address)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(rest, "?#") {
		return "", false, usagef("--address: want https://host:port, and nothing else")
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[scheme])
	}
	return host, scheme == "https", nil
}

// defaultPort is the port of an address without one.
const defaultPort = "9090"

// withPort returns an address with the port, if it has none: a host alone, or an IPv6
// address with or without brackets.
func withPort(address, port string) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if address != "" && !strings.Contains(address, ":") || net.ParseIP(bare) != nil {
		return net.JoinHostPort(bare, port)
	}
	return address
}

// tlsConfig returns whom to trust, and what to show.
func (f clientFlags) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, usagef("--ca-file: %v", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca-file: %s holds no PEM certificate", f.CAFile)
		}
	}
	if f.CertFile == "" && f.KeyFile == "" {
		return config, nil
	}
	if f.CertFile == "" || f.KeyFile == "" {
		return nil, usagef("--cert-file and --key-file: give both")
	}
	pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	if err != nil {
		return nil, usagef("--cert-file: %v", err)
	}
	// Shown whatever authorities the server names: if it takes others, it says so.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}

// token returns the token to show, empty for none.
func (f clientFlags) token() (string, error) {
	text, name := os.Getenv(tokenEnv), tokenEnv
	if f.TokenFile != "" {
		b, err := os.ReadFile(f.TokenFile)
		if err != nil {
			return "", usagef("--token-file: %v", err)
		}
		text, name = string(b), "--token-file"
		if strings.TrimSpace(text) == "" {
			return "", usagef("--token-file: %s is empty", f.TokenFile)
		}
	}
	text = strings.TrimSpace(text)
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return "", usagef("%s: a token holds printable ASCII characters only, and no space", name)
		}
	}
	return text, nil
}

// staysHere reports whether what is sent to target does not leave this machine.
func staysHere(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(target)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// bearer is a token that every call shows.
type bearer string

// GetRequestMetadata returns the token's header.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity reports false: connect has checked where the token goes.
func (bearer) RequireTransportSecurity() bool { return false }
