package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Config configures a Client. The zero value is valid.
type Config struct {
	// Address is the server's address: host:port, or a host alone for port 9090;
	// https://host:port for TLS, https://host for port 443; or unix:/path. Calls take
	// turns at the addresses that a name has. Default "127.0.0.1:9090".
	Address string
	// TLS, if not nil, makes the client use TLS with this configuration; LoadTLS reads
	// one from files. With nil, the client uses TLS for https:// addresses, and trusts
	// the system's authorities.
	TLS *tls.Config
	// Token returns the token to show; it is called for each call, concurrently. See
	// StaticToken and TokenFile. A token is sent over TLS, to a loopback address and to a
	// Unix socket only. Default: no token.
	Token func(context.Context) (string, error)
	// Caller is the name of the calling service, for fairness and usage figures: at most
	// 64 letters, digits, '.', '_', '-', '/' and ':'. Default: no name.
	Caller string
	// Priority is the priority of calls whose context has none; see WithPriority.
	// Default Interactive.
	Priority Priority
	// Timeout is the time limit of a call whose context has no deadline. Streams have
	// none. Default 10 s.
	Timeout time.Duration
	// DialOptions are further options of the connection, such as those of tracing. They
	// override the client's own.
	DialOptions []grpc.DialOption
}

// callerName is the form of a caller's name, or of none.
var callerName = regexp.MustCompile(`^[A-Za-z0-9._/:-]{0,64}$`)

// defaultTimeout is the default of Config.Timeout.
const defaultTimeout = 10 * time.Second

// retries retries UNAVAILABLE, and nothing else: after RESOURCE_EXHAUSTED the caller decides
// whether to come back. Every method is safe to repeat, AcquirePermits because this package
// names its requests. gRPC waits as long as the server asks for, and does not retry if that is
// beyond the deadline. After 50 failures no call is retried until enough have succeeded, ten for
// each failure, so that an outage does not triple the calls. Streams are not retried here: this package resumes them.
const retries = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [
		{"name": [{}], "retryPolicy": {
			"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}},
		{"name": [
			{"service": "clerkgate.v1.UserService", "method": "StreamUsers"},
			{"service": "clerkgate.v1.QuotaService", "method": "WatchQuota"}
		]}
	],
	"retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
}`

// pings find dead connections within 40 s. The server closes connections that ping more often
// than every 4 s.
var pings = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}

// reconnects bounds the time between tries to connect, 2 min by gRPC's default: all calls fail
// until the next try, also if the server is back.
var reconnects = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
	MinConnectTimeout: 20 * time.Second, // gRPC's default
}

// Client calls a clerkgate server. New returns one. Its methods are safe for concurrent use;
// one client is enough for a process.
type Client struct {
	conn    *grpc.ClientConn
	timeout time.Duration
	users   clerkgatev1.UserServiceClient
	quota   clerkgatev1.QuotaServiceClient
	callers clerkgatev1.CallerServiceClient
}

// New returns a client. It connects with its first call.
func New(cfg Config) (*Client, error) {
	target, secure, err := parseAddress(cfg.Address, cfg.TLS != nil)
	if err != nil {
		return nil, err
	}
	switch {
	case !callerName.MatchString(cfg.Caller):
		return nil, fmt.Errorf("Config.Caller is %q; want at most 64 letters, digits, '.', '_', '-', '/' and ':'", cfg.Caller)
	case cfg.Priority != "" && cfg.Priority != Interactive && cfg.Priority != Batch:
		return nil, fmt.Errorf("Config.Priority is %q; want %q or %q", cfg.Priority, Interactive, Batch)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("Config.Timeout is %v; want 0 for the default, or more", cfg.Timeout)
	case cfg.Token != nil && !secure && !staysHere(target):
		return nil, errors.New("a token is sent over TLS, to a loopback address or to a Unix socket only; use an https:// address")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Priority == "" {
		cfg.Priority = Interactive
	}
	transport := insecure.NewCredentials()
	if secure {
		transport = credentials.NewTLS(cfg.TLS) // clones it; nil is the default
	}
	each := &perCall{caller: cfg.Caller, priority: cfg.Priority, timeout: cfg.Timeout}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(retries),
		grpc.WithKeepaliveParams(pings),
		grpc.WithConnectParams(reconnects),
		grpc.WithNoProxy(), // HTTPS_PROXY is for the way out; clerkgate is inside
		grpc.WithUserAgent("clerkgate-go"),
		grpc.WithChainUnaryInterceptor(each.unary),
		grpc.WithChainStreamInterceptor(each.stream),
	}
	if cfg.Token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer(cfg.Token)))
	}
	target = strings.ReplaceAll(target, "%", "%25") // gRPC takes it for a URL
	conn, err := grpc.NewClient(target, append(options, cfg.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", cfg.Address, err)
	}
	return &Client{
		conn:    conn,
		timeout: cfg.Timeout,
		users:   clerkgatev1.NewUserServiceClient(conn),
		quota:   clerkgatev1.NewQuotaServiceClient(conn),
		callers: clerkgatev1.NewCallerServiceClient(conn),
	}, nil
}

// Close closes the connections. Calls in flight and later ones fail with the code Canceled.
func (c *Client) Close() error { return c.conn.Close() }

// Conn returns the connection, for generated code. Its calls have the client's caller,
// priority, token, time limit, retries and errors, but its streams do not resume.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }
