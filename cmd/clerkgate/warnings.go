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

// warnings returns warnings about unsafe settings, and about given settings that have no
// effect. They contain no secret.
func (c *serveCmd) warnings(o *origins, flags []*kong.Flag, s settings) []string {
	w := c.exposures(s)
	w = append(w, c.closedListeners(s)...)
	w = append(w, c.shownPassword(o)...)
	w = append(w, c.readableSecrets()...)
	w = append(w, c.quotaRisks(s)...)
	return append(w, c.unused(o, flags, s)...)
}

// exposures returns warnings about what others can see or reach.
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
		case c.CacheEncryptionKeyFile != "":
		case u.Scheme == "redis" && !onlyHere(net.JoinHostPort(u.Hostname(), "80")):
			add("--redis-url: names and addresses of users are sent unencrypted to %s and stored there in clear; use rediss:// and --cache-encryption-key-file", u.Host)
		default:
			add("--redis-url: Redis holds names and addresses of users in clear, and no private parts; --cache-encryption-key-file encrypts both")
		}
		if u.Query().Has("skip_verify") && u.Query().Get("skip_verify") != "false" && u.Query().Get("skip_verify") != "0" {
			add("--redis-url: skip_verify: anybody in between can pose as Redis; use --redis-ca-file")
		}
	}
	if s.needsClientCA && s.tls.grpc.ClientCA == "" && s.tls.http.ClientCA == "" {
		add("--callers-file: no certificate is recognized: there is no --client-ca-file, and no mesh in the file")
	}
	return w
}

// closedListeners are listeners on which every call is refused, since callers need a certificate
// and can't show one there.
func (c *serveCmd) closedListeners(s settings) []string {
	if c.CallersFile != "" || s.tls.grpc.ClientCA == "" {
		return nil
	}
	var w []string
	for _, l := range []struct {
		flag, address, what string
		tls                 server.TLSFiles
	}{
		{"grpc-listen", c.GRPCListen, "every call", s.tls.grpc},
		{"http-listen", c.HTTPListen, "every call, the page and /metrics", s.tls.http},
	} {
		if strings.HasPrefix(l.address, "unix:") || l.address != server.NoListener && l.tls == (server.TLSFiles{}) {
			w = append(w, fmt.Sprintf("--%s %s: %s will be refused: --client-ca-file requires a certificate, and this listener has no TLS; use --callers-file", l.flag, l.address, l.what))
		}
	}
	return w
}

// exposedGRPC adds warnings about what others can see or reach by the gRPC listener.
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

// onlyHere reports whether an address to listen at can be reached from this machine only, or
// there is none.
func onlyHere(address string) bool {
	if strings.HasPrefix(address, "unix:") || address == server.NoListener {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// shownPassword returns a warning if others on this machine may read the password of Redis.
func (c *serveCmd) shownPassword(o *origins) []string {
	u, err := url.Parse(c.RedisURL)
	if err != nil || u.User == nil {
		return nil
	}
	if _, has := u.User.Password(); !has {
		return nil
	}
	switch from := o.of("redis-url"); {
	case from.place == fromFlag:
		return []string{"--redis-url: every user of this machine can read the password in the list of processes; use --redis-url-file"}
	case from.place == fromFile && readableByOthers(from.name):
		return []string{fmt.Sprintf("--redis-url: every user of this machine can read the password in %s; use --redis-url-file", from.name)}
	}
	return nil
}

// readableByOthers reports whether every user of the machine may use a file, by its mode.
func readableByOthers(path string) bool {
	const others fs.FileMode = 0o007
	info, err := os.Stat(path)
	return runtime.GOOS != "windows" && err == nil && info.Mode()&others != 0 // Windows has no such modes
}

// readableSecrets returns warnings about files of secrets that other users may read.
func (c *serveCmd) readableSecrets() []string {
	var w []string
	for _, f := range []struct{ flag, path string }{
		{"clerk-secret-key-file", c.ClerkSecretKeyFile}, {"webhook-secret-file", c.WebhookSecretFile}, {"redis-url-file", c.RedisURLFile},
		{"cache-encryption-key-file", c.CacheEncryptionKeyFile}, {"tls-key-file", c.TLSKeyFile}, {"http-tls-key-file", c.HTTPTLSKeyFile},
		{"webhook-tls-key-file", c.WebhookTLSKeyFile},
	} {
		if f.path != "" && readableByOthers(f.path) {
			w = append(w, fmt.Sprintf("--%s: every user of this machine may use %s, by its mode", f.flag, f.path))
		}
	}
	return w
}

// quotaRisks returns warnings about ways in which Clerk's quota may be spent twice.
func (c *serveCmd) quotaRisks(s settings) []string {
	var w []string
	if c.FirstWindow == "full" && c.StateDir == "" && !c.Sim && s.cache.RedisURL == "" {
		w = append(w, "--first-window full: a restart may spend the quota of a window twice")
	}
	return w
}

// unused returns the given settings that have no effect.
func (c *serveCmd) unused(o *origins, flags []*kong.Flag, s settings) []string {
	var w []string
	noEffect := func(name, why string) {
		if from := o.of(name); from.place != fromDefault {
			w = append(w, fmt.Sprintf("--%s (%v) has no effect: %s", name, from, why))
		}
	}
	for _, f := range flags {
		winner := ""
		for _, name := range f.Envs {
			switch {
			case strings.TrimSpace(os.Getenv(name)) == "":
			case winner == "":
				winner = name
			default:
				w = append(w, name+" has no effect: "+winner+" takes precedence")
			}
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
			w = append(w, secretKeyEnv+" has no effect: --clerk-secret-key-file takes precedence")
		}
	}
	if c.WebhookListen == "" {
		noEffect("webhook-secret-file", "--webhook-listen is not given")
	} else if c.WebhookSecretFile != "" && os.Getenv(webhookSecretEnv) != "" {
		w = append(w, webhookSecretEnv+" has no effect: --webhook-secret-file takes precedence")
	}
	if s.cache.RedisURL == "" {
		for _, name := range []string{"redis-ca-file", "without-redis"} {
			noEffect(name, "--redis-url is not given")
		}
	}
	if c.httpOff() {
		const off = "--http-listen is off"
		if c.Metrics == "prometheus" { // by default, too: the server would be blind
			w = append(w, "--metrics prometheus has no effect: "+off+"; use --metrics otlp")
		}
		if c.WebhookListen == "" {
			noEffect("http-idle-timeout", off)
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
