package main

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/livefile"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
	"github.com/clerkgate/clerkgate/internal/words"
	"github.com/clerkgate/clerkgate/server"
)

// secretKeyEnv holds the secret key. No flag does.
const secretKeyEnv = "CLERK_SECRET_KEY"

// simulatedKey is the secret key for the embedded simulator.
const simulatedKey = "sk_test_simulated"

// serveCmd is `clerkgate serve`.
type serveCmd struct {
	Config string `placeholder:"FILE" group:"General" help:"A YAML file of settings, with the names of the flags. A flag overrides the environment, which overrides the file."`

	GRPCListen string `name:"grpc-listen" unit:"address" default:"127.0.0.1:9090" group:"Listening" help:"The address to serve gRPC on: host:port, or unix:/path for a Unix socket with mode 0660."`
	HTTPListen string `name:"http-listen" unit:"address" default:"127.0.0.1:9091" group:"Listening" help:"The address to serve calls by Connect, gRPC-Web and JSON, the page, /healthz, /readyz and /metrics on: host:port, or unix:/path. off: no such listener; metrics then leave only with --metrics otlp."`
	FullView   string `placeholder:"WHO" group:"Listening" help:"Who may use USER_VIEW_FULL, which includes private metadata, if there is no callers file: none, nobody; loopback, callers that connect from a loopback address or through a Unix socket (behind a proxy or sidecar on the same machine, that is every caller); any, everybody. Default: none; any with --sim."`

	ClerkAPIURL        string `name:"clerk-api-url" unit:"URL" env:"CLERKGATE_CLERK_API_URL,CLERK_API_URL" default:"https://api.clerk.com" group:"Clerk" help:"Clerk's base URL, without /v1."`
	ClerkCAFile        string `name:"clerk-ca-file" placeholder:"FILE" group:"Clerk" help:"PEM certificates to trust for Clerk's URL instead of the system's (SSL_CERT_FILE and SSL_CERT_DIR change the system's)."`
	ClerkSecretKeyFile string `placeholder:"FILE" group:"Clerk" reload:"of the key in it, within a second" help:"The file that holds Clerk's secret key. It is read again when it changes. Default: the key is taken from the environment variable CLERK_SECRET_KEY."`

	Quota string `placeholder:"QUOTA" group:"Quota" help:"The quota that Clerk allows: development (100/10s), production (1000/10s), free (20/10s, burst 40), pro (100/10s, burst 200), or requests per window such as 250/10s. Default: development for an sk_test_ key, production for an sk_live_ key."`
	Burst int    `default:"0" group:"Quota" unit:"requests" help:"The size of the token bucket in requests; it refills at the quota's rate. 0: the preset's burst, or a strict window if it has none."`

	MaxLeased    string `default:"50%" placeholder:"SHARE" group:"Quota" help:"The part of the quota that all leases (AcquirePermits) together may hold at once, 1% to 100%. At least one permit may be lent."`
	QuotaReserve string `default:"0%" placeholder:"SHARE" group:"Quota" help:"The part of the quota to leave to other users of the key, 0% to 99%."`
	Pace         string `enum:"auto,always" default:"auto" group:"Quota" help:"When to space requests evenly: auto, as the window runs out; always, from the first request on."`
	FirstWindow  string `enum:"slow,wait,full" default:"slow" group:"Quota" help:"What to send in the first window, when earlier use of the key is unknown: slow, a tenth of the quota at once and the rest spread over the window; wait, nothing; full, all of it at once. No effect with --sim."`
	StateDir     string `placeholder:"DIR" group:"Quota" help:"The directory where a single server stores its use of the quota, so that a restart does not spend it twice. Not for replicas: they share the quota through --redis-url."`

	CacheTTL      time.Duration `name:"cache-ttl" default:"60s" group:"Cache and Redis" help:"The maximum age of a cached user if the call sets no max_age."`
	CacheMaxBytes string        `default:"256MiB" placeholder:"BYTES" group:"Cache and Redis" help:"The maximum memory of the cache, in bytes or with a unit: KiB, MiB, GiB (or Ki, Mi, Gi), kB, MB, GB (or k, M, G)."`
	StaleIfError  time.Duration `default:"24h" group:"Cache and Redis" help:"The maximum age of a cached user while Clerk is unavailable, if the call sets no max_age."`
	Instance      string        `placeholder:"NAME" group:"Clerk" help:"The name of the Clerk instance. It is part of every key in Redis, so two instances never mix, and a new secret key of the same instance changes nothing. Default: test or live, from the key."`
	RedisURL      string        `name:"redis-url" unit:"URL" placeholder:"URL" group:"Cache and Redis" help:"The Redis server through which replicas share the quota and a second cache level: redis://[user:password@]host:port[/database], rediss:// for TLS, or unix:///path for a socket. Its parameters are addr, client_name, db, dial_timeout, master_set, protocol, skip_verify and write_timeout; skip_verify=true trusts any certificate."`
	RedisURLFile  string        `name:"redis-url-file" placeholder:"FILE" group:"Cache and Redis" reload:"of the user and password in it, with the next connection (not to sentinels)" help:"The file that holds the Redis URL, for a URL with a password. The user and password are read again for each new connection."`
	RedisCAFile   string        `name:"redis-ca-file" placeholder:"FILE" group:"Cache and Redis" help:"PEM certificates to trust for a rediss:// URL instead of the system's (SSL_CERT_FILE and SSL_CERT_DIR change the system's)."`

	CacheEncryptionKeyFile string `placeholder:"FILE" group:"Cache and Redis" help:"The file of keys that encrypt cached users in Redis: on each line an id and 32 bytes in base64. The first key encrypts, all keys decrypt. Default: names and addresses are stored in clear, and private parts are not stored."`
	WithoutRedis           string `enum:"strict,available" default:"strict" group:"Cache and Redis" help:"What a replica serves from memory while it can't hear the other replicas through Redis: strict, nothing, so it never serves a user that another replica has invalidated; available, copies read in the last 5 s, and older ones (marked stale) while Clerk is unavailable too."`

	WebhookListen     string `placeholder:"ADDRESS" group:"Webhooks" help:"The address to receive Clerk's webhooks on, as POST /webhooks/clerk: host:port, or unix:/path. This listener may face the internet; it serves nothing else. Default: no webhooks."`
	WebhookSecretFile string `placeholder:"FILE" group:"Webhooks" reload:"of the secret in it, at once" help:"The file that holds the webhooks' signing secret (whsec_…). Default: the secret is taken from the environment variable CLERK_WEBHOOK_SIGNING_SECRET."`

	UpstreamTimeout  time.Duration `default:"10s" group:"Clerk" help:"The time limit of one request to Clerk."`
	DrainDelay       time.Duration `default:"1s" group:"Calls" help:"How long a stopping server continues to accept calls while its health is NOT_SERVING, so that load balancers can remove it first."`
	DrainTimeout     time.Duration `default:"10s" group:"Calls" help:"How long a stopping server then waits for calls to end."`
	BreakerFailures  int           `default:"5" group:"Clerk" unit:"requests" help:"The number of failed requests in a row that opens the circuit breaker. It also opens when half of the last 20 have failed."`
	BreakerOpen      time.Duration `default:"1s" group:"Clerk" help:"How long the circuit breaker stays open before it sends a probe."`
	QueueLimit       int           `default:"100000" group:"Calls" unit:"waiters" help:"The maximum number of ids, lists and counts that calls wait for at once. An id counts once for each call that waits for it."`
	CallerQueueLimit int           `default:"20000" group:"Calls" unit:"waiters" help:"The same limit for one caller: one name at one address, at one priority."`
	MaxInFlight      int           `default:"64" group:"Clerk" unit:"requests" help:"The maximum number of concurrent requests to Clerk. Fewer are sent while Clerk accepts fewer."`

	Metrics     string  `enum:"prometheus,otlp" default:"prometheus" group:"Metrics, tracing and logging" help:"How metrics leave the server: prometheus, at /metrics of the HTTP listener; otlp, there (unless --http-listen is off) and to an OpenTelemetry collector with OTLP over gRPC, every minute. The same environment variables as for --tracing configure the collector."`
	Tracing     string  `enum:"off,otlp" default:"off" group:"Metrics, tracing and logging" help:"Where to send spans: off, nowhere; otlp, to an OpenTelemetry collector with OTLP over gRPC. The environment variables OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4317), OTEL_EXPORTER_OTLP_HEADERS and so on configure the collector."`
	TraceSample float64 `default:"1" placeholder:"SHARE" group:"Metrics, tracing and logging" help:"The part of the traces started here that is sampled, 0 to 1. A call that belongs to a trace of its caller follows the caller's sampling decision."`

	Sim      bool     `group:"Simulator" help:"Run a simulated Clerk and serve its users. Needs no account and no key."`
	SimFlags simFlags `embed:"" group:"Simulator" prefix:"sim-" envprefix:"CLERKGATE_SIM_"`

	limitFlags  `embed:""`
	callerFlags `embed:""`
	tlsFlags    `embed:""`
	logFlags    `embed:"" group:"Metrics, tracing and logging"`
}

// check checks the numbers that have a minimum.
func (c *serveCmd) check() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"upstream-timeout", c.UpstreamTimeout}, {"default-timeout", c.DefaultTimeout},
		{"drain-timeout", c.DrainTimeout}, {"breaker-open", c.BreakerOpen},
		{"cache-ttl", c.CacheTTL}, {"stale-if-error", c.StaleIfError}, {"send-timeout", c.SendTimeout},
	} {
		if d.value <= 0 {
			return usagef("--%s: want a duration above 0, such as 10s", d.flag)
		}
	}
	if c.UpstreamTimeout > usercache.MaxUpstreamTimeout {
		return usagef("--upstream-timeout: want at most %s: invalidations are remembered for a little longer", words.Setting(usercache.MaxUpstreamTimeout))
	}
	if c.DrainDelay < 0 {
		return usagef("--drain-delay: want a duration of 0 or more, such as 5s")
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"breaker-failures", c.BreakerFailures}, {"queue-limit", c.QueueLimit},
		{"caller-queue-limit", c.CallerQueueLimit}, {"max-in-flight", c.MaxInFlight},
		{"max-connections", c.MaxConnections}, {"max-streams-per-caller", c.MaxStreams},
	} {
		if n.value < 1 {
			return usagef("--%s: want 1 or more", n.flag)
		}
	}
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) {
		return usagef("--trace-sample: want 0 to 1")
	}
	if _, err := parseBytes(c.MaxUnreadBytes, leastUnreadBytes, maxBytes); err != nil {
		return usagef("--max-unread-bytes: %v", err)
	}
	if _, err := c.limits(); err != nil {
		return err
	}
	if c.Burst < 0 {
		return usagef("--burst: want 0 or more requests")
	}
	var taken []string
	for _, a := range []struct{ flag, value string }{{"grpc-listen", c.GRPCListen}, {"http-listen", c.HTTPListen}, {"webhook-listen", c.WebhookListen}} {
		switch {
		case a.value == "" && a.flag == "webhook-listen", a.flag == "http-listen" && c.httpOff():
			continue
		}
		if err := server.CheckAddress(a.value); err != nil {
			if a.flag == "http-listen" {
				return usagef("--%s: %v; or %s for no HTTP listener", a.flag, err, server.NoListener)
			}
			return usagef("--%s: %v", a.flag, err)
		}
		address := server.CanonicalAddress(a.value)
		if slices.Contains(taken, address) && !strings.HasSuffix(address, ":0") {
			return usagef("--%s: %s is the address of another listener", a.flag, a.value)
		}
		taken = append(taken, address)
	}
	if err := c.checkHTTPOff(); err != nil {
		return err
	}
	_, err := c.fullView()
	return err
}

// httpOff reports whether there is no HTTP listener.
func (c *serveCmd) httpOff() bool { return c.HTTPListen == server.NoListener }

// checkHTTPOff checks that no flag needs an HTTP listener that is off.
func (c *serveCmd) checkHTTPOff() error {
	var given []string
	for _, f := range []struct {
		flag  string
		given bool
	}{
		{"--http-tls-cert-file", c.HTTPTLSCertFile != ""}, {"--http-tls-key-file", c.HTTPTLSKeyFile != ""}, {"--pprof", c.Pprof},
	} {
		if f.given {
			given = append(given, f.flag)
		}
	}
	if !c.httpOff() || len(given) == 0 {
		return nil
	}
	return usagef("%s: not together with --http-listen off: there is no HTTP listener", strings.Join(given, ", "))
}

// fullView returns who may use USER_VIEW_FULL.
func (c *serveCmd) fullView() (server.FullView, error) {
	switch c.FullView {
	case "":
		if c.Sim { // all private metadata is made up
			return server.FullViewAny, nil
		}
		return server.FullViewNone, nil
	case "none":
		return server.FullViewNone, nil
	case "loopback":
		return server.FullViewLoopback, nil
	case "any":
		return server.FullViewAny, nil
	}
	return 0, usagef("--full-view: want none, loopback or any")
}

// key returns the source of the secret key, and its file, nil if there is none.
func (c *serveCmd) key(logger *slog.Logger) (func() clerkapi.Key, *clerkapi.KeyFile, error) {
	text := os.Getenv(secretKeyEnv)
	if c.Sim {
		text = simulatedKey
	}
	switch {
	case c.ClerkSecretKeyFile != "" && !c.Sim:
		file, err := clerkapi.OpenKeyFile(c.ClerkSecretKeyFile, func(err error) {
			if err != nil {
				logger.Error("the secret key's file can't be used: the last key stays in use", "error", err)
			} else {
				logger.Info("the secret key in the file is in use")
			}
		})
		if err != nil {
			return nil, nil, usagef("--clerk-secret-key-file: %v", err)
		}
		return file.Key, file, nil
	case strings.TrimSpace(text) != "":
		key, err := clerkapi.ParseKey(text)
		if err != nil {
			return nil, nil, usagef("%s: %v", secretKeyEnv, err)
		}
		return func() clerkapi.Key { return key }, nil, nil
	}
	return nil, nil, usagef("no Clerk secret key: set %s or --clerk-secret-key-file, or try --sim, which needs none", secretKeyEnv)
}

// quotaConfig returns the quota of a key of the instance.
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
	if q.Reserve, err = parseShare(c.QuotaReserve, 0, 99); err != nil {
		return q, usagef("--quota-reserve: %v", err)
	}
	if q.MaxLeased, err = parseShare(c.MaxLeased, 1, 100); err != nil {
		return q, usagef("--max-leased: %v", err)
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

// parseShare reads a share such as 30%, from least to most.
func parseShare(text string, least, most float64) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= least && percent <= most) {
		return 0, fmt.Errorf("want %v%% to %v%%, not %q", least, most, text)
	}
	return percent / 100, nil
}

// rootCAs returns the certificates in the file that a flag names, nil if it names none.
func rootCAs(flag, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := livefile.Read(path)
	if err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usagef("--%s: %s holds no PEM certificate", flag, path)
	}
	return pool, nil
}

// cacheConfig returns the configuration of the cache for a Clerk instance.
func (c *serveCmd) cacheConfig(instance string, file *redislink.URLFile, logger *slog.Logger) (usercache.Config, error) {
	cfg := usercache.Config{TTL: c.CacheTTL, StaleIfError: c.StaleIfError, RedisInstance: c.Instance, Logger: logger}
	if cfg.RedisInstance == "" {
		cfg.RedisInstance = instance
	}
	if !instancePattern.MatchString(cfg.RedisInstance) {
		return cfg, usagef("--instance: want 1 to 64 letters, digits, '.', '_' and '-'")
	}
	var err error
	if cfg.MaxBytes, err = parseBytes(c.CacheMaxBytes, 1<<20, maxBytes); err != nil {
		return cfg, usagef("--cache-max-bytes: %v", err)
	}
	if cfg.RedisURL, cfg.RedisAccess, err = c.redis(file); err != nil {
		return cfg, err
	}
	cfg.AvailableWithoutRedis = c.WithoutRedis == "available"
	if c.CacheEncryptionKeyFile == "" {
		return cfg, nil
	}
	if cfg.RedisURL == "" {
		return cfg, usagef("--cache-encryption-key-file: there is nothing to encrypt without --redis-url")
	}
	text, err := livefile.Read(c.CacheEncryptionKeyFile)
	if err != nil {
		return cfg, usagef("--cache-encryption-key-file: %v", err)
	}
	if cfg.RedisKeys, err = usercache.ParseKeys(string(text)); err != nil {
		return cfg, usagef("--cache-encryption-key-file: %s: %v", c.CacheEncryptionKeyFile, err)
	}
	return cfg, nil
}

// redisFile opens the file of Redis's URL; it returns nil if there is none.
func (c *serveCmd) redisFile(logger *slog.Logger) (*redislink.URLFile, error) {
	if c.RedisURLFile == "" {
		return nil, nil
	}
	if c.RedisURL != "" {
		return nil, usagef("--redis-url-file: not together with --redis-url")
	}
	file, err := redislink.OpenURLFile(c.RedisURLFile, func(err error) {
		if err != nil {
			logger.Error("the Redis URL's file can't be used: the last URL stays in use", "error", err)
		} else {
			logger.Info("the Redis URL's file can be used again")
		}
	})
	if err != nil {
		return nil, usagef("--redis-url-file: %v", err)
	}
	return file, nil
}

// redis returns the URL of Redis and the access to it; an empty URL means no Redis.
func (c *serveCmd) redis(file *redislink.URLFile) (url string, access redislink.Access, err error) {
	url = c.RedisURL
	if file != nil {
		url, access.Credentials = file.URL(), file.Credentials
	}
	if access.RootCAs, err = rootCAs("redis-ca-file", c.RedisCAFile); err != nil {
		return "", access, err
	}
	if url == "" {
		return "", access, nil
	}
	if _, err := redislink.Options(url, access); err != nil {
		return "", access, usagef("--%s: %v", c.redisURLFlag(), err)
	}
	return url, access, nil
}

// redisURLFlag returns the name of the flag that Redis's URL comes from.
func (c *serveCmd) redisURLFlag() string {
	if c.RedisURLFile != "" {
		return "redis-url-file"
	}
	return "redis-url"
}

// simulatedSecret signs the embedded simulator's webhooks where no other is set.
const simulatedSecret = "whsec_c2ltdWxhdGVkIHdlYmhvb2sgc2VjcmV0"

// webhookSecret returns the source of the webhooks' secret, nil if none are received.
func (c *serveCmd) webhookSecret(logger *slog.Logger) (func() string, error) {
	if c.WebhookListen == "" {
		return nil, nil
	}
	source, name := func() string { return os.Getenv(webhookSecretEnv) }, webhookSecretEnv
	switch {
	case c.WebhookSecretFile != "":
		name = "--webhook-secret-file"
		if _, err := livefile.Read(c.WebhookSecretFile); err != nil {
			return nil, usagef("--webhook-secret-file: %v", err)
		}
		// Every request to the listener reads the file.
		lines := rate.Sometimes{Interval: 10 * time.Second}
		source = func() string {
			text, err := livefile.Read(c.WebhookSecretFile)
			if err != nil {
				lines.Do(func() { logger.Error("the webhook secret's file can't be read", "error", err) })
			}
			return string(text)
		}
	case c.Sim && source() == "":
		return func() string { return simulatedSecret }, nil
	case source() == "":
		return nil, usagef("--webhook-listen: needs a signing secret, by %s or --webhook-secret-file", webhookSecretEnv)
	}
	if err := webhook.CheckSecret(source()); err != nil {
		return nil, usagef("%s: %v", name, err)
	}
	return source, nil
}

var instancePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
