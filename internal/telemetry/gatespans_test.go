package telemetry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// spans records the spans of a gate and of its callers.
type spans struct {
	recorder *tracetest.SpanRecorder
	tracer   trace.Tracer
}

func newSpans() spans {
	r := tracetest.NewSpanRecorder()
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = 1000 // above the gate's own
	return spans{r, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithRawSpanLimits(limits)).Tracer("test")}
}

// caller returns the context of a call whose span has a name.
func (s spans) caller(ctx context.Context, name string) context.Context {
	ctx, _ = s.tracer.Start(ctx, name)
	return ctx
}

// sampledCall is the span of a call that is recorded.
var sampledCall = trace.NewSpanContext(trace.SpanContextConfig{
	TraceID: trace.TraceID{2}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
})

// unsampled returns the context of a call that is traced but not recorded.
func unsampled(ctx context.Context) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}))
}

// told describes the gate's spans: each with its number of wants, its length to the
// second, its error and its links.
func (s spans) told(t *testing.T) []string {
	t.Helper()
	names := map[trace.SpanID]string{}
	batches := 0
	for _, span := range s.recorder.Started() {
		name := span.Name()
		if name == "gate.batch" {
			batches++
			name = fmt.Sprint("batch ", batches)
			if span.Parent().IsValid() {
				t.Errorf("%s is somebody's child", name)
			}
		}
		if name != "gate.queue" {
			names[span.SpanContext().SpanID()] = name
		}
	}
	var lines []string
	for _, span := range s.recorder.Ended() {
		name := names[span.SpanContext().SpanID()]
		if span.Name() == "gate.queue" {
			name = names[span.Parent().SpanID()] + " waits"
		}
		line := name + ":"
		for _, a := range span.Attributes() {
			line += fmt.Sprintf(" %s=%s", strings.TrimPrefix(string(a.Key), "clerkgate."), a.Value.String())
		}
		line += " " + span.EndTime().Sub(span.StartTime()).Round(time.Second).String()
		if st := span.Status(); st.Code == codes.Error {
			line += " (" + st.Description + ")"
		}
		var to []string
		for _, l := range span.Links() {
			to = append(to, names[l.SpanContext.SpanID()])
		}
		if slices.Sort(to); to != nil {
			line += " -> " + strings.Join(to, ", ")
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func TestSpans(t *testing.T) {
	ask := func(g *gate.Gate, ctx context.Context, id string) { _ = lookUp(ctx, g, id) }
	fails := func(first int, err error) func(int, []string) error {
		return func(n int, _ []string) error {
			if n == first {
				return err
			}
			return nil
		}
	}
	oneAtATime := quota.Config{Limit: 1}
	for _, tt := range []struct {
		name  string
		cfg   gate.Config
		reply func(int, []string) error // Clerk takes 0.6 s for it
		do    func(t *testing.T, g *gate.Gate, s spans)
		want  []string
	}{
		{"a lone lookup", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, s.caller(t.Context(), "ann"), "user_1")
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"batch 1: kind=lookup wants=1 try=1 1s -> ann",
		}},
		{"two lookups that share a request", gate.Config{Quota: oneAtATime}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, t.Context(), "user_0")
			var callers sync.WaitGroup
			for i, name := range []string{"ann", "bob"} {
				ctx := s.caller(t.Context(), name)
				callers.Go(func() { ask(g, ctx, fmt.Sprint("user_", i)) })
			}
			callers.Wait()
		}, []string{
			"ann waits: wants=1 try=1 10s -> batch 2",
			"batch 1: kind=lookup wants=1 try=1 1s",
			"batch 2: kind=lookup wants=2 try=1 1s -> ann, bob",
			"bob waits: wants=1 try=1 10s -> batch 2",
		}},
		{"one who joins a request under way", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			var callers sync.WaitGroup
			for _, name := range []string{"ann", "bob"} {
				ctx := s.caller(t.Context(), name)
				callers.Go(func() { ask(g, ctx, "user_1") })
				time.Sleep(300 * time.Millisecond)
			}
			callers.Wait()
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"batch 1: kind=lookup wants=1 try=1 1s -> ann, bob",
			"bob waits: wants=1 try=1 0s -> batch 1",
		}},
		{"one who leaves the queue", gate.Config{Quota: oneAtATime}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, t.Context(), "user_0")
			ctx, leave := context.WithCancel(s.caller(t.Context(), "ann"))
			time.AfterFunc(3*time.Second, leave)
			g.Lookup(ctx, []string{"user_1", "user_2"}, gate.Options{})
		}, []string{
			"ann waits: wants=2 3s (the caller gave up)",
			"batch 1: kind=lookup wants=1 try=1 1s",
		}},
		{"one who leaves a request under way", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ctx, leave := context.WithCancel(s.caller(t.Context(), "ann"))
			time.AfterFunc(300*time.Millisecond, leave)
			ask(g, ctx, "user_1")
			time.Sleep(2 * time.Second)
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"batch 1: kind=lookup wants=1 try=1 1s -> ann",
		}},
		{"a retry", gate.Config{}, fails(1, down), func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, s.caller(t.Context(), "ann"), "user_1")
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"ann waits: wants=1 try=2 0s -> batch 2",
			"batch 1: kind=lookup wants=1 try=1 1s (clerk is unavailable) -> ann",
			"batch 2: kind=lookup wants=1 try=2 1s -> ann",
		}},
		{"an error", gate.Config{}, fails(1, badKey), func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, s.caller(t.Context(), "ann"), "user_1")
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"batch 1: kind=lookup wants=1 try=1 1s (clerk refused the secret key) -> ann",
			"batch 2: kind=probe wants=0 try=1 1s", // which shows whether that is so
		}},
		{"a 429", gate.Config{}, first(3*time.Second, limited), func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, s.caller(t.Context(), "ann"), "user_1")
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"ann waits: wants=1 try=1 3s -> batch 4",
			"batch 1: kind=lookup wants=1 try=1 1s (clerk's quota is spent) -> ann",
			"batch 2: kind=probe wants=0 try=1 1s (clerk's quota is spent)", // which shows whom it concerns
			"batch 3: kind=probe wants=0 try=1 1s",                          // after the pause
			"batch 4: kind=lookup wants=1 try=1 1s -> ann",
		}},
		{"a batch that Clerk refuses", gate.Config{}, fails(1, refused), func(t *testing.T, g *gate.Gate, s spans) {
			g.Lookup(s.caller(t.Context(), "ann"), []string{"user_1", "user_2"}, gate.Options{})
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 2",
			"ann waits: wants=1 try=1 0s -> batch 3",
			"ann waits: wants=2 try=1 0s -> batch 1",
			"batch 1: kind=lookup wants=2 try=1 1s (clerk refused the arguments) -> ann",
			"batch 2: kind=split wants=1 try=1 1s -> ann",
			"batch 3: kind=split wants=1 try=1 1s -> ann",
		}},
		{"more ids than fit into a request", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			g.Lookup(s.caller(t.Context(), "ann"), userIDs(150), gate.Options{})
		}, []string{
			"ann waits: wants=100 try=1 0s -> batch 1",
			"ann waits: wants=50 try=1 0s -> batch 2",
			"batch 1: kind=lookup wants=100 try=1 1s -> ann",
			"batch 2: kind=lookup wants=50 try=1 1s -> ann",
		}},
		{"refused on arrival", gate.Config{Quota: oneAtATime}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, t.Context(), "user_0")
			ctx, cancel := context.WithTimeout(s.caller(t.Context(), "ann"), time.Second)
			defer cancel()
			ask(g, ctx, "user_1")
		}, []string{
			"ann waits: wants=1 0s (the wait would outlast the deadline)",
			"batch 1: kind=lookup wants=1 try=1 1s",
		}},
		{"a list and a count", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			_, _ = g.List(s.caller(t.Context(), "ann"), clerkapi.ListParams{}, gate.Options{})
			_, _ = g.Count(s.caller(t.Context(), "bob"), nil, gate.Options{})
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"batch 1: kind=call wants=1 try=1 1s -> ann",
			"batch 2: kind=call wants=1 try=1 1s -> bob",
			"bob waits: wants=1 try=1 0s -> batch 2",
		}},
		{"a lease, whose permits are not for this gate's requests", gate.Config{Quota: oneAtATime}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, t.Context(), "user_0")
			if _, err := g.Acquire(s.caller(t.Context(), "ann"), gate.LeaseRequest{Permits: 1}, gate.Options{}); err != nil {
				t.Error(err)
			}
		}, []string{
			"ann waits: wants=1 10s",
			"batch 1: kind=lookup wants=1 try=1 1s",
		}},
		{"a probe", gate.Config{BreakerFailures: 1}, fails(1, down), func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, s.caller(t.Context(), "ann"), "user_1")
			time.Sleep(5 * time.Second)
		}, []string{
			"ann waits: wants=1 try=1 0s -> batch 1",
			"ann waits: wants=1 try=2 0s -> batch 3",
			"batch 1: kind=lookup wants=1 try=1 1s (clerk is unavailable) -> ann",
			"batch 2: kind=probe wants=0 try=1 1s",
			"batch 3: kind=lookup wants=1 try=2 1s -> ann",
		}},
		{"one who is not sampled", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, unsampled(t.Context()), "user_1")
		}, nil},
		{"one who joins a request that nobody samples", gate.Config{}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			var callers sync.WaitGroup
			for _, ctx := range []context.Context{unsampled(t.Context()), s.caller(t.Context(), "ann")} {
				callers.Go(func() { ask(g, ctx, "user_1") })
				synctest.Wait()
			}
			callers.Wait()
		}, []string{"ann waits: wants=1 try=1 0s"}},
		{"one who is sampled with one who is not", gate.Config{Quota: oneAtATime}, nil, func(t *testing.T, g *gate.Gate, s spans) {
			ask(g, unsampled(t.Context()), "user_0")
			var callers sync.WaitGroup
			for _, ctx := range []context.Context{unsampled(t.Context()), s.caller(t.Context(), "ann")} {
				callers.Go(func() { ask(g, ctx, "user_1") })
			}
			callers.Wait()
		}, []string{
			"ann waits: wants=1 try=1 10s -> batch 1",
			"batch 1: kind=lookup wants=1 try=1 1s -> ann",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpans()
			tt.cfg.Observer = NewGateObserver(s.tracer)
			clerk := &fakeClerk{latency: 600 * time.Millisecond, reply: tt.reply}
			atGate(t, clerk, tt.cfg, func(t *testing.T, g *gate.Gate) {
				tt.do(t, g, s)
			})
			if diff := cmp.Diff(tt.want, s.told(t)); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSpansAtTheEnd stops a gate with a request under way and wants that wait.
func TestSpansAtTheEnd(t *testing.T) {
	s := newSpans()
	atGate(t, &fakeClerk{latency: time.Hour}, gate.Config{Quota: quota.Config{Limit: 1}, Observer: NewGateObserver(s.tracer)}, func(t *testing.T, g *gate.Gate) {
		for i, name := range []string{"ann", "bob"} {
			ctx := s.caller(t.Context(), name)
			go lookUp(ctx, g, fmt.Sprint("user_", i))
			time.Sleep(3 * time.Second)
		}
	})
	if diff := cmp.Diff([]string{
		"ann waits: wants=1 0s (shutting down)", // after it had been sent
		"ann waits: wants=1 try=1 0s -> batch 1",
		"batch 1: kind=lookup wants=1 try=1 6s (the caller gave up) -> ann",
		"bob waits: wants=1 3s (shutting down)",
	}, s.told(t)); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// TestLinksAreBounded: 200 callers wait for one user, and 200 more join while the
// request is under way.
func TestLinksAreBounded(t *testing.T) {
	s := newSpans()
	atGate(t, &fakeClerk{latency: time.Second}, gate.Config{Quota: quota.Config{Limit: 1}, Observer: NewGateObserver(s.tracer)}, func(t *testing.T, g *gate.Gate) {
		_, _ = g.List(t.Context(), clerkapi.ListParams{}, gate.Options{}) // it spends the quota
		var callers sync.WaitGroup
		for _, more := range []func(){func() { time.Sleep(10*time.Second + 200*time.Millisecond) }, synctest.Wait} {
			for range 200 {
				ctx := s.caller(t.Context(), "ann")
				callers.Go(func() { _ = lookUp(ctx, g, "user_1") })
			}
			more()
		}
		callers.Wait()
	})
	links, waits := 0, 0
	for _, span := range s.recorder.Ended() {
		links = max(links, len(span.Links()))
		if span.Name() == "gate.queue" && len(span.Links()) == 1 {
			waits++
		}
	}
	if links != maxLinks || waits != 400 {
		t.Errorf("%d links of a batch, want %d; %d waits with a link, want 400", links, maxLinks, waits)
	}
}

// TestNoTracerCostsNothing: without a tracer the events of calls that succeed, or are refused, allocate
// nothing.
func TestNoTracerCostsNothing(t *testing.T) {
	o, ctx := NewGateObserver(nil), trace.ContextWithRemoteSpanContext(t.Context(), sampledCall)
	n := testing.AllocsPerRun(100, func() {
		if o.Queued(ctx, 100) != nil || o.Sent(gate.SentRequest{Endpoint: "lookup", Wants: 100, Try: 1}) != nil {
			t.Error("something is traced")
		}
		o.Dequeued(gate.Batch, time.Second)
		o.Answered(gate.AnsweredRequest{Endpoint: "lookup", Wants: 100, Ids: 100, Took: time.Second})
		o.Refused(gate.ErrQueueFull, 1)
		o.QuotaLow()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
