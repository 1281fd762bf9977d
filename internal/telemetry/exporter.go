package telemetry

import (
	"context"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// queue holds spans until they are exported. It accepts no more than the batch processor
// behind it has room for, which would silently drop the rest.
type queue struct {
	sdktrace.SpanProcessor // collects the queued spans in batches
	size                   int64
	waiting                atomic.Int64
	lost                   *lostSpans
}

// OnEnd queues a span if there is room.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > q.size {
		q.waiting.Add(-1)
		q.lost.add(1, nil)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// exporter exports spans from the queue through next. It counts failures as lost spans
// instead of passing them to OpenTelemetry's error handler, which is one for the whole
// process and has no rate limit.
type exporter struct {
	next  sdktrace.SpanExporter
	queue *queue
	end   context.Context // ends when the time for the last export is over
}

// ExportSpans exports spans. It never returns an error; failures are counted.
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

// Shutdown closes the connection to the collector.
func (e *exporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }
