package gate

import (
	"context"
	"time"
)

// Observer watches what a gate does, for metrics and traces. The gate holds its lock while
// it calls most of the methods: they must be quick, must not call the gate, and must be safe
// for concurrent use.
type Observer interface {
	// Queued reports a call for a number of wants, whose context is ctx. It returns the
	// trace of the call, nil if the call is not traced.
	Queued(ctx context.Context, wants int) CallTrace
	// Dequeued reports that the turn of a want has come after it waited in the queue. A
	// want that waits again is reported again.
	Dequeued(p Priority, waited time.Duration)
	// Sent reports that a request has left. It returns the trace of the request, nil if no
	// request is traced.
	Sent(r SentRequest) RequestTrace
	// Answered reports that a request has ended.
	Answered(r AnsweredRequest)
	// Retried reports that a request has ended with err, and that its wants are going to be
	// tried again.
	Retried(err error)
	// Refused reports that wants were refused. The kind is that of an Error, or
	// clerkapi.ErrKeyRejected.
	Refused(kind error, wants int)
	// QuotaLow reports that less than a tenth of the quota is left, for the first time
	// since a fifth was left.
	QuotaLow()
}

// CallTrace follows one call that is traced. Its wants are numbered from 0. The gate holds
// its lock while it calls all methods but Done.
type CallTrace interface {
	// Left reports that a want has left the queue in a request, or has joined a request
	// that is under way. Try numbers the tries of the want from 1. A nil request means
	// that the want was a lease.
	Left(want, try int, in RequestTrace, now time.Time)
	// Returned reports that a want waits in the queue again.
	Returned(want int, now time.Time)
	// Done reports the results of the call, whose context is ctx. It is the last to be called.
	Done(ctx context.Context, results []Result)
}

// RequestTrace follows one request to Clerk.
type RequestTrace interface {
	// Context returns the context for the request.
	Context(ctx context.Context) context.Context
}

// SentRequest is a request to Clerk that has left.
type SentRequest struct {
	Endpoint string // "lookup" (users by their ids), "list", "count" or "probe"
	Part     bool   // it is a part of a refused lookup
	Wants    int    // that it carries; 0 for a probe
	Try      int    // the highest of its wants; 1 is the first
	At       time.Time
	Calls    []TracedWant // wants of calls that are traced
}

// TracedWant is a want of a traced call.
type TracedWant struct {
	Call      CallTrace
	Want, Try int // as in CallTrace.Left
}

// AnsweredRequest is a request that has ended.
type AnsweredRequest struct {
	Trace    RequestTrace // as returned by Observer.Sent
	Endpoint string       // as in SentRequest
	Wants    int          // as in SentRequest
	Ids      int          // ids whose state Clerk's answer has shown
	Missing  bool         // it was for one id, of which Clerk has no user
	Took     time.Duration
	Err      error // clerkapi.ErrNotSent if it has not left
}

// noObserver is an Observer that does nothing.
type noObserver struct{}

func (noObserver) Queued(context.Context, int) CallTrace { return nil }
func (noObserver) Dequeued(Priority, time.Duration)      {}
func (noObserver) Sent(SentRequest) RequestTrace         { return nil }
func (noObserver) Answered(AnsweredRequest)              {}
func (noObserver) Retried(error)                         {}
func (noObserver) Refused(error, int)                    {}
func (noObserver) QuotaLow()                             {}
