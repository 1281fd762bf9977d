package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is the collector's side of an exporter.
type receiver struct {
	got   int           // spans
	fail  error         // its answer
	takes time.Duration // unless it is aborted
	shut  bool
}

func (c *receiver) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	c.got += len(spans)
	return c.fail
}

func (c *receiver) Shutdown(context.Context) error {
	c.shut = true
	return nil
}

// inBubble exports spans to c in virtual time, until some time after do has returned. It
// returns the log and the duration of the end.
func inBubble(t *testing.T, c *receiver, do func(trace.Tracer)) (log string, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		tracing, err := NewTracing(TracingConfig{Sample: 1, Version: "1.2.3", Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tracing.export(ctx, c) }()
		synctest.Wait()
		do(tracing.Provider().Tracer("test"))
		start := time.Now()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		took = time.Since(start)
		log = lines.String()
		if lost, _ := told(t, log); tracing.Lost() != int64(lost) {
			t.Errorf("%d spans are counted as lost, of %d the log tells:\n%s", tracing.Lost(), lost, log)
		}
	})
	if !c.shut {
		t.Error("the way to the collector stays open")
	}
	return log, took
}

func end(tracer trace.Tracer, n int) {
	for range n {
		_, span := tracer.Start(context.Background(), "span")
		span.End()
	}
}

func TestSpansAreSentAtTheEnd(t *testing.T) {
	c := &receiver{takes: time.Second}
	if log, took := inBubble(t, c, func(tracer trace.Tracer) { end(tracer, 7) }); c.got != 7 || log != "" || took != time.Second {
		t.Errorf("%d spans, %v, log: %s", c.got, took, log)
	}
}

// TestACollectorThatHangs: the collector takes a day for each batch.
func TestACollectorThatHangs(t *testing.T) {
	c := &receiver{takes: 24 * time.Hour}
	if log, took := inBubble(t, c, func(tracer trace.Tracer) { end(tracer, 2000) }); c.got != 0 || strings.Count(log, "\n") != 1 || took != flushTime {
		t.Errorf("%d spans, %v, log: %s", c.got, took, log)
	}
}

// TestACollectorThatFails: the collector fails for five minutes. Calls do not wait, and
// the log gets one line per minute, with a bounded part of the collector's error.
func TestACollectorThatFails(t *testing.T) {
	c := &receiver{fail: errors.New("down\n" + strings.Repeat("x", 5000) + "beyond")}
	log, _ := inBubble(t, c, func(tracer trace.Tracer) {
		start := time.Now()
		for range 300 {
			end(tracer, 10)
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took != 300*time.Second {
			t.Errorf("those who make spans have waited: %v", took)
		}
	})
	// At 5 s, then once a minute, and the rest at the end.
	if lost, lines := told(t, log); lines != 6 || lost != 3000 || strings.Contains(log, "beyond") || len(log) > 6*500 {
		t.Errorf("%d spans are told in a log of %d lines:\n%s", lost, lines, log)
	}
}

// told returns the number of lost spans in the log, and of lines about them.
func told(t *testing.T, log string) (lost, lines int) {
	t.Helper()
	for _, match := range regexp.MustCompile(`msg="spans could not be sent" .*lost=(\d+)`).FindAllStringSubmatch(log, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		lost += n
	}
	return lost, strings.Count(log, "\n")
}

// TestACollectorThatIsSlow: the collector takes two seconds for 512 spans, of which 500
// end every second. No export fails, and the log has three lines: when the queue is full,
// a minute later, and at the end.
func TestACollectorThatIsSlow(t *testing.T) {
	c := &receiver{takes: 2 * time.Second}
	log, _ := inBubble(t, c, func(tracer trace.Tracer) {
		for range 100 {
			end(tracer, 500)
			time.Sleep(time.Second)
		}
	})
	const all, taken = 100 * 500, 100 / 2 * 512
	if c.got < taken-512 {
		t.Errorf("%d spans arrived, of %d that there was time for", c.got, taken)
	}
	if lost, lines := told(t, log); lost+c.got != all || lines != 3 {
		t.Errorf("of %d spans %d arrived and %d are told to be lost, in %d lines:\n%s", all, c.got, lost, lines, log)
	}
}

// TestFailuresAreNotForOpenTelemetry: errors of an exporter would go to the process's
// error handler, which writes a line for each.
func TestFailuresAreNotForOpenTelemetry(t *testing.T) {
	lost := newLostSpans(slog.New(slog.DiscardHandler))
	e := &exporter{next: &receiver{fail: errors.New("down")}, queue: &queue{lost: lost}, end: t.Context()}
	if err := e.ExportSpans(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestSampler(t *testing.T) {
	span := func(sampled, remote bool) trace.SpanContext {
		c := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: remote}
		if sampled {
			c.TraceFlags = trace.FlagsSampled
		}
		return trace.NewSpanContext(c)
	}
	links := func(to ...trace.SpanContext) (l []trace.Link) {
		for _, c := range to {
			l = append(l, trace.Link{SpanContext: c})
		}
		return l
	}
	low, high := trace.TraceID{15: 1}, trace.TraceID{8: 0xff}
	for _, tt := range []struct {
		name   string
		share  float64
		parent trace.SpanContext
		links  []trace.Link
		id     trace.TraceID
		want   bool
	}{
		{"all", 1, trace.SpanContext{}, nil, high, true},
		{"none", 0, trace.SpanContext{}, nil, low, false},
		{"of the half", 0.5, trace.SpanContext{}, nil, low, true},
		{"not of the half", 0.5, trace.SpanContext{}, nil, high, false},
		{"a caller's that is sampled", 0, span(true, true), nil, high, true},
		{"a caller's that is not", 1, span(false, true), nil, low, false},
		{"a child of one that is sampled", 0, span(true, false), nil, high, true},
		{"a child of one that is not", 1, span(false, false), nil, low, false},
		{"linked to one that is sampled", 0, trace.SpanContext{}, links(span(false, true), span(true, true)), high, true},
		{"linked to one that is not", 0, trace.SpanContext{}, links(span(false, true)), low, false},
		{"a child of one that is not, linked to one that is", 1, span(false, true), links(span(true, true)), low, false},
	} {
		result := Sampler(tt.share).ShouldSample(sdktrace.SamplingParameters{
			ParentContext: trace.ContextWithSpanContext(t.Context(), tt.parent), TraceID: tt.id, Links: tt.links,
		})
		if got := result.Decision == sdktrace.RecordAndSample; got != tt.want {
			t.Errorf("%s: sampled %v", tt.name, got)
		}
	}
}
