package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotaredis"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
	"github.com/clerkgate/clerkgate/internal/words"
	"github.com/clerkgate/clerkgate/server"
)

// settings are the parsed flags of serve.
type settings struct {
	key    func() clerkapi.Key
	files  secretFiles
	quota  quota.Config
	cache  usercache.Config
	clerk  clerkapi.Config
	secret func() string // of webhooks; nil: none are taken
	view   server.FullView
	spans  *telemetry.Tracing       // nil: nothing is traced
	export *telemetry.MetricsExport // nil: metrics are only scraped
	tls    listenerTLS

	needsClientCA bool // to recognize certificates in the callers file
}

// settings checks the flags and reads the files that they name. It opens and starts
// nothing. It finds every fault of the flags, the environment and the files, so that
// `clerkgate config check` accepts exactly what serve runs.
func (c *serveCmd) settings(logger *slog.Logger) (s settings, err error) {
	if err := c.check(); err != nil {
		return s, err
	}
	if s.view, err = c.fullView(); err != nil {
		return s, err
	}
	if s.tls, err = c.tls(); err != nil {
		return s, err
	}
	if s.needsClientCA, err = c.checkCallers(s.tls); err != nil {
		return s, err
	}
	if s.key, s.files.key, err = c.key(logger); err != nil {
		return s, err
	}
	if s.files.redis, err = c.redisFile(logger); err != nil {
		return s, err
	}
	instance := s.key().Instance()
	if s.quota, err = c.quotaConfig(instance); err != nil {
		return s, err
	}
	if s.cache, err = c.cacheConfig(instance, s.files.redis, logger); err != nil {
		return s, err
	}
	if s.secret, err = c.webhookSecret(logger); err != nil {
		return s, err
	}
	s.clerk = clerkapi.Config{
		BaseURL: c.ClerkAPIURL, Key: func() string { return s.key().Secret() }, Timeout: c.UpstreamTimeout, Version: buildVersion(),
	}
	if s.clerk.RootCAs, err = rootCAs("clerk-ca-file", c.ClerkCAFile); err != nil {
		return s, err
	}
	if client, err := clerkapi.New(s.clerk); err != nil {
		return s, usagef("--clerk-api-url: %v", err)
	} else {
		client.CloseIdleConnections()
	}
	if s.export, err = c.metricsExport(logger); err != nil {
		return s, err
	}
	if s.spans, err = c.tracing(logger); err != nil {
		return s, err
	}
	if c.Sim {
		if c.WebhookListen != "" && c.SimFlags.WebhookURL == "" && s.tls.webhooks != (server.TLSFiles{}) {
			return s, usagef("--webhook-listen: the simulated Clerk sends its webhooks without TLS: add --webhook-tls-cert-file off")
		}
		if err := c.simulator(s).check("sim-", s.simulatedSecret(), s.simulatedQuota()); err != nil {
			return s, err
		}
	}
	return s, c.checkStateDir(s.cache.RedisURL != "")
}

// ledgerInstance returns the name of the instance whose quota the state directory keeps.
// A simulated Clerk has a name of its own.
func (c *serveCmd) ledgerInstance(instance string) string {
	if c.Sim {
		return "simulated"
	}
	return instance
}

// checkStateDir checks the directory of the ledger, without opening it.
func (c *serveCmd) checkStateDir(shared bool) error {
	if c.StateDir == "" {
		return nil
	}
	if shared {
		return usagef("--state-dir: only for a single server; with --redis-url, Redis keeps the use of the quota")
	}
	info, err := os.Stat(c.StateDir)
	switch {
	case err != nil:
		return usagef("--state-dir: %v", err)
	case !info.IsDir():
		return usagef("--state-dir: %s is not a directory", c.StateDir)
	}
	return nil
}

// place returns the host and the port or socket of this server, empty if they may change
// with every start.
func (c *serveCmd) place() string {
	host, err := os.Hostname()
	if err == nil && strings.HasPrefix(c.GRPCListen, "unix:") {
		return host + ":" + c.GRPCListen
	}
	_, port, splitErr := net.SplitHostPort(c.GRPCListen)
	if err != nil || splitErr != nil || host == "localhost" || port == "0" {
		return ""
	}
	return host + ":" + port
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, parsed *kong.Context, std streams, o *origins) error {
	level := &slog.LevelVar{}
	level.Set(slog.Level(c.LogLevel))
	logger := c.logger(std.err, level)
	hangups := make(chan os.Signal, 1) // from here on, SIGHUP does not end the process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	if c.Tracing != "off" || c.Metrics == "otlp" {
		telemetry.LogOpenTelemetry(logger) // before anything of it is made
	}
	s, err := c.settings(logger)
	if err != nil {
		return err
	}
	var state *statefile.File
	if c.StateDir != "" {
		if state, err = statefile.Open(c.StateDir, c.ledgerInstance(s.cache.RedisInstance)); err != nil {
			return usagef("--state-dir: %v", err)
		}
	}
	spans, stopSpans := startTracing(ctx, s.spans, logger)
	defer stopSpans() // last of all, so that every span has ended
	// The server ends first, and then what it uses, so that calls in flight can still be
	// answered.
	var below sync.WaitGroup
	defer below.Wait()
	belowCtx, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	run := func(what string, run func(context.Context) error) {
		below.Go(func() {
			if err := run(belowCtx); err != nil {
				logger.Error(what, "error", err)
			}
		})
	}

	var simulated net.Listener // of the simulated Clerk; nil: there is none
	if c.Sim {
		if simulated, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("simulator: %w", err)
		}
		defer simulated.Close()
		s.clerk.BaseURL = "http://" + simulated.Addr().String()
	}
	s.clerk.Tracer = spans.tracer("clerkapi")
	unread := &clerkapi.UnreadFields{First: func(field string) {
		logger.Warn("a field of Clerk's users has values of an unexpected type, which can't be read", "field", field)
	}}
	s.clerk.Unread = unread.Note
	client, err := clerkapi.New(s.clerk)
	if err != nil {
		return usagef("--clerk-api-url: %v", err)
	}
	defer client.CloseIdleConnections()
	s.cache.RedisErrors = &redislink.Errors{}
	store, err := usercache.NewStore(s.cache)
	if err != nil {
		return usagef("--redis-url: %v", err)
	}
	var shared *quotaredis.Store
	if s.cache.RedisURL != "" {
		if shared, err = quotaredis.New(s.cache.RedisURL, s.cache.RedisInstance, s.cache.RedisAccess); err != nil {
			return usagef("--redis-url: %v", err)
		}
		defer shared.Close()
		shared.CountErrors(s.cache.RedisErrors)
	}
	callers, observer := usage.New(), telemetry.NewGateObserver(spans.tracer("gate"))
	gateConfig := gate.Config{
		Callers:  callers,
		Upstream: client, Quota: s.quota, Key: s.key, AskKey: !c.Sim, StateFile: state, Stamp: store.Stamp, Keep: store.Keep,
		MaxInFlight: c.MaxInFlight, QueueLimit: c.QueueLimit, CallerQueueLimit: c.CallerQueueLimit,
		BreakerFailures: c.BreakerFailures, BreakerOpen: c.BreakerOpen, Logger: logger, Observer: observer,
	}
	if shared != nil {
		gateConfig.Shared, gateConfig.Place = shared, c.place()
	}
	g := gate.New(gateConfig)
	cache := usercache.New(store, g, callers)
	run("cache", store.Run)
	run("refreshing", cache.Run)

	hooks, metrics := webhook.New(webhook.Config{Secret: s.secret, Sink: store, Logger: logger}), prometheus.NewRegistry()
	maxUnread, err := parseBytes(c.MaxUnreadBytes, leastUnreadBytes, maxBytes)
	if err != nil {
		return err
	}
	limits, err := c.limits()
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	var simErr error
	var srv *server.Server
	shown := page.Sources{
		Version: buildVersion(), Store: store, SpansLost: spans.sender.Lost, KeyFile: s.files.keyErr, KeyPlace: c.keyPlace(),
		MaxInFlight: c.MaxInFlight, Settings: pageSettings(c.effective(o, settingsFlags(parsed), s)),
	}
	if c.WebhookListen != "" {
		shown.Webhooks = hooks
	}
	srv = server.New(server.Config{
		Users: cache, Quota: g, Callers: callers, Requests: observer, Instance: s.cache.RedisInstance, GRPCListen: c.GRPCListen, HTTPListen: c.HTTPListen,
		WebhookListen: c.WebhookListen, Webhooks: hooks,
		TLS: s.tls.grpc, HTTPTLS: s.tls.http, WebhookTLS: s.tls.webhooks, Metrics: metrics, Traces: spans.provider,
		CallersFile: c.CallersFile, Unauthenticated: c.unauthenticated(s.tls), Pprof: c.Pprof,
		FullView: s.view, DefaultTimeout: c.DefaultTimeout, DrainDelay: c.DrainDelay, DrainTimeout: c.DrainTimeout, Logger: logger,
		MaxConnections: c.MaxConnections, MaxStreamsPerCaller: c.MaxStreams, MaxUnreadBytes: maxUnread, SendTimeout: c.SendTimeout, Limits: limits,
		Notes: s.files.notes, Page: &shown,
		OnListen: func(at server.Addresses) {
			exampleID := "user_…"
			if c.Sim { // only now: making many users takes a while, for nothing if a port is taken
				var sim *clerksim.Sim
				if sim, simErr = c.simulator(s).simulator("sim-", s.simulatedSecret(), s.simulatedQuota()); simErr != nil {
					stopServing()
					return
				}
				exampleID = sim.UserIDs(1)[0]
				logger.Warn("SIMULATED CLERK: every user is made up", "url", s.clerk.BaseURL, "users", c.SimFlags.Users)
				run("simulator", func(ctx context.Context) error { return sim.Serve(ctx, simulated, nil) })
			}
			http := server.NoListener
			if at.HTTP != nil {
				http = at.HTTP.String()
			}
			attrs := []any{"version", buildVersion(), "grpc", at.GRPC.String(), "http", http,
				"quota", fmt.Sprintf("%d/%s", s.quota.Limit, words.Setting(s.quota.Window)), "burst", s.quota.Burst}
			if at.Webhooks != nil {
				attrs = append(attrs, "webhooks", at.Webhooks.String()+webhook.Path)
			}
			logger.Info("serving", attrs...)
			c.logSettings(logger, o, settingsFlags(parsed), s)
			run("reload", func(ctx context.Context) error {
				r := &reloader{logger: logger, level: level, files: s.files, secret: s.secret, server: srv, origins: o, running: c.effective(o, settingsFlags(parsed), s)}
				return r.run(ctx, hangups)
			})
			run("gate", g.Run) // only now, since it checks the key at once, and may log an error
			if c.Sim {
				fmt.Fprintf(std.out, "grpcurl %s -d '{\"user_id\":\"%s\"}' %s clerkgate.v1.UserService/GetUser\n", c.grpcurlTrust(at.GRPC), exampleID, dialable(at.GRPC))
			}
		},
	})
	err = telemetry.Register(metrics, telemetry.Sources{
		Version: buildVersion(), Gate: g, Requests: observer, Cache: cache, Store: store, Webhooks: hooks, Server: srv,
		Tracing: spans.sender, KeyFile: s.files.keyErr, Unread: unread.Counts,
		MaxInFlight: c.MaxInFlight, HasWebhooks: c.WebhookListen != "",
	})
	if err != nil {
		return err
	}
	if s.export != nil {
		run("metrics", func(ctx context.Context) error { return s.export.Run(ctx, metrics) })
	}
	err = errors.Join(srv.Run(serving), simErr)
	stopBelow()
	below.Wait()
	if err == nil {
		logger.Info("stopped")
	}
	return err
}

// grpcurlTrust returns the option with which grpcurl speaks to a listener.
func (c *serveCmd) grpcurlTrust(a net.Addr) string {
	if c.TLSCertFile == "" || a.Network() == "unix" {
		return "-plaintext"
	}
	return "-insecure" // it may not know the authority
}

// dialable returns an address as gRPC clients take it.
func dialable(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// simulatedQuota returns the quota of the embedded simulator.
func (s settings) simulatedQuota() clerksim.Quota {
	return clerksim.Quota{Limit: s.quota.Limit, Window: s.quota.Window, Burst: s.quota.Burst}
}

// simulatedSecret returns the secret that signs the webhooks of the embedded simulator,
// empty if none are received.
func (s settings) simulatedSecret() string {
	if s.secret == nil {
		return ""
	}
	return s.secret()
}

// simulator returns the flags of the embedded simulator. It sends its webhooks here,
// unless its flags name another address.
func (c *serveCmd) simulator(s settings) simFlags {
	flags := c.SimFlags
	if s.secret != nil && flags.WebhookURL == "" && !strings.HasPrefix(c.WebhookListen, "unix:") {
		flags.WebhookURL = "http://" + c.WebhookListen + webhook.Path
	}
	return flags
}
