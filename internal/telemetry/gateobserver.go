package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/internal/gate"
)

// GateObserver counts the events of a gate, and makes their spans. NewGateObserver returns
// one. It is safe for concurrent use.
type GateObserver struct {
	tracer trace.Tracer // nil: no spans

	mu    sync.Mutex
	stats GateStats // guarded by mu
}

var _ gate.Observer = (*GateObserver)(nil)

// NewGateObserver returns a GateObserver that makes spans with tracer; nil: no spans.
func NewGateObserver(tracer trace.Tracer) *GateObserver {
	return &GateObserver{tracer: tracer, stats: newGateStats()}
}

// Stats returns the counts since the start.
func (o *GateObserver) Stats() GateStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stats.clone()
}

// Queued implements gate.Observer.
func (o *GateObserver) Queued(ctx context.Context, wants int) gate.CallTrace {
	if c := o.traceCall(ctx, wants); c != nil {
		return c
	}
	return nil
}

// Sent implements gate.Observer.
func (o *GateObserver) Sent(r gate.SentRequest) gate.RequestTrace {
	if o.tracer == nil {
		return nil
	}
	return o.traceRequest(r)
}

// Answered implements gate.Observer.
func (o *GateObserver) Answered(r gate.AnsweredRequest) {
	if t, ok := r.Trace.(*requestTrace); ok {
		t.end(r.Err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.answered(r)
}

// Dequeued implements gate.Observer.
func (o *GateObserver) Dequeued(p gate.Priority, waited time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Waits[p].observe(waited.Seconds())
}

// Retried implements gate.Observer.
func (o *GateObserver) Retried(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Retries[outcomeOf(err)]++
}

// Refused implements gate.Observer.
func (o *GateObserver) Refused(kind error, wants int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Refused[refusals[kind]] += int64(wants)
}

// QuotaLow implements gate.Observer.
func (o *GateObserver) QuotaLow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Low++
}
