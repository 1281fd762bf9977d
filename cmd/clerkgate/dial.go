package main

import (
	"crypto/tls"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/clerkgate/clerkgate/client"
)

// clientFlags are the flags of the connection to a server.
type clientFlags struct {
	Address string        `default:"127.0.0.1:9090" help:"The server's gRPC address: host:port, or a host alone for port 9090; unix:/path; or https://host:port for TLS, https://host for port 443."`
	Timeout time.Duration `default:"30s" help:"How long to wait for an answer."`

	TLS       bool   `name:"tls" help:"Use TLS, and trust the system's authorities."`
	CAFile    string `name:"ca-file" placeholder:"FILE" help:"Use TLS, and trust the PEM certificates in this file instead."`
	CertFile  string `name:"cert-file" placeholder:"FILE" help:"Use TLS, and present the PEM certificate in this file."`
	KeyFile   string `name:"key-file" placeholder:"FILE" help:"The private key of that certificate."`
	TokenFile string `name:"token-file" placeholder:"FILE" help:"The file that holds the token to send. Without it, the token is taken from the environment variable CLERKGATE_TOKEN, if it is set. A token is sent over TLS, to a loopback address or to a Unix socket only."`

	anyServer bool `kong:"-"` // accept any certificate, and send no token
}

// tokenEnv holds the token of the client commands. No flag does.
const tokenEnv = "CLERKGATE_TOKEN"

// connect returns a connection to the server. Its caller must close it.
func (f clientFlags) connect() (*grpc.ClientConn, error) {
	if f.Timeout <= 0 {
		return nil, usagef("--timeout: want a duration above 0, such as 30s")
	}
	if f.Address == "" {
		return nil, usagef("--address: it is empty; want host:port, unix:/path or https://host:port")
	}
	cfg := client.Config{
		Address: f.Address, Caller: "clerkgate-cli",
		DialOptions: []grpc.DialOption{grpc.WithUserAgent("clerkgate/" + buildVersion())},
	}
	var err error
	if f.TLS || f.CAFile != "" || f.CertFile != "" || f.KeyFile != "" {
		if cfg.TLS, err = client.LoadTLS(f.CAFile, f.CertFile, f.KeyFile); err != nil {
			return nil, usagef("--ca-file, --cert-file, --key-file: %v", err)
		}
	}
	if f.anyServer {
		if cfg.TLS == nil {
			cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		cfg.TLS.InsecureSkipVerify = true
	} else if token, err := f.token(); err != nil {
		return nil, err
	} else if token != "" {
		cfg.Token = client.StaticToken(token)
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, usagef("--address, --tls: %v", err)
	}
	return c.Conn(), nil
}

// token returns the token to send, empty for none.
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
