package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/metadata"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

// TestHTTPTraces wants the same span of a call by each protocol as by gRPC.
func TestHTTPTraces(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	up := &fakeUpstream{users: usersAt(1)}
	r := start(t, Config{Users: up, Quota: up, Traces: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSpanProcessor(leaktest.Spans()))})
	const parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	span := func(name string) string {
		eventually(t, "a span of "+name, func() bool { return len(recorder.Ended()) > 0 })
		spans := recorder.Ended()
		recorder.Reset()
		if len(spans) != 1 || spans[0].Parent().TraceID().String() != parent[3:35] {
			t.Errorf("%s: %d spans, the first of the trace %v", name, len(spans), spans[0].Parent())
		}
		var facts []string
		for _, a := range spans[0].Attributes() {
			if a.Key != "server.port" {
				facts = append(facts, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
			}
		}
		slices.Sort(facts)
		return fmt.Sprint(spans[0].Name(), spans[0].SpanKind(), spans[0].Status(), facts)
	}
	for _, id := range []string{"user_0000", "user_nobody", "-x"} {
		req := &clerkgatev1.GetUserRequest{UserId: id}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent, priorityKey, "batch")
		_, _ = r.users.GetUser(ctx, req)
		want := span("gRPC")
		for name, p := range protocols {
			header := http.Header{"Traceparent": {parent}, "Clerkgate-Priority": {"batch"}}
			_, _ = callByHTTP[clerkgatev1.GetUserRequest, clerkgatev1.GetUserResponse](t, r.httpClient(t, p.h2c), r.httpURL, getUserPath, req, header, p.options...)
			if got := span(name); got != want {
				t.Errorf("%s, %s:\n%s, want\n%s", id, name, got, want)
			}
		}
	}
	if _, err := callByHTTP[clerkgatev1.WhoAmIRequest, clerkgatev1.WhoAmIResponse](t, r.httpClient(t, false), r.httpURL,
		clerkgatev1.CallerService_WhoAmI_FullMethodName, &clerkgatev1.WhoAmIRequest{}, http.Header{"Traceparent": {parent}}); err != nil {
		t.Fatal(err)
	}
	if got := span("WhoAmI"); !strings.HasPrefix(got, "clerkgate.v1.CallerService/WhoAmI") {
		t.Error(got)
	}
}
