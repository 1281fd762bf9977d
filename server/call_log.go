package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// requestIDKey is the metadata key, of request and trailer, of a call's id in the log.
const requestIDKey = "x-request-id"

// slowCall is the time from which a unary call is worth a line in the log.
const slowCall = 5 * time.Second

// hangUpLead is how long before its deadline, as seen here, a caller that goes away
// is taken to have waited up to it: callers hang up by their own clock, which began
// before the call arrived here.
const hangUpLead = 100 * time.Millisecond

// How many lines there are at most: of failures with one reason and of slow calls
// of one method, lineBurst at once and one per lineGap; of other calls of one
// method, one per answerGap. What is left out is counted, and the counts of
// failures and slow calls are told once per tellGap.
const (
	lineGap   = 100 * time.Millisecond
	lineBurst = 10
	answerGap = 10 * time.Second
	tellGap   = time.Second
)

// callLog writes a line for each call that is worth one. It is made by newCallLog.
// Its methods may be called at once.
type callLog struct {
	logger   *slog.Logger
	guard    *guard    // nil: callers are what they say
	epoch    time.Time // of the samplers' times
	failures map[clerkgatev1.ErrorReason]*failureSampler
	methods  map[string]*methodSamplers
}

type failureSampler struct {
	sampler
	level atomic.Int64 // of the latest that was left out
}

type methodSamplers struct{ answered, slow sampler }

// nameOf returns the name of the caller, empty if it has none.
func (l *callLog) nameOf(ctx context.Context) string {
	if l.guard != nil && !l.guard.open() {
		if who, err := l.guard.identify(ctx); err != nil || who != nil {
			if who != nil {
				return who.Name
			}
			return ""
		}
	}
	called, err := withOptions(ctx)
	if err != nil {
		return ""
	}
	return optionsOf(called).Caller
}

func newCallLog(logger *slog.Logger) *callLog {
	l := &callLog{
		logger:   logger,
		epoch:    time.Now(),
		failures: make(map[clerkgatev1.ErrorReason]*failureSampler),
		methods:  make(map[string]*methodSamplers),
	}
	for reason := range clerkgatev1.ErrorReason_name {
		l.failures[clerkgatev1.ErrorReason(reason)] = &failureSampler{}
	}
	for _, service := range services {
		for _, name := range methodsOf(service) {
			l.methods["/"+service.ServiceName+"/"+name] = &methodSamplers{}
		}
	}
	return l
}

// answered takes note of a call that went well and may be called slow. It gives
// the call's id if there is a line of it, else "".
func (l *callLog) answered(ctx context.Context, method string, start, end time.Time, mayBeSlow bool) (id string) {
	m := l.methods[method]
	took, now := end.Sub(start), end.Sub(l.epoch)
	switch {
	case !l.logger.Enabled(ctx, slog.LevelInfo):
	case mayBeSlow && took >= slowCall:
		if m.slow.allow(now, lineGap, lineBurst) {
			id = requestID(ctx)
			l.write(ctx, slog.LevelInfo, "slow call", method, codes.OK, id, took)
		}
	case m.answered.allow(now, answerGap, 1):
		id = requestID(ctx)
		l.write(ctx, slog.LevelInfo, "call", method, codes.OK, id, took, "left_out", m.answered.leftOut.Swap(0))
	}
	return id
}

// failed takes note of a call that failed and may be called slow. It gives what its
// caller is to see, and the call's id.
func (l *callLog) failed(ctx context.Context, method string, start, end time.Time, err error, mayBeSlow bool) (f failure, id string) {
	f, id = classify(err), requestID(ctx)
	if deadline, ok := ctx.Deadline(); ok && f.code == codes.Canceled && deadline.Sub(end) < hangUpLead {
		err = context.DeadlineExceeded
		f = classify(err)
	}
	var panicked *panicError
	if errors.As(err, &panicked) {
		id = panicked.requestID
	}
	traceFailure(ctx, f)
	level := levelOf(f.code)
	if mayBeSlow && end.Sub(start) >= slowCall {
		level = max(level, slog.LevelInfo)
	}
	if !l.logger.Enabled(ctx, level) {
		return f, id
	}
	if s := l.failures[f.reason]; !s.allow(end.Sub(l.epoch), lineGap, lineBurst) {
		s.level.Store(int64(level))
		return f, id
	}
	attrs := []any{"reason", f.reasonName(), "error", err.Error()}
	if f.traceID != "" {
		attrs = append(attrs, "clerk_trace_id", f.traceID)
	}
	l.write(ctx, level, "call failed", method, f.code, id, end.Sub(start), attrs...)
	return f, id
}

// levelOf says how much a failure matters to who runs the server: faults of its
// own, what somebody must mend or wait for, callers' mistakes, and what is none.
func levelOf(code codes.Code) slog.Level {
	switch code {
	case codes.Internal:
		return slog.LevelError
	case codes.Unavailable, codes.FailedPrecondition, codes.ResourceExhausted:
		return slog.LevelWarn
	case codes.NotFound, codes.Canceled:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (l *callLog) write(ctx context.Context, level slog.Level, msg, method string, code codes.Code, id string, took time.Duration, more ...any) {
	attrs := []any{"method", method, "code", code.String(), "took", took, "request_id", id}
	// A call that was refused for its metadata has no caller.
	if name := l.nameOf(ctx); name != "" {
		attrs = append(attrs, "caller", name)
	}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, "peer", p.Addr.String())
	}
	attrs = append(attrs, traceID(ctx)...)
	l.logger.Log(ctx, level, msg, append(attrs, more...)...)
}

// tellLeftOut says how many failures and slow calls have had no line of their own
// since it was last said. It is to be called every tellGap.
func (l *callLog) tellLeftOut() {
	for reason, s := range l.failures {
		if n := s.leftOut.Swap(0); n > 0 {
			l.logger.Log(context.Background(), slog.Level(s.level.Load()), "more calls failed",
				"reason", failure{reason: reason}.reasonName(), "left_out", n)
		}
	}
	for method, m := range l.methods {
		if n := m.slow.leftOut.Swap(0); n > 0 {
			l.logger.Info("more slow calls", "method", method, "left_out", n)
		}
	}
}

// requestID gives the id that the caller has given the call, if it is fit for one
// (as a caller's name is), and else a new one.
func requestID(ctx context.Context) string {
	if given := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(given) == 1 {
		if id := given[0]; id != "" && validName(id) && clerkapi.Redact(id) == id {
			return id
		}
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}
