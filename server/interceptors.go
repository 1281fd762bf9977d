package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/internal/gate"
)

// errStopping ends the calls that a stopping server waits for no longer.
var errStopping = &gate.Error{Kind: gate.ErrShuttingDown}

// edge stands between the callers and the services: it gives each call its
// context, and turns what went wrong into the contract's errors and the log's
// lines.
type edge struct {
	logger         *slog.Logger
	guard          *guard
	calls          *callLog
	panics         atomic.Int64
	defaultTimeout time.Duration
	sendTimeout    time.Duration // of one message of a stream
	outbox         *outbox
	streams        *streamLimits
	active         atomic.Int64    // calls that have not returned
	apart          sync.WaitGroup  // sends and receives of streams
	drain          context.Context // ends when the server begins to stop; streams end with it
	stop           context.Context // ends when unary calls, too, have had their time
}

// ownServices is how the names of this project's services begin.
const ownServices = "clerkgate.v1."

// options gives the interceptors. Errors are translated outside the recovery,
// so that a panic is an error like any other.
func (e *edge) options() []grpc.ServerOption {
	own := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return strings.HasPrefix(c.Service, ownServices)
	})
	recovered := recovery.WithRecoveryHandlerContext(func(ctx context.Context, value any) error {
		e.panics.Add(1)
		id := requestID(ctx)
		e.logger.ErrorContext(ctx, "panic in a call", "request_id", id, "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
		return &panicError{value, id}
	})
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(protocodec.Name)}),
		grpc.ChainUnaryInterceptor(
			e.countUnary,
			selector.UnaryServerInterceptor(e.translateUnary, own),
			recovery.UnaryServerInterceptor(recovered),
			e.guard.unary,
			selector.UnaryServerInterceptor(e.prepareUnary, own),
		),
		grpc.ChainStreamInterceptor(
			selector.StreamServerInterceptor(e.translateStream, own),
			recovery.StreamServerInterceptor(recovered),
			e.guard.stream,
			e.bindStream,
			selector.StreamServerInterceptor(e.prepareStream, own),
		),
	}
}

func (e *edge) translateUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := handler(ctx, req)
	if err != nil {
		f, id := e.calls.failed(ctx, info.FullMethod, start, time.Now(), err, true)
		// It fails only outside a call or after the call has ended.
		_ = grpc.SetTrailer(ctx, metadata.Join(f.trailer(), metadata.Pairs(requestIDKey, id)))
		return nil, f.status().Err()
	}
	if id := e.calls.answered(ctx, info.FullMethod, start, time.Now(), true); id != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(requestIDKey, id)) // as above
	}
	return resp, nil
}

func (e *edge) translateStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	start := time.Now()
	err := handler(srv, stream)
	if err != nil {
		f, id := e.calls.failed(stream.Context(), info.FullMethod, start, time.Now(), err, false)
		stream.SetTrailer(metadata.Join(f.trailer(), metadata.Pairs(requestIDKey, id)))
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
	ctx, cancelEarly := shaved(ctx, e.defaultTimeout)
	defer cancelEarly()
	ctx, cancel := endingWith(ctx, e.stop)
	defer cancel()
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, stopCause(ctx, err)
	}
	m, err := e.outbox.encode(ctx, resp.(proto.Message))
	if err != nil {
		return nil, stopCause(ctx, err)
	}
	return m, nil
}

func (e *edge) prepareStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := withOptions(stream.Context())
	if err != nil {
		return err
	}
	ctx, cancel := shaved(ctx, 0)
	defer cancel()
	wrapped := middleware.WrapServerStream(stream)
	wrapped.WrappedContext = ctx
	return stopCause(ctx, handler(srv, wrapped))
}

// lastMoment is the time before a call's deadline that is kept for its answer: gRPC
// resets a call that is not answered by then, and the caller learns no reason.
const lastMoment = 50 * time.Millisecond

// shaved returns a context that ends lastMoment before ctx does, or a tenth of the
// time left if that is less, so that the call can still be answered. Without a
// deadline it ends after timeout, if that is not 0.
func shaved(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	switch {
	case ok:
		return context.WithDeadline(ctx, deadline.Add(-min(lastMoment, time.Until(deadline)/10)))
	case timeout > 0:
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}

// begin counts a call until the function that it returns is called.
func (e *edge) begin() (end func()) {
	e.active.Add(1)
	return func() { e.active.Add(-1) }
}

func (e *edge) countUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	defer e.begin()()
	return handler(ctx, req)
}

// endingWith gives a context that ends also when end does, with the cause errStopping.
func endingWith(ctx, end context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(end, func() { cancel(errStopping) })
	return ctx, func() {
		unlink()
		cancel(nil)
	}
}

// stopCause gives errStopping in place of an error that is the end of ctx by
// endingWith, and err otherwise.
func stopCause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return err
}
