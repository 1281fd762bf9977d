package clerkapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestSpans sends requests to a server that answers with a status and Clerk's trace id.
// It compares whole spans, so that they can contain nothing else: no id of a user, no
// filter, no message of an error.
func TestSpans(t *testing.T) {
	lookup := func(ids ...string) func(context.Context, *Client) {
		return func(ctx context.Context, c *Client) { _, _ = c.LookupUsers(ctx, ids) }
	}
	const notFound = `{"errors":[{"message":"no user_secret","code":"resource_not_found"}]}`
	for _, tt := range []struct {
		name   string
		status int
		body   string
		ask    func(context.Context, *Client)
		span   string
		attrs  []string // in addition to common ones
		failed string
	}{
		{"one", 200, `{"id":"user_secret"}`, lookup("user_secret"),
			"GET /v1/users/{user_id}", []string{"http.response.status_code=200", "url.template=/v1/users/{user_id}"}, ""},
		{"several", 200, `[]`, lookup("user_secret", "user_2"),
			"GET /v1/users", []string{"http.response.status_code=200", "url.template=/v1/users"}, ""},
		{"a list", 200, `[]`, func(ctx context.Context, c *Client) {
			_, _ = c.ListUsers(ctx, ListParams{Limit: 1, Filter: &clerkgatev1.UserFilter{EmailAddresses: list("a@secret.example")}})
		}, "GET /v1/users", []string{"http.response.status_code=200", "url.template=/v1/users"}, ""},
		{"a count", 200, countAnswer, func(ctx context.Context, c *Client) { _, _ = c.CountUsers(ctx, nil) },
			"GET /v1/users/count", []string{"http.response.status_code=200", "url.template=/v1/users/count"}, ""},
		{"nobody", 404, notFound, lookup("user_secret"),
			"GET /v1/users/{user_id}", []string{"http.response.status_code=404", "url.template=/v1/users/{user_id}"}, ""},
		{"429", 429, `{"errors":[{"message":"secret"}]}`, lookup("user_secret", "user_2"),
			"GET /v1/users", []string{"error.type=429", "http.response.status_code=429", "url.template=/v1/users"}, "clerk's quota is spent"},
		{"500", 500, `secret`, lookup("user_secret"),
			"GET /v1/users/{user_id}", []string{"error.type=500", "http.response.status_code=500", "url.template=/v1/users/{user_id}"}, "clerk is unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var headers http.Header
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				headers = r.Header
				w.Header().Set("Clerk-Trace-Id", "trace1")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			all := append(tt.attrs, "clerk.trace_id=trace1", "http.request.method=GET", "url.scheme=http",
				"server.address=127.0.0.1", "server.port="+server.URL[strings.LastIndexByte(server.URL, ':')+1:])
			slices.Sort(all)
			want := tt.span + "\n" + strings.Join(all, "\n") + "\n" + tt.failed
			if diff := cmp.Diff(want, spanOf(t, server.URL, tt.ask)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
				if headers.Get(name) != "" {
					t.Errorf("%s has been sent", name)
				}
			}
		})
	}
}

// TestSpanWithoutAnAnswer sends a request to a port where nobody listens.
func TestSpanWithoutAnAnswer(t *testing.T) {
	want := "GET /v1/users/count\nerror.type=no_answer\nhttp.request.method=GET\nserver.address=127.0.0.1\nserver.port=1\n" +
		"url.scheme=http\nurl.template=/v1/users/count\nclerk is unavailable"
	got := spanOf(t, "http://127.0.0.1:1", func(ctx context.Context, c *Client) { _, _ = c.CountUsers(ctx, nil) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// spanOf returns the span of one request as lines: name, attributes, and error.
func spanOf(t *testing.T, url string, ask func(context.Context, *Client)) string {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	ctx, parent := tracer.Start(t.Context(), "parent")
	ask(ctx, clientOf(t, Config{BaseURL: url, Tracer: tracer}))
	ended := recorder.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans", len(ended))
	}
	span := ended[0]
	if span.Parent().SpanID() != parent.SpanContext().SpanID() || span.SpanKind() != trace.SpanKindClient {
		t.Errorf("it is a %v of %v", span.SpanKind(), span.Parent().SpanID())
	}
	var attrs []string
	for _, a := range span.Attributes() {
		attrs = append(attrs, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
	}
	slices.Sort(attrs)
	if len(span.Events()) > 0 {
		t.Errorf("it has events: %v", span.Events())
	}
	return span.Name() + "\n" + strings.Join(attrs, "\n") + "\n" + span.Status().Description
}
