package server

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// compressFrom is the size in bytes from which an answer is compressed for a caller
// that accepts it.
const compressFrom = 1 << 10

// httpCalls answers calls that come by HTTP: by Connect, gRPC-Web, gRPC and plain JSON.
// It runs the methods in this process, through the interceptors that gRPC's calls go
// through. It is a grpc.ServiceRegistrar; services are registered before handle is
// called. Its other methods are safe for concurrent use.
type httpCalls struct {
	edge   *edge
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
	traced stats.Handler // nil: calls are not traced
	intake *intake
	errors *connect.ErrorWriter

	services []string
	methods  map[string]http.Handler // by path

	mu      sync.Mutex
	refused bool           // new calls are; guarded by mu
	open    sync.WaitGroup // calls; added to under mu
}

func newHTTPCalls(e *edge, c chain, traced stats.Handler) *httpCalls {
	return &httpCalls{
		edge: e, unary: chainUnary(c.unary), stream: chainStream(c.stream), traced: traced,
		intake: newIntake(maxHTTPCalls, maxHTTPBodies), errors: connect.NewErrorWriter(), methods: make(map[string]http.Handler),
	}
}

// registrars registers a service with each of several servers.
type registrars []grpc.ServiceRegistrar

func (r registrars) RegisterService(d *grpc.ServiceDesc, impl any) {
	for _, s := range r {
		s.RegisterService(d, impl)
	}
}

// RegisterService adds the methods of a service.
func (c *httpCalls) RegisterService(d *grpc.ServiceDesc, impl any) {
	c.services = append(c.services, d.ServiceName)
	for i := range d.Methods {
		m := &method{calls: c, name: "/" + d.ServiceName + "/" + d.Methods[i].MethodName, impl: impl}
		m.resolve()
		c.methods[m.name] = connect.NewUnaryHandler(m.name, m.unary(d.Methods[i].Handler), m.options()...)
	}
	for i := range d.Streams {
		m := &method{calls: c, name: "/" + d.ServiceName + "/" + d.Streams[i].StreamName, impl: impl}
		m.resolve()
		c.methods[m.name] = connect.NewServerStreamHandler(m.name, m.stream(&d.Streams[i]), m.options()...)
	}
}

// options are those of a method's handler.
func (m *method) options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithCodec(frameCodec{name: "proto"}),
		connect.WithCodec(frameCodec{name: "json", json: true}),
		connect.WithCodec(frameCodec{name: "json; charset=utf-8", json: true}),
		connect.WithReadMaxBytes(maxRequest),
		connect.WithCompressMinBytes(compressFrom),
		connect.WithRequestInitializer(m.newFrame),
		connect.WithRequestGate(m.admit),
	}
}

// handle registers the paths of all services.
func (c *httpCalls) handle(mux *http.ServeMux) {
	for _, service := range c.services {
		mux.Handle("/"+service+"/", c)
	}
}

// takeCalls sets up a server for calls: HTTP/2 with and without TLS, and its bounds.
func takeCalls(s *http.Server) {
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxHTTPStreams,
		MaxReceiveBufferPerConnection: 4 * httpReceiveBuffer,
		MaxReceiveBufferPerStream:     httpReceiveBuffer,
		SendPingTimeout:               pingAfter,
		PingTimeout:                   pingTimeout,
	}
	s.ConnContext = withPeer
}

func (c *httpCalls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := newHTTPCall(w, r, c.edge.sendTimeout)
	h, known := c.methods[r.URL.Path]
	switch {
	case !c.enter():
		w.Header().Set("Connection", "close")
		c.fail(w, r, 0, classify(errStopping))
		return
	case len(r.Header.Values("Origin")) > 0:
		defer c.open.Done()
		c.fail(w, r, 0, failure{code: codes.PermissionDenied, reason: clerkgatev1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED,
			message: "calls from web pages, which have an Origin header, are refused; call from a server"})
		return
	}
	defer c.open.Done()
	switch {
	case !known:
		c.fail(w, r, 0, failure{code: codes.Unimplemented, reason: clerkgatev1.ErrorReason_ERROR_REASON_UNIMPLEMENTED,
			message: "this server does not have the method"})
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		c.fail(w, r, http.StatusMethodNotAllowed, invalidRequest("the method of a call must be POST"))
		return
	case !callType(r.Header.Get("Content-Type")):
		c.fail(w, r, http.StatusUnsupportedMediaType, invalidRequest(
			"the Content-Type of a call must be application/json, application/proto, or one of Connect, gRPC or gRPC-Web"))
		return
	}
	if err := c.intake.enter(call.address); err != nil {
		c.fail(w, r, 0, classify(err))
		return
	}
	defer c.intake.leave(call.address)
	defer call.end()
	body := &callBody{ReadCloser: r.Body, intake: c.intake, address: call.address}
	defer body.release()
	r = r.WithContext(context.WithValue(r.Context(), httpCallKey{}, call))
	r.Body = body
	h.ServeHTTP(call.writer, r)
}

// enter begins a call, which open.Done ends, and reports whether calls are taken.
func (c *httpCalls) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.refused {
		c.open.Add(1)
	}
	return !c.refused
}

// refuse has new calls be refused.
func (c *httpCalls) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = true
}

// wait blocks until all calls have ended, after refuse.
func (c *httpCalls) wait() { c.open.Wait() }

// fail answers a call that does not reach its method. A status of 0 means the one that
// belongs to the failure's code.
func (c *httpCalls) fail(w http.ResponseWriter, r *http.Request, status int, f failure) {
	if status != 0 {
		w = fixedStatus{w, status}
	}
	// It fails if the caller has gone.
	_ = c.errors.Write(w, r, connectError(f.status().Err(), f.trailer(r.Context())))
}

// fixedStatus is a ResponseWriter that answers with one status.
type fixedStatus struct {
	http.ResponseWriter
	status int
}

func (w fixedStatus) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

func invalidRequest(message string) failure {
	return failure{code: codes.InvalidArgument, reason: clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT, message: message}
}

// callType reports whether a Content-Type is one of a call's.
func callType(header string) bool {
	t, parameters, _ := strings.Cut(strings.ToLower(header), ";")
	if p := strings.ReplaceAll(parameters, " ", ""); p != "" && p != "charset=utf-8" {
		return false
	}
	switch strings.TrimSpace(t) {
	case "application/json", "application/proto", "application/connect+json", "application/connect+proto",
		"application/grpc", "application/grpc+proto", "application/grpc+json",
		"application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json":
		return true
	}
	return false
}

// chainUnary returns one interceptor that runs several, the first outermost.
func chainUnary(all []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for i := len(all) - 1; i >= 0; i-- {
			next := handler
			handler = func(ctx context.Context, req any) (any, error) { return all[i](ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

// chainStream is chainUnary for streams.
func chainStream(all []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		for i := len(all) - 1; i >= 0; i-- {
			next := handler
			handler = func(srv any, stream grpc.ServerStream) error { return all[i](srv, stream, info, next) }
		}
		return handler(srv, stream)
	}
}

// trace begins the span of a call and returns the function that ends it.
func (c *httpCalls) trace(ctx context.Context, method string) (context.Context, func(error)) {
	if c.traced == nil {
		return ctx, func(error) {}
	}
	began := time.Now()
	ctx = c.traced.TagRPC(ctx, &stats.RPCTagInfo{FullMethodName: method})
	c.traced.HandleRPC(ctx, &stats.Begin{BeginTime: began})
	local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	c.traced.HandleRPC(ctx, &stats.InHeader{LocalAddr: local})
	return ctx, func(err error) {
		c.traced.HandleRPC(ctx, &stats.End{BeginTime: began, EndTime: time.Now(), Error: err})
	}
}
