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

// requestIDKey is the metadata key of a call's id in the log, in requests and trailers.
const requestIDKey = "x-request-id"

// slowCall is the duration from which a unary call is logged as slow.
const slowCall = 5 * time.Second

// hangUpLead is how long before its deadline a cancelled call counts as one that reached
// it: callers hang up by their own clock, which started before the call arrived.
const hangUpLead = 100 * time.Millisecond

// Limits of log lines. Failures with one reason, and slow calls of one method, get
// lineBurst lines at once and then one per lineGap; other calls of one method get one per
// answerGap. The number of omitted failures and slow calls is logged once per tellGap.
const (
	lineGap   = 100 * time.Millisecond
	lineBurst = 10
	answerGap = 10 * time.Second
	tellGap   = time.Second
)

// callLog logs calls that failed or were slow, and samples of the others. newCallLog returns
// one. It is safe for concurrent use.
type callLog struct {
	logger   *slog.Logger
	guard    *guard    // nil: callers are not identified
	epoch    time.Time // zero of the samplers' times
	failures map[clerkgatev1.ErrorReason]*failureSampler
	methods  map[string]*methodSamplers
}

type failureSampler struct {
	sampler
	level atomic.Int64 // level of the last omitted line
}

type methodSamplers struct{ answered, slow sampler }

// nameOf returns the name of the caller, or "". It identifies the caller again, for logged
// calls only: the log stands outside the interceptor that does so for every call.
func (l *callLog) nameOf(ctx context.Context) string {
	if l.guard != nil && !l.guard.open() {
		if who, err := l.guard.identify(ctx); err != nil || who != nil {
			if who != nil {
				return who.Name
			}
			return ""
		}
	}
	o, err := readOptions(ctx)
	if err != nil {
		return ""
	}
	return o.Caller
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

// answered records a successful call; mayBeSlow lets it be logged as slow. It returns the
// call's id if it was logged, otherwise "".
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

// failed records a failed call; mayBeSlow lets it be logged as slow. It returns the
// failure to send to the caller, and the call's id.
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
	level, ok := l.admit(ctx, f, start, end, mayBeSlow)
	if !ok {
		return f, id
	}
	attrs := []any{"reason", f.reasonName(), "error", err.Error()}
	if f.traceID != "" {
		attrs = append(attrs, "clerk_trace_id", f.traceID)
	}
	l.write(ctx, level, "call failed", method, f.code, id, end.Sub(start), attrs...)
	return f, id
}

// unmet records a batch that was answered although each of its ids failed, at the level
// and with the limit of calls that fail so. It returns the call's id if it was logged,
// otherwise "".
func (l *callLog) unmet(ctx context.Context, method string, start, end time.Time, f failure) (id string) {
	level, ok := l.admit(ctx, f, start, end, true)
	if !ok {
		return ""
	}
	id = requestID(ctx)
	l.write(ctx, level, "every id of a call failed", method, codes.OK, id, end.Sub(start), "reason", f.reasonName())
	return id
}

// admit reports whether a failure may have a line in the log, and returns its level.
func (l *callLog) admit(ctx context.Context, f failure, start, end time.Time, mayBeSlow bool) (level slog.Level, ok bool) {
	level = levelOf(f.code)
	if mayBeSlow && end.Sub(start) >= slowCall {
		level = max(level, slog.LevelInfo)
	}
	if !l.logger.Enabled(ctx, level) {
		return level, false
	}
	if s := l.failures[f.reason]; !s.allow(end.Sub(l.epoch), lineGap, lineBurst) {
		s.level.Store(int64(level))
		return level, false
	}
	return level, true
}

// levelOf returns the log level of a failure: error for failures of the server, warn for
// what an operator must act on or wait for, info for callers' mistakes, debug for normal
// results, and for calls of unknown callers, of which the guard logs one per second.
func levelOf(code codes.Code) slog.Level {
	switch code {
	case codes.Internal:
		return slog.LevelError
	case codes.Unavailable, codes.FailedPrecondition, codes.ResourceExhausted:
		return slog.LevelWarn
	case codes.NotFound, codes.Canceled, codes.Unauthenticated:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (l *callLog) write(ctx context.Context, level slog.Level, msg, method string, code codes.Code, id string, took time.Duration, more ...any) {
	attrs := []any{"method", method, "code", code.String(), "took", took, "request_id", id}
	// A call that was refused because of its metadata has no caller.
	if name := l.nameOf(ctx); name != "" {
		attrs = append(attrs, "caller", name)
	}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, "peer", p.Addr.String())
	}
	attrs = append(attrs, traceID(ctx)...)
	l.logger.Log(ctx, level, msg, append(attrs, more...)...)
}

// tellLeftOut logs the number of omitted failures and slow calls since its last call.
// Call it every tellGap.
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

// requestID returns the id that the caller has set, if it is valid (as a caller's name),
// and otherwise a new one.
func requestID(ctx context.Context) string {
	if given := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(given) == 1 {
		if id := given[0]; id != "" && validName(id) && clerkapi.Redact(id) == id {
			return id
		}
	}
	return fmt.Sprintf("%016x", rand.Uint64())
}
