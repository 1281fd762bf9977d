package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// webhookSecretEnv holds the secret that signs webhooks. No flag does.
const webhookSecretEnv = "CLERK_WEBHOOK_SIGNING_SECRET"

// simFlags are the flags of a simulated Clerk.
type simFlags struct {
	key string // the only one that is accepted; empty: any

	Users        int           `env:"USERS" default:"10000" help:"How many users the simulated Clerk has."`
	Seed         uint64        `env:"SEED" default:"1" help:"The seed of the simulated users and of all random choices: the same seed makes the same users."`
	Latency      time.Duration `env:"LATENCY" default:"20ms" help:"How long a simulated answer takes."`
	Jitter       time.Duration `env:"JITTER" default:"10ms" help:"The maximum of a random time that is added to the latency."`
	QuotaKind    string        `env:"QUOTA_KIND" placeholder:"KIND" help:"How the simulated Clerk counts: fixed, first-hit, sliding, approx (windows) or bucket. Default: bucket with a burst, else fixed."`
	QuotaHeaders string        `env:"QUOTA_HEADERS" enum:"retry-after,all,none" default:"retry-after" help:"The headers of simulated answers about the quota: retry-after (on 429s), all (X-RateLimit-* too) or none."`

	WebhookURL     string        `env:"WEBHOOK_URL" placeholder:"URL" help:"Where to post signed events about changes of simulated users, such as http://127.0.0.1:9092/webhooks/clerk; needs $CLERK_WEBHOOK_SIGNING_SECRET. Default: nowhere."`
	WebhookDelay   time.Duration `env:"WEBHOOK_DELAY" default:"0s" help:"How long after a change its event is sent."`
	WebhookReorder time.Duration `env:"WEBHOOK_REORDER" default:"0s" help:"The maximum of a random time that is added to that, so that events overtake each other."`
	WebhookRepeat  int           `env:"WEBHOOK_REPEAT" default:"0" help:"How often an event is sent again after it was accepted."`
	WebhookDrop    float64       `env:"WEBHOOK_DROP" default:"0" help:"The share of events that are never sent, from 0 to 1."`
	WebhookForge   float64       `env:"WEBHOOK_FORGE" default:"0" help:"The share of events, from 0 to 1, that are preceded by a forged one."`
}

// config returns the configuration of a simulator with the quota given, which signs
// webhooks with secret. Errors have prefix before the names of flags.
func (f simFlags) config(prefix, secret string, quota clerksim.Quota) (clerksim.Config, error) {
	quota.Kind = clerksim.QuotaKind(f.QuotaKind)
	quota.Headers = clerksim.QuotaHeaders(f.QuotaHeaders)
	config := clerksim.Config{
		Users: f.Users, Seed: f.Seed, SecretKey: f.key, Quota: quota, Latency: f.Latency, Jitter: f.Jitter,
		Webhook: clerksim.Webhook{
			URL: f.WebhookURL, Secret: secret, Delay: f.WebhookDelay, Reorder: f.WebhookReorder,
			Repeat: f.WebhookRepeat, Drop: f.WebhookDrop, Forge: f.WebhookForge,
		},
	}
	for _, n := range []struct {
		flag        string
		value, most float64 // most is 0: no limit
	}{
		{"latency", f.Latency.Seconds(), 0}, {"jitter", f.Jitter.Seconds(), 0}, {"webhook-delay", f.WebhookDelay.Seconds(), 0},
		{"webhook-reorder", f.WebhookReorder.Seconds(), 0}, {"webhook-repeat", float64(f.WebhookRepeat), 0},
		{"webhook-drop", f.WebhookDrop, 1}, {"webhook-forge", f.WebhookForge, 1},
	} {
		switch {
		case n.most > 0 && !(n.value >= 0 && n.value <= n.most):
			return config, usagef("--%s%s: want 0 to 1", prefix, n.flag)
		case n.value < 0:
			return config, usagef("--%s%s: want 0 or more", prefix, n.flag)
		}
	}
	if f.Users < 1 {
		return config, usagef("--%susers: want 1 or more", prefix)
	}
	if err := (clerksim.Config{Quota: clerksim.Quota{Kind: quota.Kind}}).Check(); err != nil {
		return config, usagef("--%squota-kind: %v", prefix, err)
	}
	if f.WebhookURL != "" && secret == "" {
		return config, usagef("--%swebhook-url: needs %s", prefix, webhookSecretEnv)
	}
	if err := config.Check(); err != nil {
		name := "webhook-url and " + webhookSecretEnv
		if f.WebhookURL == "" {
			name = "quota"
		}
		return config, usagef("--%s%s: %v", prefix, name, err)
	}
	return config, nil
}

// check returns an error if the flags are invalid. It makes no users.
func (f simFlags) check(prefix, secret string, quota clerksim.Quota) error {
	_, err := f.config(prefix, secret, quota)
	return err
}

// simulator makes a simulated Clerk, as config describes it.
func (f simFlags) simulator(prefix, secret string, quota clerksim.Quota) (*clerksim.Sim, error) {
	config, err := f.config(prefix, secret, quota)
	if err != nil {
		return nil, err
	}
	return clerksim.New(config)
}

// simCmd is `clerkgate sim`.
type simCmd struct {
	simFlags    `embed:"" envprefix:"CLERKGATE_SIM_"`
	Listen      string `env:"CLERKGATE_SIM_LISTEN" default:"127.0.0.1:9099" help:"Where to listen, host:port. Everybody who can connect can read and change everything simulated."`
	Quota       string `env:"CLERKGATE_SIM_QUOTA" default:"100/10s" help:"Requests per window, such as 100/10s, or off."`
	Burst       int    `env:"CLERKGATE_SIM_BURST" default:"0" help:"Size of the token bucket, in requests. 0: a strict window."`
	Key         string `env:"CLERKGATE_SIM_KEY" placeholder:"KEY" help:"The only secret key to accept; others get 401. Use a made-up one, such as sk_test_simulated: every user of the machine can see command lines. Default: every key that begins with sk_test_ or sk_live_."`
	TLS         bool   `env:"CLERKGATE_SIM_TLS" help:"Serve HTTP/2 over TLS, with a certificate that is made at the start."`
	TLSCertFile string `env:"CLERKGATE_SIM_TLS_CERT_FILE" placeholder:"FILE" help:"Where to write that certificate, for clients to trust. Needs --tls."`
}

// Run simulates Clerk until ctx ends.
func (c *simCmd) Run(ctx context.Context, std streams) error {
	if c.TLSCertFile != "" && !c.TLS {
		return usagef("--tls-cert-file: needs --tls")
	}
	quota, err := clerksim.ParseQuota(c.Quota)
	if err != nil {
		return usagef("--quota: %v", err)
	}
	quota.Burst = c.Burst
	key, shown := "it accepts any key that begins with sk_test_ or sk_live_", "sk_test_simulated"
	if c.Key != "" {
		parsed, err := clerkapi.ParseKey(c.Key)
		if err != nil {
			return usagef("--key: %v", err)
		}
		c.simFlags.key, key, shown = parsed.Secret(), "it accepts only the given key", "$KEY"
	}
	sim, err := c.simulator("", os.Getenv(webhookSecretEnv), quota)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return usagef("--listen: %v", err)
	}
	scheme := "http"
	var tlsConfig *tls.Config
	if c.TLS {
		scheme = "https"
		if tlsConfig, err = c.certificate(); err != nil {
			listener.Close()
			return err
		}
	}
	url := scheme + "://" + listener.Addr().String()
	fmt.Fprintf(std.err, "SIMULATED Clerk with %d users at %s; %s. Try:\n", c.Users, url, key)
	fmt.Fprintf(std.out, "curl %s-H \"Authorization: Bearer %s\" %s/v1/users/%s\n", curlTrust(c), shown, url, sim.UserIDs(1)[0])
	return sim.Serve(ctx, listener, tlsConfig)
}

// curlTrust lets curl accept the certificate.
func curlTrust(c *simCmd) string {
	switch {
	case !c.TLS:
		return ""
	case c.TLSCertFile != "":
		return "--cacert " + c.TLSCertFile + " "
	}
	return "--insecure "
}

// certificate makes the certificate, and writes it for clients to trust.
func (c *simCmd) certificate() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, usagef("--listen: %v", err)
	}
	var hosts []string
	if host != "" {
		hosts = append(hosts, host)
	}
	config, pem, err := clerksim.SelfSigned(hosts...)
	if err != nil {
		return nil, err
	}
	if c.TLSCertFile != "" {
		if err := os.WriteFile(c.TLSCertFile, pem, 0o644); err != nil {
			return nil, usagef("--tls-cert-file: %v", err)
		}
	}
	return config, nil
}
