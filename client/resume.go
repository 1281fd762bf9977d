package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxRefusals  = 5                      // of a stream before its first message, in a row: some 3 s
	maxBreaks    = 12                     // later, without a message between: some 35 s, for a restart
	firstBackoff = 100 * time.Millisecond // doubles with each break
	maxBackoff   = 5 * time.Second
)

// resume returns the messages of a stream. When it breaks, open is called again, unless its
// error will not pass.
func resume[M any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[M], error)) iter.Seq2[*M, error] {
	return func(yield func(*M, error) bool) {
		begun, breaks := false, 0
		for {
			goOn, err := readStream(ctx, open, func(m *M) bool {
				begun, breaks = true, 0
				return yield(m, nil)
			})
			if !goOn || err == nil {
				return
			}
			most := maxRefusals
			if begun {
				most = maxBreaks
			}
			if breaks++; breaks > most || !passing(err, begun) {
				yield(nil, err)
				return
			}
			if err := wait(ctx, pause(err, breaks)); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// readStream calls take with the messages of one stream. It returns whether take wants more,
// and the error that ended the stream; nil is the stream's own end.
func readStream[M any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[M], error), take func(*M) bool) (goOn bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	s, err := open(ctx)
	for err == nil {
		var m *M
		if m, err = s.Recv(); err == nil && !take(m) {
			return false, nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, err
}

// passing reports whether a stream that ended with err is worth resuming. begun is whether a
// message has come.
func passing(err error, begun bool) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case codes.Unavailable:
		return true
	case codes.Aborted:
		return e.Reason == "STREAM_NOT_READ"
	case codes.ResourceExhausted:
		return begun && e.RetryAfter > 0
	case codes.Internal, codes.Unknown:
		return begun && e.Reason == "" // the connection was reset
	}
	return false
}

// pause returns how long to wait after a number of breaks: the backoff, give or take a fifth,
// or what the server asks for if that is longer.
func pause(err error, breaks int) time.Duration {
	backoff := min(firstBackoff<<(breaks-1), maxBackoff)
	backoff += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(backoff))
	var e *Error
	if errors.As(err, &e) {
		backoff = max(backoff, e.RetryAfter)
	}
	return backoff
}

// wait waits for d. It returns an error if ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return toError(status.FromContextError(ctx.Err()).Err(), nil)
	}
}
