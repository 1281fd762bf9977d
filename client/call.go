package client

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Priority is how urgent a call is.
type Priority string

// The priorities. Batch calls wait behind interactive ones.
const (
	Interactive Priority = "interactive"
	Batch       Priority = "batch"
)

type priorityKey struct{}

// WithPriority returns a context whose calls have the priority. Streams of users always have
// Batch.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// perCall applies the caller, priority and timeout of a Config to each call.
type perCall struct {
	caller   string
	priority Priority
	timeout  time.Duration
}

// context returns the context of a call.
func (p *perCall) context(ctx context.Context) context.Context {
	priority, ok := ctx.Value(priorityKey{}).(Priority)
	if !ok {
		priority = p.priority
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "clerkgate-priority", string(priority))
	if p.caller != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "clerkgate-caller", p.caller)
	}
	return ctx
}

func (p *perCall) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	var trailer metadata.MD
	return toError(invoke(p.context(ctx), method, req, reply, conn, append(opts, grpc.Trailer(&trailer))...), trailer)
}

func (p *perCall) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(p.context(ctx), desc, conn, method, opts...)
	if err != nil {
		return nil, toError(err, nil)
	}
	return typedStream{s}, nil
}

// typedStream is a stream whose errors are *Error.
type typedStream struct{ grpc.ClientStream }

func (s typedStream) SendMsg(m any) error { return toError(s.ClientStream.SendMsg(m), nil) }

func (s typedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	return toError(err, s.Trailer())
}

// int32Of returns n, or the int32 that is nearest, so that the server refuses a number that is
// too large.
func int32Of(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }
