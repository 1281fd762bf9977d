package clerkapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	spancodes "go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// spanAttrs gives the attributes that the spans of all requests have. base must
// be well-formed.
func spanAttrs(base string) []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.HTTPRequestMethodGet}
	u, err := url.Parse(base)
	if err != nil {
		return attrs
	}
	attrs = append(attrs, semconv.URLScheme(u.Scheme), semconv.ServerAddress(u.Hostname()))
	if port, err := strconv.Atoi(u.Port()); err == nil {
		attrs = append(attrs, semconv.ServerPort(port))
	}
	return attrs
}

// get does what send does, in a span if requests are traced. The span holds
// nothing of a user's, nor what the request says: only what kind it is.
func (c *Client) get(ctx context.Context, path string, query url.Values) (whole, error) {
	if c.tracer == nil {
		return c.send(ctx, path, query)
	}
	template := urlTemplate(path)
	ctx, span := c.tracer.Start(ctx, "GET "+template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(c.spanAttrs...), trace.WithAttributes(semconv.URLTemplate(template)))
	defer span.End()
	a, err := c.send(ctx, path, query)
	status, told := http.StatusOK, a.meta
	if err != nil {
		status = 0
		if e, ok := errors.AsType[*Error](err); ok {
			status, told = e.Status, e.Meta
			markFailed(span, e)
		}
	}
	if status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
	if told.TraceID != "" {
		span.SetAttributes(attribute.String("clerk.trace_id", told.TraceID))
	}
	return a, err
}

// urlTemplate gives a path with a placeholder where it names a user.
func urlTemplate(path string) string {
	if strings.HasPrefix(path, "/users/user_") {
		path = "/users/{user_id}"
	}
	return "/v1" + path
}

// markFailed says in the span what went wrong. That a user does not exist is an
// answer like any other.
func markFailed(span trace.Span, e *Error) {
	if errors.Is(e, ErrNotFound) {
		return
	}
	kind := "no_answer"
	if e.Status != 0 {
		kind = strconv.Itoa(e.Status)
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.SetStatus(spancodes.Error, e.Kind.Error())
}
