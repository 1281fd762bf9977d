// Package server answers clerkgate's calls, by gRPC on one listener and by Connect,
// gRPC-Web and JSON on the HTTP listener: it checks requests, reads users from the cache,
// and maps errors to those of the contract. It also serves health, reflection and the HTTP
// probes.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/livefile"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// NoListener as Config.HTTPListen turns the HTTP listener off.
const NoListener = "off"

const (
	maxStreams       = 2000             // concurrent calls on one connection; further ones wait in the client
	handshakeTimeout = 10 * time.Second // for the HTTP/2 handshake
	// closeTimeout is the time for the last calls to end before their connections are
	// closed.
	closeTimeout = time.Second
)

// Config configures a Server. Users and Quota are required.
type Config struct {
	// Users implements UserService, and Quota QuotaService: a *usercache.Cache and a
	// *gate.Gate. The caller of New must run them until Run has returned.
	Users interface {
		users
		counter
	}
	Quota keeper
	// Callers counts what callers are refused because of their own limits: that of Quota,
	// which reports it. Default: it is not counted.
	Callers *usage.Callers
	// Requests counts requests to Clerk for GetUsage and the page: the
	// *telemetry.GateObserver that observes Quota. Default: they are not counted.
	Requests requests
	// Instance is the name of the Clerk instance. Page tokens of other instances are
	// refused.
	Instance string
	// GRPCListen is the address for gRPC, in the form of CheckAddress. Default "127.0.0.1:9090".
	GRPCListen string
	// HTTPListen is the address for calls by Connect, gRPC-Web and JSON, and for /healthz,
	// /readyz, /metrics, the page and profiles. NoListener: the server has none of these.
	// Default "127.0.0.1:9091".
	HTTPListen string
	// WebhookListen is the address for Webhooks, which may face the internet. Default: no
	// such listener.
	WebhookListen string
	Webhooks      http.Handler
	// TLS configures the gRPC listener, HTTPTLS the HTTP listener, WebhookTLS the webhook
	// listener. Unix sockets never use TLS. Default: no TLS.
	TLS, HTTPTLS, WebhookTLS TLSFiles
	// Metrics is the registry that /metrics shows. New registers the metrics of gRPC
	// calls in it, so each server needs its own. Default: calls are not measured, and
	// there is no /metrics.
	Metrics *prometheus.Registry
	// Traces creates the spans of calls. Default: calls are not traced.
	Traces trace.TracerProvider
	// CallersFile is the path of a callers file (see package caller). With it, only the
	// callers in it are served, with their permissions; health is open to everybody. The
	// file is read again when it changes. Default: everybody is served or, with
	// TLS.ClientCA, everybody with a certificate of one of those authorities.
	CallersFile string
	// FullView is who may use USER_VIEW_FULL if there is no CallersFile. Default: nobody.
	FullView FullView
	// Unauthenticated is reported by GetQuota: the server serves callers on other
	// machines without identifying them.
	Unauthenticated bool
	// Page has the sources of the page at / of the HTTP listener, except the server itself.
	// Nil: there is no page.
	Page *page.Sources
	// Pprof serves profiles at /debug/pprof/ on the HTTP listener.
	Pprof bool
	// DefaultTimeout is the time limit of a call without a deadline, and of each page of
	// a stream without one. Default 30 s.
	DefaultTimeout time.Duration
	// MaxConnections is the maximum of open connections of each listener; one address may
	// have the part that Limits.AddressShare is. Further connections are closed at once.
	// Default 4096.
	MaxConnections int
	// MaxStreamsPerCaller is the maximum of open streams of one caller; one address may
	// have 16 times as many. Default 64.
	MaxStreamsPerCaller int
	// MaxUnreadBytes is the maximum of bytes of encoded answers that callers have not
	// read; one address may have half of it. Default 128 MiB.
	MaxUnreadBytes int64
	// SendTimeout is how long a peer may leave an answer unread before its stream is
	// ended. After twice that time its connection is closed. Default 20 s.
	SendTimeout time.Duration
	// Limits are the other bounds of what callers may send, and of their connections.
	Limits Limits
	// DrainDelay is how long a stopping server continues to serve with the health
	// NOT_SERVING, so that load balancers notice. Default 0.
	DrainDelay time.Duration
	// DrainTimeout is how long a stopping server then waits for calls. The remaining ones
	// end with UNAVAILABLE. Default 10 s.
	DrainTimeout time.Duration
	// Logger logs failures, slow calls, samples of other calls, and changes of health.
	// Default slog.Default().
	Logger *slog.Logger
	// Notes returns problems that do not keep the server from taking calls, one per line;
	// /readyz adds them to its answer. Default: none.
	Notes func() []string
	// OnListen, if not nil, is called with the addresses before the first call is served.
	OnListen func(Addresses)
}

// DefaultConfig returns the defaults of a Config.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	if c.GRPCListen == "" {
		c.GRPCListen = "127.0.0.1:9090"
	}
	if c.HTTPListen == "" {
		c.HTTPListen = "127.0.0.1:9091"
	}
	if c.DefaultTimeout == 0 {
		c.DefaultTimeout = 30 * time.Second
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 4096
	}
	if c.MaxStreamsPerCaller == 0 {
		c.MaxStreamsPerCaller = 64
	}
	if c.MaxUnreadBytes == 0 {
		c.MaxUnreadBytes = 128 << 20
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = 20 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	c.Limits = c.Limits.withDefaults()
	if c.Requests == nil {
		c.Requests = telemetry.NewGateObserver(nil)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Notes == nil {
		c.Notes = func() []string { return nil }
	}
	return c
}

// Addresses are the addresses of a server's listeners.
type Addresses struct {
	GRPC           net.Addr
	HTTP, Webhooks net.Addr // nil without this listener
}

// Server serves gRPC and, on listeners of their own, HTTP and webhooks. New returns one.
type Server struct {
	cfg     Config
	edge    *edge
	grpc    *grpc.Server
	calls   *httpCalls
	ready   *readiness
	page    *page.Page // nil: none
	feed    *quotaFeed
	tls     struct{ grpc, http, webhooks *liveTLS } // nil: none
	guard   *guard
	refused struct{ grpc, http, webhooks refusedConnections }
	fault   error                                // error of the files that New has read; Run returns it
	after   func(time.Duration) <-chan time.Time // time.After, except in tests
	drain   context.CancelFunc                   // ends streams
	stop    context.CancelFunc                   // ends unary calls
}

// New returns a Server. It reads the files in cfg and starts nothing.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	e := &edge{
		logger: cfg.Logger, calls: newCallLog(cfg.Logger), limits: cfg.Limits, defaultTimeout: cfg.DefaultTimeout, sendTimeout: cfg.SendTimeout,
		outbox: newOutbox(cfg.MaxUnreadBytes), streams: newStreamLimits(cfg.MaxStreamsPerCaller),
		arrivals: newArrivals(cfg.Limits.ReadTimeout, maxArrivals),
	}
	quotas := &quotaService{quota: cfg.Quota, sent: cfg.Requests, totals: cfg.Users, users: cfg.Users, unauthenticated: cfg.Unauthenticated}
	quotas.feed = &quotaFeed{read: quotas.read}
	s := &Server{cfg: cfg, edge: e, ready: newReadiness(cfg.Quota, cfg.Logger), feed: quotas.feed, after: time.After}
	e.drain, s.drain = context.WithCancel(context.Background())
	e.stop, s.stop = context.WithCancel(context.Background())

	s.fault = s.openTLS()
	var callers *livefile.Value[*caller.Set]
	changed := make(chan struct{}, 1)
	if cfg.CallersFile != "" && s.fault == nil {
		callers, s.fault = openCallers(cfg.CallersFile, cfg.Logger, cfg.Quota.SetShares, changed)
	}
	s.guard = newGuard(callers, cfg.TLS.ClientCA != "", cfg.Logger)
	s.guard.changed = changed
	s.guard.counts = cfg.Callers
	e.guard, e.calls.guard, quotas.guard = s.guard, s.guard, s.guard
	s.page = s.newPage()
	var options []grpc.ServerOption
	if s.tls.grpc != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls.grpc.config())))
	}
	outer := e.outer()
	if cfg.Metrics != nil {
		outer = measureCalls(cfg.Metrics).then(outer)
	}
	calls := outer.then(e.inner())
	var traced stats.Handler
	if cfg.Traces != nil {
		traced = traceCalls(cfg.Traces)
		options = append(options, grpc.StatsHandler(traced))
	}
	s.grpc = grpc.NewServer(append(options,
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(protocodec.Name)}),
		grpc.ChainUnaryInterceptor(calls.unary...),
		grpc.ChainStreamInterceptor(calls.stream...),
		grpc.MaxRecvMsgSize(cfg.Limits.MaxRequestBytes),
		grpc.MaxHeaderListSize(uint32(cfg.Limits.MaxMetadataBytes)),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.InTapHandle(e.arrivals.begin),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: cfg.Limits.KeepaliveMinInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: cfg.Limits.ConnectionIdle,
			MaxConnectionAge:  cfg.Limits.ConnectionAge,
			Time:              cfg.Limits.KeepaliveInterval,
			Timeout:           cfg.Limits.KeepaliveTimeout,
		}),
	)...)
	s.calls = newHTTPCalls(e, outer, calls, traced)
	both := registrars{s.grpc, s.calls}
	clerkgatev1.RegisterUserServiceServer(both, &userService{
		users: cfg.Users, instance: cfg.Instance, fullView: cfg.FullView, pageTimeout: cfg.DefaultTimeout, maxTimeout: cfg.Limits.MaxTimeout, outbox: e.outbox, guard: s.guard,
	})
	clerkgatev1.RegisterQuotaServiceServer(both, quotas)
	clerkgatev1.RegisterCallerServiceServer(both, callerService{})
	grpc_health_v1.RegisterHealthServer(both, s.ready.service)
	reflection.Register(s.grpc) // also v1alpha, for older clients
	return s
}

// Panics returns the number of calls that ended in a panic.
func (s *Server) Panics() int64 { return s.edge.panics.Load() }

// Run listens and serves until ctx ends, then lets calls end, and returns when all its
// goroutines have ended. Call it at most once. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context) error {
	defer s.drain()
	defer s.stop()
	if s.fault != nil {
		return s.fault
	}
	l, err := listen(s.cfg.GRPCListen)
	if err != nil {
		return fmt.Errorf("gRPC listener: %w", err)
	}
	grpcListener := newBoundedListener(l, "gRPC", s.cfg.MaxConnections, s.cfg.Limits.AddressShare, s.cfg.SendTimeout, s.cfg.Logger)
	grpcListener.outbox, grpcListener.refused = s.edge.outbox, &s.refused.grpc
	s.edge.outbox.listener.Store(grpcListener)
	listeners := []net.Listener{grpcListener}
	addresses := Addresses{GRPC: grpcListener.Addr()}
	var sites []*site
	if s.cfg.HTTPListen != NoListener {
		sites = append(sites, &site{name: "HTTP", address: s.cfg.HTTPListen, handler: s.probes(), bound: &addresses.HTTP, tls: s.tls.http, calls: true, refused: &s.refused.http})
	}
	if s.cfg.WebhookListen != "" {
		sites = append(sites, &site{name: "webhook", address: s.cfg.WebhookListen, handler: s.cfg.Webhooks, bound: &addresses.Webhooks, tls: s.tls.webhooks, refused: &s.refused.webhooks})
	}
	for _, site := range sites {
		if err := site.listen(s.cfg); err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return err
		}
		listeners = append(listeners, site.listener)
	}
	if s.cfg.OnListen != nil {
		s.cfg.OnListen(addresses)
	}

	s.ready.enter("") // before the first call can see the health
	var wg sync.WaitGroup
	failed := s.serve(&wg, grpcListener, sites)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	wg.Go(func() { s.runPeriodic(background) })
	wg.Go(func() { s.guard.run(background) })
	if s.page != nil {
		wg.Go(func() { s.page.Run(background) })
	}
	for _, files := range s.liveFiles() {
		wg.Go(func() { files.Run(background) })
	}

	err = s.awaitEnd(ctx, failed)
	s.shutDown()
	// Probes and events are served to the end. Clients that are cut off try again.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	for _, site := range sites {
		err = errors.Join(err, site.close(closing))
	}
	s.calls.wait()
	s.edge.apart.Wait()
	stopBackground()
	wg.Wait()
	return err
}

// serve starts to serve the listeners. The returned channel receives the errors of those that
// fail.
func (s *Server) serve(wg *sync.WaitGroup, grpcListener net.Listener, sites []*site) <-chan error {
	failed := make(chan error, 1+len(sites))
	wg.Go(func() {
		if err := s.grpc.Serve(grpcListener); err != nil {
			failed <- fmt.Errorf("gRPC server: %w", err)
		}
	})
	for _, site := range sites {
		wg.Go(func() {
			if err := site.serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s server: %w", site.name, err)
			}
		})
	}
	return failed
}
