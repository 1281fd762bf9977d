package server

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// traceIDs returns the trace ids in log lines about calls, by message; "" if a line has
// none.
func traceIDs(t *testing.T, log string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, line := range logLines(t, log) {
		if msg := line["msg"].(string); slices.Contains([]string{"call", "call failed", "slow call"}, msg) {
			ids[msg], _ = line["trace_id"].(string)
		}
	}
	return ids
}

// TestLinesHaveTheTraceID makes calls, one of which fails, in a trace of their caller
// that is sampled or not.
func TestLinesHaveTheTraceID(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	up := &fakeUpstream{}
	up.onCall = func(_ context.Context, c call) error {
		if c.method == "count" {
			return nil
		}
		return clerkError(clerkapi.ErrUnavailable)
	}
	for _, tt := range []struct {
		name   string
		traces trace.TracerProvider
		flags  string
		want   string
	}{
		{"sampled", sdktrace.NewTracerProvider(), "01", id},
		{"not sampled", sdktrace.NewTracerProvider(), "00", id},
		{"tracing is off", nil, "01", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, Config{Users: up, Quota: up, Traces: tt.traces})
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+id+"-0123456789abcdef-"+tt.flags)
			if _, err := r.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{}); err != nil {
				t.Error(err)
			}
			if _, err := r.users.GetUser(ctx, &clerkgatev1.GetUserRequest{UserId: "user_1"}); err == nil {
				t.Error("a call that was to fail did not")
			}
			if diff := cmp.Diff(map[string]string{"call": tt.want, "call failed": tt.want}, traceIDs(t, r.log.String())); diff != "" {
				t.Errorf("ids of the trace (-want +got):\n%s", diff)
			}
		})
	}
}

func TestASlowCallHasTheTraceID(t *testing.T) {
	log := &logBuffer{}
	l := newCallLog(leaktest.Logger(slog.NewJSONHandler(log, nil)))
	ctx, span := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "call")
	defer span.End()
	l.answered(ctx, "/clerkgate.v1.UserService/GetUser", l.epoch, l.epoch.Add(time.Minute), true)
	want := map[string]string{"slow call": span.SpanContext().TraceID().String()}
	if diff := cmp.Diff(want, traceIDs(t, log.String())); diff != "" {
		t.Errorf("ids of the trace (-want +got):\n%s", diff)
	}
}
