package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// method is a method that can be called by HTTP.
type method struct {
	calls   *httpCalls
	name    string // such as /clerkgate.v1.UserService/GetUser
	impl    any    // the service
	streams bool   // whether its answer is a stream
	input   protoreflect.MessageType
	output  protoreflect.MessageType
	handler http.Handler
}

// resolve finds the types of the method's messages. It panics if there is no such
// method, as the generated code can't be without its descriptors.
func (m *method) resolve() {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(m.name[1:], "/", ".")))
	if err != nil {
		panic(err)
	}
	of := func(d protoreflect.MessageDescriptor) protoreflect.MessageType {
		t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
		if err != nil {
			panic(err)
		}
		return t
	}
	m.input, m.output = of(d.(protoreflect.MethodDescriptor).Input()), of(d.(protoreflect.MethodDescriptor).Output())
}

// newFrame prepares a frame for a request.
func (m *method) newFrame(_ connect.Spec, message any) error {
	message.(*frame).request = m.input.New().Interface()
	return nil
}

// admit prepares the context of a call. It refuses a call whose caller may not make it
// before its body is read, and one whose deadline has passed.
func (m *method) admit(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
	ctx = callOf(ctx).context(ctx)
	if err := ctx.Err(); err != nil {
		return nil, m.refuse(ctx, m.calls.outer, err)
	}
	g := m.calls.edge.guard
	if g.open() || needsNoCaller(m.name) {
		return ctx, nil
	}
	if ctx = g.identifyOnce(ctx); g.mayCall(ctx, m.name) {
		return ctx, nil
	}
	return nil, m.refuse(ctx, m.calls.all, errMethodDenied) // the guard is one of all
}

// refuse runs the interceptors of a call that does not reach its method, so that it is
// counted, logged and traced as any other. It returns err, or an interceptor's error, as
// the caller gets it.
func (m *method) refuse(ctx context.Context, through composed, err error) error {
	_, err = m.run(ctx, func(ctx context.Context) (any, error) {
		err := translated(m.name, err)
		if m.streams {
			s := &httpStream{ctx: ctx, trailer: &callOf(ctx).trailer}
			info := &grpc.StreamServerInfo{FullMethod: m.name, IsServerStream: true}
			return nil, through.stream(m.impl, s, info, func(any, grpc.ServerStream) error { return err })
		}
		info := &grpc.UnaryServerInfo{Server: m.impl, FullMethod: m.name}
		return through.unary(ctx, m.input.New().Interface(), info, func(context.Context, any) (any, error) { return nil, err })
	})
	return err
}

// run runs do with the context of a call, which admit has prepared, and returns its error
// as the caller gets it.
func (m *method) run(ctx context.Context, do func(context.Context) (any, error)) (any, error) {
	call := callOf(ctx)
	call.ran = true
	ctx, ended := m.calls.trace(ctx, m.name)
	resp, err := do(ctx)
	ended(err)
	if err != nil {
		return nil, connectError(err, call.trailer.get())
	}
	return resp, nil
}

// unary returns the method, whose answer is one message, as a handler of Connect's.
func (m *method) unary(handler grpc.MethodHandler) func(context.Context, *connect.Request[frame]) (*connect.Response[frame], error) {
	return func(ctx context.Context, req *connect.Request[frame]) (*connect.Response[frame], error) {
		call, in := callOf(ctx), req.Msg
		call.begin()
		resp, err := m.run(ctx, func(ctx context.Context) (any, error) {
			decode := func(v any) error {
				proto.Merge(v.(proto.Message), in.request)
				return nil
			}
			intercept := m.calls.all.unary
			if in.fault != nil {
				intercept = func(ctx context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
					return m.calls.all.unary(ctx, req, info, func(context.Context, any) (any, error) { return nil, in.fault })
				}
			}
			return handler(m.impl, ctx, decode, intercept)
		})
		if err != nil {
			return nil, err
		}
		if e, ok := resp.(*encoded); ok {
			call.release = e.free
		}
		answer := connect.NewResponse(&frame{answer: resp, output: m.output})
		setAll(answer.Trailer(), call.trailer.get())
		return answer, nil
	}
}

// stream returns the method, whose answer is a stream, as a handler of Connect's.
func (m *method) stream(d *grpc.StreamDesc) func(context.Context, *connect.Request[frame], *connect.ServerStream[frame]) error {
	return func(ctx context.Context, req *connect.Request[frame], to *connect.ServerStream[frame]) error {
		call := callOf(ctx)
		call.begin()
		_, err := m.run(ctx, func(ctx context.Context) (any, error) {
			s := &httpStream{ctx: ctx, method: m, request: req.Msg, to: to, trailer: &call.trailer}
			defer s.close(call.writer)
			info := &grpc.StreamServerInfo{FullMethod: m.name, IsServerStream: true}
			return nil, m.calls.all.stream(m.impl, s, info, d.Handler)
		})
		if err != nil {
			return err
		}
		setAll(to.ResponseTrailer(), call.trailer.get())
		return nil
	}
}

// httpStream is the grpc.ServerStream of a call by HTTP.
type httpStream struct {
	ctx      context.Context
	method   *method
	request  *frame
	received bool
	to       *connect.ServerStream[frame]
	trailer  *trailer

	sending sync.Mutex // held while a message is written
	closed  bool       // guarded by sending
}

func (s *httpStream) Context() context.Context     { return s.ctx }
func (s *httpStream) SetHeader(metadata.MD) error  { return nil }
func (s *httpStream) SendHeader(metadata.MD) error { return nil }
func (s *httpStream) SetTrailer(md metadata.MD)    { s.trailer.add(md) }

// RecvMsg receives the request, and then io.EOF.
func (s *httpStream) RecvMsg(m any) error {
	switch {
	case s.received:
		return io.EOF
	case s.request.fault != nil:
		return s.request.fault
	}
	s.received = true
	proto.Merge(m.(proto.Message), s.request.request)
	return nil
}

// SendMsg writes m. It blocks until m is written.
func (s *httpStream) SendMsg(m any) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if t, ok := m.(taken); ok {
		defer t.Free()
	}
	if s.closed {
		return io.ErrClosedPipe
	}
	return s.to.Send(&frame{answer: m, output: s.method.output})
}

// close ends the sending: the ResponseWriter must not be used once the handler has
// returned. A message that is being written has a moment to be taken.
func (s *httpStream) close(w *pacedWriter) {
	if !s.sending.TryLock() {
		w.endWithin(closeTimeout)
		s.sending.Lock()
	}
	defer s.sending.Unlock()
	s.closed = true
}

// connectError returns an error of a call, a gRPC status, as Connect writes it.
func connectError(err error, trailer metadata.MD) *connect.Error {
	st := status.Convert(err)
	ce := connect.NewError(connect.Code(st.Code()), plainError(st.Message()))
	for _, d := range st.Proto().GetDetails() {
		if detail, err := connect.NewErrorDetail(d); err == nil {
			ce.AddDetail(detail)
		}
	}
	setAll(ce.Meta(), trailer)
	return ce
}

// plainError is an error without another behind it.
type plainError string

func (e plainError) Error() string { return string(e) }

func setAll(h http.Header, md metadata.MD) {
	for k, values := range md {
		for _, v := range values {
			h.Add(k, v)
		}
	}
}
