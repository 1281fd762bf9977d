package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// errStopping ends calls when a stopping server does not wait for them any longer.
var errStopping = &gate.Error{Kind: gate.ErrShuttingDown}

// edge is the outermost layer of the services: it prepares the context of each call, and
// translates errors into the contract's and into log lines.
type edge struct {
	logger         *slog.Logger
	guard          *guard
	calls          *callLog
	panics         atomic.Int64
	limits         Limits
	defaultTimeout time.Duration
	sendTimeout    time.Duration // limit for one message of a stream
	outbox         *outbox
	streams        *streamLimits
	arrivals       *arrivals
	active         atomic.Int64    // calls in flight
	apart          sync.WaitGroup  // sends and receives of streams
	drain          context.Context // ends when the server starts to stop; ends streams
	stop           context.Context // ends when the time for unary calls is over
}

// ownServices is the prefix of the names of this project's services.
const ownServices = "clerkgate.v1."

// chain is interceptors, the outermost first.
type chain struct {
	unary  []grpc.UnaryServerInterceptor
	stream []grpc.StreamServerInterceptor
}

// then returns the interceptors of c around those of inner.
func (c chain) then(inner chain) chain {
	return chain{slices.Concat(c.unary, inner.unary), slices.Concat(c.stream, inner.stream)}
}

// isOwn matches the methods of this project's services.
var isOwn = selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
	return strings.HasPrefix(c.Service, ownServices)
})

// outer returns the interceptors that translate and log errors.
func (e *edge) outer() chain {
	return chain{
		unary:  []grpc.UnaryServerInterceptor{e.countUnary, selector.UnaryServerInterceptor(e.translateUnary, isOwn)},
		stream: []grpc.StreamServerInterceptor{selector.StreamServerInterceptor(e.translateStream, isOwn)},
	}
}

// inner returns the interceptors inside outer. The recovery is one of them, so that a
// panic is an error like any other.
func (e *edge) inner() chain {
	recovered := recovery.WithRecoveryHandlerContext(func(ctx context.Context, value any) error {
		e.panics.Add(1)
		id, text := requestID(ctx), clerkapi.Redact(fmt.Sprint(value))
		e.logger.ErrorContext(ctx, "panic in a call", "request_id", id, "panic", text, "stack", string(debug.Stack()))
		return &panicError{text, id}
	})
	return chain{
		unary: []grpc.UnaryServerInterceptor{
			recovery.UnaryServerInterceptor(recovered),
			e.guard.unary,
			selector.UnaryServerInterceptor(e.prepareUnary, isOwn),
		},
		stream: []grpc.StreamServerInterceptor{
			recovery.StreamServerInterceptor(recovered),
			e.guard.stream,
			e.bindStream,
			selector.StreamServerInterceptor(e.prepareStream, isOwn),
		},
	}
}

func (e *edge) translateUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := handler(ctx, req)
	if err != nil {
		f, id := e.calls.failed(ctx, info.FullMethod, start, time.Now(), err, true)
		// Fails only outside a call or after its end.
		_ = grpc.SetTrailer(ctx, metadata.Join(f.trailer(ctx), metadata.Pairs(requestIDKey, id)))
		return nil, f.status().Err()
	}
	var id string
	if m, ok := resp.(*encoded); ok && m.unmet != nil {
		id = e.calls.unmet(ctx, info.FullMethod, start, time.Now(), *m.unmet)
	} else {
		id = e.calls.answered(ctx, info.FullMethod, start, time.Now(), true)
	}
	if id != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(requestIDKey, id)) // as above
	}
	return resp, nil
}

func (e *edge) translateStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	start := time.Now()
	err := handler(srv, stream)
	if err != nil {
		f, id := e.calls.failed(stream.Context(), info.FullMethod, start, time.Now(), err, false)
		stream.SetTrailer(metadata.Join(f.trailer(stream.Context()), metadata.Pairs(requestIDKey, id)))
		return f.status().Err()
	}
	if id := e.calls.answered(stream.Context(), info.FullMethod, start, time.Now(), false); id != "" {
		stream.SetTrailer(metadata.Pairs(requestIDKey, id))
	}
	return nil
}

func (e *edge) prepareUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, err := withOptions(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancelEarly := shaved(ctx, e.defaultTimeout, e.limits.MaxTimeout)
	defer cancelEarly()
	ctx, cancel := endingWith(ctx, e.stop)
	defer cancel()
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, stopCause(ctx, err)
	}
	unmet := unmetBatch(resp)
	m, err := e.outbox.encode(ctx, resp.(proto.Message))
	if err != nil {
		return nil, stopCause(ctx, err)
	}
	m.unmet = unmet
	return m, nil
}

func (e *edge) prepareStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := withOptions(stream.Context())
	if err != nil {
		return err
	}
	ctx, cancel := shaved(ctx, 0, 0)
	defer cancel()
	wrapped := middleware.WrapServerStream(stream)
	wrapped.WrappedContext = ctx
	return stopCause(ctx, handler(srv, wrapped))
}

// lastMoment is the part of a call's time that is reserved for its answer: gRPC resets a
// call that is unanswered at its deadline, and the caller learns no reason.
const lastMoment = 50 * time.Millisecond

// shaved returns a context that ends lastMoment before ctx, or a tenth of the remaining
// time if that is less, so that the call can still be answered. Without a deadline it
// ends after timeout, and in any case after longest, unless these are 0.
func shaved(ctx context.Context, timeout, longest time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	switch {
	case ok && longest > 0 && time.Until(deadline) > longest:
		return context.WithTimeout(ctx, longest)
	case ok:
		return context.WithDeadline(ctx, deadline.Add(-min(lastMoment, time.Until(deadline)/10)))
	case timeout > 0:
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}

// begin counts a call until the returned function is called.
func (e *edge) begin() (end func()) {
	e.active.Add(1)
	return func() { e.active.Add(-1) }
}

func (e *edge) countUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	arrived(ctx)
	defer e.begin()()
	return handler(ctx, req)
}

// endingWith returns a context that also ends when end does, with the cause errStopping.
func endingWith(ctx, end context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(end, func() { cancel(errStopping) })
	return ctx, func() {
		unlink()
		cancel(nil)
	}
}

// stopCause returns errStopping if err is the end of ctx by endingWith, otherwise err.
func stopCause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return err
}
