package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/server"
)

// secretKeyEnv holds the secret key. No flag does.
const secretKeyEnv = "CLERK_SECRET_KEY"

// simulatedKey is what the embedded simulator is asked with.
const simulatedKey = "sk_test_simulated"

// serveCmd is `clerkgate serve`.
type serveCmd struct {
	Config string `placeholder:"FILE" help:"A YAML file of settings, named as the flags are. A flag beats the environment, which beats the file."`

	GRPCListen string `name:"grpc-listen" default:"127.0.0.1:9090" help:"Where to serve gRPC, host:port."`
	HTTPListen string `name:"http-listen" default:"127.0.0.1:9091" help:"Where to serve /healthz and /readyz, host:port."`

	ClerkAPIURL        string `name:"clerk-api-url" env:"CLERKGATE_CLERK_API_URL,CLERK_API_URL" default:"https://api.clerk.com" help:"Clerk's base URL, without /v1."`
	ClerkCAFile        string `name:"clerk-ca-file" placeholder:"FILE" help:"PEM certificates to trust at Clerk's URL instead of the system's."`
	ClerkSecretKeyFile string `placeholder:"FILE" help:"The file that holds Clerk's secret key; it is read again when it changes. Without it, the key is taken from the environment variable CLERK_SECRET_KEY."`

	Quota string `placeholder:"QUOTA" help:"What Clerk allows: development (100/10s), production (1000/10s), free (20/10s, burst 40), pro (100/10s, burst 200), or requests per window such as 250/10s. Default: by the key, development for sk_test_ and production for sk_live_."`
	Burst int    `default:"0" help:"Makes the quota a token bucket of this many requests, refilled at the quota's rate. 0: a strict window, or the preset's burst."`

	QuotaReserve string `default:"0%" placeholder:"SHARE" help:"The share of the quota that is left to other users of the key, such as 30%. 0% to 99%."`
	Pace         string `enum:"auto,always" default:"auto" help:"When requests are spaced evenly: auto, as the window empties; always, from the first on."`
	FirstWindow  string `enum:"slow,wait,full" default:"slow" help:"What a server that knows of no earlier use of the key sends in its first window: slow, a tenth at once and the rest spread over the window; wait, nothing; full, all at once. --sim has no earlier use, and needs none of it."`
	StateDir     string `placeholder:"DIR" help:"Where a lone server keeps what it has spent of the quota, so that a restart does not spend it twice. Replicas that share a key can't share it."`

	UpstreamTimeout  time.Duration `default:"10s" help:"How long one request to Clerk may take."`
	DefaultTimeout   time.Duration `default:"30s" help:"How long a call without a deadline may take, and each page of a stream."`
	DrainTimeout     time.Duration `default:"10s" help:"How long a stopping server waits for calls to end."`
	BreakerFailures  int           `default:"5" help:"Failed requests in a row that open the breaker; half of the last 20 do so, too."`
	BreakerOpen      time.Duration `default:"1s" help:"How long the breaker stays open before it tries again."`
	QueueLimit       int           `default:"100000" help:"How many wants (ids, lists and counts) may wait, in all."`
	CallerQueueLimit int           `default:"20000" help:"How many wants of one caller may wait."`
	MaxInFlight      int           `default:"64" help:"How many requests may be at Clerk at once."`

	Sim      bool     `help:"Run a simulated Clerk and serve its users: no account and no key needed."`
	SimFlags simFlags `embed:"" prefix:"sim-" envprefix:"CLERKGATE_SIM_"`

	logFlags `embed:""`
}

// BeforeResolve reads the configuration file, if there is one.
func (c *serveCmd) BeforeResolve(parsing *kong.Context) error {
	flags := parsing.Selected().Flags
	i := slices.IndexFunc(flags, func(f *kong.Flag) bool { return f.Name == "config" })
	path, _ := parsing.FlagValue(flags[i]).(string)
	if path == "" {
		return nil
	}
	file, err := readConfig(path, flags)
	if err != nil {
		return err
	}
	parsing.AddResolver(file)
	return nil
}

// check looks at the numbers that have a least value.
func (c *serveCmd) check() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"upstream-timeout", c.UpstreamTimeout}, {"default-timeout", c.DefaultTimeout},
		{"drain-timeout", c.DrainTimeout}, {"breaker-open", c.BreakerOpen},
	} {
		if d.value <= 0 {
			return usagef("--%s: want a duration above 0, such as 10s", d.flag)
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"breaker-failures", c.BreakerFailures}, {"queue-limit", c.QueueLimit},
		{"caller-queue-limit", c.CallerQueueLimit}, {"max-in-flight", c.MaxInFlight},
	} {
		if n.value < 1 {
			return usagef("--%s: want 1 or more", n.flag)
		}
	}
	if c.Burst < 0 {
		return usagef("--burst: want 0 or more requests")
	}
	for _, a := range []struct{ flag, value string }{{"grpc-listen", c.GRPCListen}, {"http-listen", c.HTTPListen}} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return usagef("--%s: want host:port, such as 127.0.0.1:9090", a.flag)
		}
	}
	return nil
}

// key gives the source of the secret key.
func (c *serveCmd) key(logger *slog.Logger) (func() clerkapi.Key, error) {
	text := os.Getenv(secretKeyEnv)
	if c.Sim {
		text = simulatedKey
	}
	switch {
	case c.ClerkSecretKeyFile != "" && !c.Sim:
		file, err := clerkapi.OpenKeyFile(c.ClerkSecretKeyFile, func(err error) {
			if err != nil {
				logger.Error("the secret key's file holds no key: the last one stays in use", "error", err)
			} else {
				logger.Info("the secret key's file holds a key again")
			}
		})
		if err != nil {
			return nil, usagef("--clerk-secret-key-file: %v", err)
		}
		return file.Key, nil
	case text != "":
		key, err := clerkapi.ParseKey(text)
		if err != nil {
			return nil, usagef("%s: %v", secretKeyEnv, err)
		}
		return func() clerkapi.Key { return key }, nil
	}
	return nil, usagef("no Clerk secret key: set %s or --clerk-secret-key-file, or try --sim, which needs none", secretKeyEnv)
}

// quotaConfig gives the quota that is meant for a key of the instance.
func (c *serveCmd) quotaConfig(instance string) (quota.Config, error) {
	text := c.Quota
	if text == "" {
		text = "development"
		if instance == clerkapi.LiveInstance {
			text = "production"
		}
	}
	q, err := quota.Parse(text)
	if err != nil {
		return q, usagef("--quota: %v", err)
	}
	if c.Burst > 0 {
		q.Burst = c.Burst
	}
	if q.Reserve, err = parseShare(c.QuotaReserve); err != nil {
		return q, usagef("--quota-reserve: %v", err)
	}
	q.Pace = map[string]quota.Pace{"auto": quota.PaceAuto, "always": quota.PaceAlways}[c.Pace]
	if !c.Sim {
		q.FirstWindow = map[string]quota.FirstWindow{
			"slow": quota.SlowWindow, "wait": quota.WaitWindow, "full": quota.FullWindow,
		}[c.FirstWindow]
	}
	q.LostHold = 2 * c.UpstreamTimeout
	return q, nil
}

// parseShare reads a share such as 30%.
func parseShare(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 99) {
		return 0, fmt.Errorf("want 0%% to 99%%, not %q", text)
	}
	return percent / 100, nil
}

// rootCAs gives whom to trust at Clerk's URL, nil for the system's choice.
func (c *serveCmd) rootCAs() (*x509.CertPool, error) {
	if c.ClerkCAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.ClerkCAFile)
	if err != nil {
		return nil, usagef("--clerk-ca-file: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usagef("--clerk-ca-file: %s holds no PEM certificate", c.ClerkCAFile)
	}
	return pool, nil
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, std streams) error {
	logger := c.logger(std.err)
	if err := c.check(); err != nil {
		return err
	}
	key, err := c.key(logger)
	if err != nil {
		return err
	}
	quotaConfig, err := c.quotaConfig(key().Instance())
	if err != nil {
		return err
	}
	rootCAs, err := c.rootCAs()
	if err != nil {
		return err
	}
	apiURL, exampleID := c.ClerkAPIURL, "user_…"

	// What serves goes first, then the gate, then the simulator, so that calls
	// under way can still be answered.
	var wg sync.WaitGroup
	defer wg.Wait()
	lower, stopLower := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLower()
	if c.Sim {
		sim, err := c.SimFlags.simulator("sim-", clerksim.Quota{Limit: quotaConfig.Limit, Window: quotaConfig.Window, Burst: quotaConfig.Burst})
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("simulator: %w", err)
		}
		apiURL, exampleID = "http://"+listener.Addr().String(), sim.UserIDs(1)[0]
		logger.Warn("SIMULATED CLERK: every user is made up", "url", apiURL, "users", c.SimFlags.Users)
		wg.Go(func() {
			if err := sim.Serve(lower, listener, nil); err != nil {
				logger.Error("simulator", "error", err)
			}
		})
	}
	client, err := clerkapi.New(clerkapi.Config{
		BaseURL: apiURL, Key: func() string { return key().Secret() }, RootCAs: rootCAs, Timeout: c.UpstreamTimeout, Version: buildVersion(),
	})
	if err != nil {
		return usagef("--clerk-api-url: %v", err)
	}
	defer client.CloseIdleConnections()
	return c.serve(ctx, std, logger, client, key, quotaConfig, exampleID)
}

// serve runs the gate and the server on it until ctx ends.
func (c *serveCmd) serve(ctx context.Context, std streams, logger *slog.Logger, client *clerkapi.Client, key func() clerkapi.Key, q quota.Config, exampleID string) error {
	var ledger *gate.Ledger
	if c.StateDir != "" {
		var err error
		if ledger, err = gate.OpenLedger(c.StateDir); err != nil {
			return usagef("--state-dir: %v", err)
		}
	}
	g := gate.New(gate.Config{
		Upstream: client, Quota: q, Key: key, Ledger: ledger, MaxInFlight: c.MaxInFlight,
		QueueLimit: c.QueueLimit, CallerQueueLimit: c.CallerQueueLimit,
		BreakerFailures: c.BreakerFailures, BreakerOpen: c.BreakerOpen, Logger: logger,
	})
	gateCtx, stopGate := context.WithCancel(context.WithoutCancel(ctx))
	gateDone := make(chan error, 1)
	go func() { gateDone <- g.Run(gateCtx) }()

	err := server.New(server.Config{
		Upstream: g, GRPCListen: c.GRPCListen, HTTPListen: c.HTTPListen,
		DefaultTimeout: c.DefaultTimeout, DrainTimeout: c.DrainTimeout, Logger: logger,
		OnListen: func(grpc, http net.Addr) {
			logger.Info("serving", "version", buildVersion(), "grpc", grpc.String(), "http", http.String(),
				"quota", fmt.Sprintf("%d/%s", q.Limit, q.Window), "burst", q.Burst)
			if c.Sim {
				fmt.Fprintf(std.out, "grpcurl -plaintext -d '{\"user_id\":\"%s\"}' %s clerkgate.v1.UserService/GetUser\n", exampleID, grpc)
			}
		},
	}).Run(ctx)
	stopGate()
	if gateErr := <-gateDone; err == nil {
		err = gateErr
	}
	if err == nil {
		logger.Info("stopped")
	}
	return err
}
