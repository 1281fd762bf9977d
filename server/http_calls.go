package server

import (
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
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
	outer  composed      // of calls that do not reach their methods
	all    composed      // of the others
	traced stats.Handler // nil: calls are not traced
	intake *intake
	errors *connect.ErrorWriter

	services []string
	methods  map[string]*method // by path

	mu      sync.Mutex
	refused bool           // new calls are; guarded by mu
	open    sync.WaitGroup // calls; added to under mu
}

func newHTTPCalls(e *edge, outer, all chain, traced stats.Handler) *httpCalls {
	return &httpCalls{
		edge: e, outer: outer.compose(), all: all.compose(), traced: traced,
		intake: newIntake(maxHTTPCalls, maxHTTPBodies), errors: connect.NewErrorWriter(), methods: make(map[string]*method),
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
		m := c.add(d, d.Methods[i].MethodName, impl)
		m.handler = connect.NewUnaryHandler(m.name, m.unary(d.Methods[i].Handler), m.options()...)
	}
	for i := range d.Streams {
		m := c.add(d, d.Streams[i].StreamName, impl)
		m.streams = true
		m.handler = connect.NewServerStreamHandler(m.name, m.stream(&d.Streams[i]), m.options()...)
	}
}

func (c *httpCalls) add(d *grpc.ServiceDesc, name string, impl any) *method {
	m := &method{calls: c, name: "/" + d.ServiceName + "/" + name, impl: impl}
	m.resolve()
	c.methods[m.name] = m
	return m
}

// options are those of a method's handler.
func (m *method) options() []connect.HandlerOption {
	limit := m.calls.edge.limits.MaxRequestBytes
	return []connect.HandlerOption{
		connect.WithCodec(frameCodec{name: "proto"}),
		connect.WithCodec(frameCodec{name: "json", json: true}),
		connect.WithCodec(frameCodec{name: "json; charset=utf-8", json: true}),
		connect.WithReadMaxBytes(limit),
		connect.WithCompression("gzip", func() connect.Decompressor { return &requestGzip{limit: limit} }, func() connect.Compressor { return gzip.NewWriter(io.Discard) }),
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
func takeCalls(s *http.Server, l Limits) {
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxHTTPStreams,
		MaxReceiveBufferPerConnection: 4 * httpReceiveBuffer,
		MaxReceiveBufferPerStream:     httpReceiveBuffer,
		SendPingTimeout:               l.KeepaliveInterval,
		PingTimeout:                   l.KeepaliveTimeout,
	}
}

func (c *httpCalls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.enter() {
		w.Header().Set("Connection", "close")
		c.fail(w, r, 0, refusal(r.Context(), errStopping))
		return
	}
	defer c.open.Done()
	call := newHTTPCall(w, r, c.edge.sendTimeout)
	r = r.WithContext(context.WithValue(r.Context(), httpCallKey{}, call))
	m := c.methods[r.URL.Path]
	status, err := m.check(r)
	switch {
	case m == nil:
		c.fail(w, r, status, refusal(r.Context(), err)) // not counted: anybody can make up its name
		return
	case err == nil:
		if err = c.intake.enter(call.address); err == nil {
			defer c.intake.leave(call.address)
		}
	}
	if err != nil {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		c.fail(w, r, status, m.refuse(call.context(r.Context()), c.outer, err))
		return
	}
	defer call.end()
	body := &callBody{ReadCloser: r.Body, limits: c.edge.limits, intake: c.intake, address: call.address}
	defer body.release()
	r.Body = body
	m.handler.ServeHTTP(call.writer, r)
	if !call.ran { // Connect has answered it: count and log it
		fault := cmp.Or(body.fault, r.Context().Err(), invalid("request", "can't be read as its headers describe it"))
		_ = m.refuse(call.context(r.Context()), c.outer, fault)
	}
}

// check returns why a request is no call of the method, which may be nil, and its HTTP
// status; 0 is the one that belongs to the error.
func (m *method) check(r *http.Request) (status int, err error) {
	switch {
	case len(r.Header.Values("Origin")) > 0:
		return 0, errWebPage
	case m == nil:
		return 0, errNoMethod
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, invalid("method", "must be POST")
	case m.takes(r.Header.Get("Content-Type")):
		return 0, nil
	case m.streams:
		return http.StatusUnsupportedMediaType, invalid("content-type",
			"must be application/connect+json, application/connect+proto, or one of gRPC or gRPC-Web: the method answers with a stream")
	}
	return http.StatusUnsupportedMediaType, invalid("content-type", "must be application/json, application/proto, or one of gRPC or gRPC-Web")
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

// refuse makes new calls fail.
func (c *httpCalls) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = true
}

// wait blocks until all calls have ended, after refuse.
func (c *httpCalls) wait() { c.open.Wait() }

// fail answers a call that does not reach its method. A status of 0 means the one that
// belongs to the error.
func (c *httpCalls) fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	if status != 0 {
		w = fixedStatus{w, status}
	}
	// It fails if the caller has gone.
	_ = c.errors.Write(w, r, err)
}

// fixedStatus is a ResponseWriter whose errors have one status. The protocols whose errors
// have 200 keep it.
type fixedStatus struct {
	http.ResponseWriter
	status int
}

func (w fixedStatus) WriteHeader(status int) {
	if status != http.StatusOK {
		status = w.status
	}
	w.ResponseWriter.WriteHeader(status)
}

// refusal returns an error as Connect answers it, of a call that no interceptor has seen.
func refusal(ctx context.Context, err error) *connect.Error {
	f := classify(err)
	return connectError(f.status().Err(), f.trailer(ctx))
}

// takes reports whether a Content-Type is one of the method's calls.
func (m *method) takes(header string) bool {
	t, parameters, _ := strings.Cut(strings.ToLower(header), ";")
	if p := strings.ReplaceAll(parameters, " ", ""); p != "" && p != "charset=utf-8" {
		return false
	}
	switch strings.TrimSpace(t) {
	case "application/json", "application/proto":
		return !m.streams
	case "application/connect+json", "application/connect+proto":
		return m.streams
	case "application/grpc", "application/grpc+proto", "application/grpc+json",
		"application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json":
		return true
	}
	return false
}

// composed is a chain as one interceptor of each kind.
type composed struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

func (c chain) compose() composed { return composed{chainUnary(c.unary), chainStream(c.stream)} }

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
