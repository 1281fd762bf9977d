package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/server"
)

// warnings returns what is unsafe about the settings, and which of those given have
// no effect. No line holds a secret.
func (c *serveCmd) warnings(o *origins, flags []*kong.Flag, s settings) []string {
	w := c.exposures(s)
	w = append(w, c.readableSecrets()...)
	w = append(w, c.quotaRisks(s)...)
	return append(w, c.unused(o, flags, s)...)
}

// exposures are what others can see or reach.
func (c *serveCmd) exposures(s settings) []string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if !onlyHere(c.GRPCListen) {
		c.exposedGRPC(s, add)
	}
	if !onlyHere(c.HTTPListen) && c.CallersFile == "" && s.tls.http.ClientCA == "" {
		add("--http-listen %s: whoever reaches it can read users and the metrics, with the names of callers", c.HTTPListen)
	}
	switch {
	case c.Sim:
	case s.view == server.FullViewAny:
		add("--full-view any: every caller can read private metadata")
	case s.view == server.FullViewLoopback:
		add("--full-view loopback: behind a proxy or sidecar on this machine, every caller can read private metadata")
	}
	if u, err := url.Parse(c.ClerkAPIURL); err == nil && !c.Sim {
		if u.Scheme == "http" && !onlyHere(net.JoinHostPort(u.Hostname(), "80")) {
			add("--clerk-api-url: the secret key and all users go unencrypted to %s", u.Host)
		}
		if u.Hostname() != "api.clerk.com" {
			add("--clerk-api-url: the secret key is sent to %s", u.Host)
		}
	}
	if u, err := url.Parse(s.cache.RedisURL); err == nil && s.cache.RedisURL != "" {
		switch {
		case u.Scheme == "redis" && !onlyHere(net.JoinHostPort(u.Hostname(), "80")) && c.CacheEncryptionKeyFile == "":
			add("--redis-url: names and addresses of users go unencrypted to %s; use rediss:// or --cache-encryption-key-file", u.Host)
		case u.Query().Has("skip_verify") && u.Query().Get("skip_verify") != "false" && u.Query().Get("skip_verify") != "0":
			add("--redis-url: skip_verify: anybody in between can pose as Redis; use --redis-ca-file")
		}
	}
	return w
}

// exposedGRPC adds what others can see or reach by the gRPC listener.
func (c *serveCmd) exposedGRPC(s settings, add func(format string, args ...any)) {
	encrypted := s.tls.grpc != (server.TLSFiles{})
	switch {
	case c.CallersFile != "" && !encrypted:
		add("--grpc-listen %s: tokens and users go unencrypted, unless a mesh encrypts them", c.GRPCListen)
	case c.CallersFile != "" || s.tls.grpc.ClientCA != "":
	case encrypted:
		add("--grpc-listen %s: whoever reaches it can read every user, unauthenticated", c.GRPCListen)
	default:
		add("--grpc-listen %s: whoever reaches it can read every user, unauthenticated and unencrypted", c.GRPCListen)
	}
}

// onlyHere reports whether an address to listen at can be reached from this machine only.
func onlyHere(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// readableSecrets are files of secrets that other users of the machine may read.
func (c *serveCmd) readableSecrets() []string {
	if runtime.GOOS == "windows" {
		return nil // files have no such modes
	}
	var w []string
	for _, f := range []struct{ flag, path string }{
		{"clerk-secret-key-file", c.ClerkSecretKeyFile}, {"webhook-secret-file", c.WebhookSecretFile}, {"redis-url-file", c.RedisURLFile},
		{"cache-encryption-key-file", c.CacheEncryptionKeyFile},
	} {
		const others fs.FileMode = 0o007
		if info, err := os.Stat(f.path); f.path != "" && err == nil && info.Mode()&others != 0 {
			w = append(w, fmt.Sprintf("--%s: every user of this machine may use %s, by its mode %v", f.flag, f.path, info.Mode()))
		}
	}
	return w
}

// quotaRisks are ways in which Clerk's quota may be spent twice.
func (c *serveCmd) quotaRisks(s settings) []string {
	var w []string
	if c.FirstWindow == "full" && c.StateDir == "" && !c.Sim && s.cache.RedisURL == "" {
		w = append(w, "--first-window full: a restart may spend the quota of a window twice")
	}
	return w
}

// unused are settings that were given and have no effect.
func (c *serveCmd) unused(o *origins, flags []*kong.Flag, s settings) []string {
	var w []string
	noEffect := func(name, why string) {
		if from := o.of(name); from.place != fromDefault {
			w = append(w, fmt.Sprintf("--%s (%v) has no effect: %s", name, from, why))
		}
	}
	if c.Sim {
		for _, name := range []string{"clerk-api-url", "clerk-ca-file", "clerk-secret-key-file", "first-window"} {
			noEffect(name, "--sim brings a Clerk and a key of its own")
		}
	} else {
		for _, f := range flags {
			if strings.HasPrefix(f.Name, "sim-") {
				noEffect(f.Name, "--sim is off")
			}
		}
		if c.ClerkSecretKeyFile != "" && os.Getenv(secretKeyEnv) != "" {
			w = append(w, secretKeyEnv+" has no effect: --clerk-secret-key-file beats it")
		}
	}
	if c.WebhookListen == "" {
		noEffect("webhook-secret-file", "--webhook-listen is not given")
	} else if c.WebhookSecretFile != "" && os.Getenv(webhookSecretEnv) != "" {
		w = append(w, webhookSecretEnv+" has no effect: --webhook-secret-file beats it")
	}
	if s.cache.RedisURL == "" {
		for _, name := range []string{"redis-ca-file", "without-redis"} {
			noEffect(name, "--redis-url is not given")
		}
	}
	if c.Tracing == "off" {
		noEffect("trace-sample", "--tracing is off")
	}
	if c.StaleIfError < c.CacheTTL {
		noEffect("stale-if-error", "it is shorter than --cache-ttl")
	}
	if c.CallerQueueLimit > c.QueueLimit {
		noEffect("caller-queue-limit", "it is more than --queue-limit")
	}
	return w
}
