package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/livefile"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// Keys of the metadata, and of HTTP headers, that show who calls.
const (
	authorizationKey = "authorization"
	xfccKey          = "x-forwarded-client-cert"
	l5dKey           = "l5d-client-id"
)

// callerMethods are the methods that a callers file may allow. WhoAmI needs no
// permission.
func callerMethods() caller.Methods {
	var m caller.Methods
	for _, service := range services {
		for _, name := range methodsOf(service) {
			switch {
			case service.ServiceName == clerkgatev1.CallerService_ServiceDesc.ServiceName:
			case strings.HasSuffix(name, "Permits"):
				m.Permits = append(m.Permits, name)
			case name == "InvalidateUsers":
				m.Invalidate = append(m.Invalidate, name)
			default:
				m.Plain = append(m.Plain, name)
			}
		}
	}
	slices.Sort(m.Plain)
	return m
}

// CheckCallers returns an error if a callers file can't be used. Otherwise it reports
// whether certificates in it can be recognized only with TLSFiles.ClientCA.
func CheckCallers(path string) (needsClientCA bool, err error) {
	live, err := openCallers(path, slog.New(slog.DiscardHandler), func(map[string]gate.Share) {}, nil)
	if err != nil {
		return false, err
	}
	return live.Get().NeedsClientCA(), nil
}

// openCallers reads a callers file, which may change. It passes on the callers' shares in the
// requests to Clerk, now and after each change. It also signals each change to changed, unless
// that is nil.
func openCallers(path string, logger *slog.Logger, setShares func(map[string]gate.Share), changed chan<- struct{}) (*livefile.Value[*caller.Set], error) {
	var last atomic.Pointer[caller.Set]
	parse := func(contents [][]byte) (*caller.Set, error) {
		set, err := caller.Parse(contents[0], callerMethods(), last.Load())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		last.Store(set)
		return set, nil
	}
	live, err := livefile.Open([]string{path}, parse, func(err error) {
		if err != nil {
			logger.Error("the callers file can't be used: the last one stays in use", "error", err)
			return
		}
		set := last.Load()
		setShares(sharesOf(set))
		select {
		case changed <- struct{}{}:
		default:
		}
		logger.Info("the callers file is in use", "callers", len(set.Callers()))
	})
	if err == nil {
		setShares(sharesOf(live.Get()))
	}
	return live, err
}

// sharesOf returns the shares of callers in the requests to Clerk. A caller's name is
// its peer in the queue.
func sharesOf(set *caller.Set) map[string]gate.Share {
	shares := make(map[string]gate.Share)
	for _, c := range set.Callers() {
		shares[c.Name] = gate.Share{Weight: c.Weight, Guaranteed: c.Guaranteed}
	}
	return shares
}

// guard decides which calls are admitted. Its methods are safe for concurrent use.
type guard struct {
	callers *livefile.Value[*caller.Set] // nil: there is no callers file
	// certificate means that calls need a verified certificate if there is no callers file.
	certificate bool
	logger      *slog.Logger
	counts      *usage.Callers // counts what their own limits refuse; nil: it is not counted
	refusals    map[caller.Reason]*atomic.Int64
	denied      atomic.Int64 // calls that a known caller may not make
	lines       sampler      // of refused calls
	began       time.Time

	replicas atomic.Int64 // that share the limits of callers; 0: this one alone

	changed <-chan struct{} // receives after a change of the callers file; nil: there is no such file

	mu      sync.Mutex
	streams map[string]map[*ownStream]struct{} // open ones, by the caller's name; guarded by mu
	meters  map[string]*meter                  // of callers with limits, by name and kind; guarded by mu
}

func newGuard(callers *livefile.Value[*caller.Set], certificate bool, logger *slog.Logger) *guard {
	g := &guard{
		callers: callers, certificate: certificate && callers == nil, logger: logger, began: time.Now(),
		refusals: make(map[caller.Reason]*atomic.Int64),
		streams:  make(map[string]map[*ownStream]struct{}), meters: make(map[string]*meter),
	}
	for _, reason := range caller.Reasons {
		g.refusals[reason] = &atomic.Int64{}
	}
	return g
}

// open reports whether everybody is admitted.
func (g *guard) open() bool { return g.callers == nil && !g.certificate }

// admittedKey is the context key of the call's *caller.Caller.
type admittedKey struct{}

// admitted returns the caller of an admitted call, nil if there is no callers file.
func admitted(ctx context.Context) *caller.Caller {
	c, _ := ctx.Value(admittedKey{}).(*caller.Caller)
	return c
}

// admit returns the context of a call that is admitted.
func (g *guard) admit(ctx context.Context, method string) (context.Context, error) {
	who, err := g.identify(ctx)
	if err != nil {
		return nil, g.refuse(ctx, method, err)
	}
	if who == nil {
		return ctx, nil
	}
	if !allowed(who, method) {
		g.denied.Add(1)
		return nil, &methodDenied{method}
	}
	return context.WithValue(ctx, admittedKey{}, who), nil
}

// identifiedKey is the context key of an identified.
type identifiedKey struct{}

// identified is the result of identify.
type identified struct {
	who *caller.Caller
	err error
}

// identifyOnce returns a context for which identify need not look again at what the call
// shows.
func (g *guard) identifyOnce(ctx context.Context) context.Context {
	who, err := g.identify(ctx)
	return context.WithValue(ctx, identifiedKey{}, identified{who, err})
}

// mayCall reports whether a call would be admitted, and counts nothing.
func (g *guard) mayCall(ctx context.Context, method string) bool {
	who, err := g.identify(ctx)
	return err == nil && (who == nil || allowed(who, method))
}

// allowed reports whether a caller may call a method, by its full name. Reflection and
// WhoAmI are for all that are known.
func allowed(who *caller.Caller, method string) bool {
	if !strings.HasPrefix(method, "/clerkgate.v1.") || strings.HasPrefix(method, "/clerkgate.v1.CallerService/") {
		return true
	}
	return who.May(method[strings.LastIndexByte(method, '/')+1:])
}

// identify returns who makes a call, or an HTTP request with an incomingContext. It
// returns nil if there is no callers file.
func (g *guard) identify(ctx context.Context) (*caller.Caller, error) {
	if known, ok := ctx.Value(identifiedKey{}).(identified); ok {
		return known.who, known.err
	}
	return g.recognize(ctx)
}

// recognize is identify by what the call shows, whatever was found before.
func (g *guard) recognize(ctx context.Context) (*caller.Caller, error) {
	var c caller.Credentials
	var onNetwork bool // or through a Unix socket
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			c.Certificate = verified(info.State.VerifiedChains)
		}
		c.Peer, onNetwork = addrOf(p.Addr)
	}
	switch {
	case g.certificate && c.Certificate == nil:
		return nil, &caller.Error{Reason: caller.NoCertificate}
	case g.callers == nil:
		return nil, nil
	}
	switch shown := metadata.ValueFromIncomingContext(ctx, authorizationKey); len(shown) {
	case 0:
	case 1:
		c.Authorization = shown[0]
	default:
		return nil, &caller.Error{Reason: caller.Malformed, Err: errTwoTokens}
	}
	if onNetwork {
		c.XFCC = metadata.ValueFromIncomingContext(ctx, xfccKey)
		c.L5D = metadata.ValueFromIncomingContext(ctx, l5dKey)
	}
	set := g.callers.Get()
	if set.HasLabels() {
		if label := metadata.ValueFromIncomingContext(ctx, callerKey); len(label) == 1 {
			c.Label = label[0]
		}
	}
	return set.Identify(ctx, &c, time.Now())
}

var errTwoTokens = errors.New("two authorization headers")

// verified returns the certificate that TLS has verified, nil if there is none.
func verified(chains [][]*x509.Certificate) *x509.Certificate {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return nil
	}
	return chains[0][0]
}

// addrOf returns the IP address of a peer, or the zero Addr of a Unix socket's. It
// reports whether a is one of these.
func addrOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr(), true
	case *net.UnixAddr:
		return netip.Addr{}, true
	}
	return netip.Addr{}, false
}

// refuse counts and, now and then, logs a call whose caller is not known. It returns err.
func (g *guard) refuse(ctx context.Context, method string, err error) error {
	var unknown *caller.Error
	if !errors.As(err, &unknown) {
		return err
	}
	g.refusals[unknown.Reason].Add(1)
	if g.lines.allow(time.Since(g.began), tellGap, 1) {
		attrs := []any{"reason", string(unknown.Reason), "error", err.Error(), "method", method, "left_out", g.lines.leftOut.Swap(0)}
		if p, ok := peer.FromContext(ctx); ok {
			attrs = append(attrs, "peer", p.Addr.String())
		}
		g.logger.Warn("calls are refused: the caller is not known", attrs...)
	}
	return err
}

// needsNoCaller reports whether a method is for everybody: health is for probes.
func needsNoCaller(method string) bool {
	return strings.HasPrefix(method, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/")
}

// translated returns an error as the status that services other than the project's own
// answer: for these nothing else translates it.
func translated(method string, err error) error {
	if strings.HasPrefix(method, "/clerkgate.v1.") {
		return err
	}
	return classify(err).status().Err()
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if g.open() || needsNoCaller(info.FullMethod) {
		return handler(ctx, req)
	}
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, translated(info.FullMethod, err)
	}
	return handler(ctx, req)
}

func (g *guard) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if g.open() || needsNoCaller(info.FullMethod) {
		return handler(srv, stream)
	}
	ctx, err := g.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return translated(info.FullMethod, err)
	}
	ctx, leave, err := g.enter(ctx, func(c *caller.Caller) bool { return allowed(c, info.FullMethod) })
	if err != nil {
		return translated(info.FullMethod, err)
	}
	defer leave()
	wrapped := middleware.WrapServerStream(stream)
	wrapped.WrappedContext = ctx
	if err = changeCause(ctx, handler(srv, wrapped)); errors.Is(err, errCallerChanged) {
		return translated(info.FullMethod, err)
	}
	return err
}

// http guards a handler: where there is a callers file, only callers for which may returns
// true reach it. The answer to others names the permission that they lack. A token may be
// the password of HTTP Basic, as browsers and scrapers send it. The handler gets an
// incomingContext.
func (g *guard) http(next http.Handler, permission string, may func(*caller.Caller) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := incomingContext(r.Context(), r)
		who, err := g.identify(ctx)
		switch {
		case err != nil:
			_ = g.refuse(ctx, "HTTP "+r.Pattern, err)
			w.Header().Set("WWW-Authenticate", `Basic realm="clerkgate", charset="UTF-8"`)
			http.Error(w, "the server does not know this caller: send a token as the password, or a certificate", http.StatusUnauthorized)
		case who != nil && !may(who):
			g.denied.Add(1)
			http.Error(w, "this caller may not see this; it needs "+permission+" in the callers file", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, admittedKey{}, who)))
		}
	})
}

// Refusals returns how many calls were refused since their callers were not known, by
// reason, and, as "not_allowed", how many that a known caller may not make.
func (s *Server) Refusals() map[string]int64 {
	all := map[string]int64{"not_allowed": s.guard.denied.Load()}
	for reason, n := range s.guard.refusals {
		all[string(reason)] = n.Load()
	}
	return all
}
