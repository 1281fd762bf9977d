package telemetry

import (
	"context"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// queue is where spans wait to be sent. It takes no more than the batch processor
// behind it has room for, which would drop the rest without a word.
type queue struct {
	sdktrace.SpanProcessor // makes batches of what waits
	size                   int64
	waiting                atomic.Int64
	lost                   *losses
}

// OnEnd takes a span that has ended, if there is room for it.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > q.size {
		q.waiting.Add(-1)
		q.lost.add(1, nil)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// exporter sends spans from the queue by way of next. Its failures are losses,
// and not for OpenTelemetry's own handler, which is one for the whole process and
// knows no measure.
type exporter struct {
	next  sdktrace.SpanExporter
	queue *queue
	end   context.Context // when there is no more time to send anything
}

// ExportSpans sends spans. It never fails: there is nobody to be told.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.queue.waiting.Add(-int64(len(spans)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.end, cancel)()
	if err := e.next.ExportSpans(ctx, spans); err != nil {
		e.queue.lost.add(len(spans), err)
	}
	return nil
}

// Shutdown closes the way to the collector.
func (e *exporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }
