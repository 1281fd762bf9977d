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

// spanAttrs returns the attributes of all spans. base must be a valid URL.
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

// startSpan starts the span of a request. It returns a nil span if requests are not traced.
// A span contains no data of users and no arguments, only the kind of request.
func (c *Client) startSpan(ctx context.Context, path string) (context.Context, trace.Span) {
	if c.tracer == nil {
		return ctx, nil
	}
	template := urlTemplate(path)
	return c.tracer.Start(ctx, "GET "+template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(c.spanAttrs...), trace.WithAttributes(semconv.URLTemplate(template)))
}

// endSpan ends the span of a request that was answered with meta and status 200, or failed
// with err.
func endSpan(span trace.Span, meta Meta, err error) {
	if span == nil {
		return
	}
	defer span.End()
	status := http.StatusOK
	if err != nil {
		status = 0
		if e, ok := errors.AsType[*Error](err); ok {
			status, meta = e.Status, e.Meta
			markFailed(span, e)
		}
	}
	if status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
	if meta.TraceID != "" {
		span.SetAttributes(attribute.String("clerk.trace_id", meta.TraceID))
	}
}

// urlTemplate returns a path with a placeholder for a user's id.
func urlTemplate(path string) string {
	if strings.HasPrefix(path, "/users/user_") {
		path = "/users/{user_id}"
	}
	return "/v1" + path
}

// markFailed records a failure in the span. A missing user is not a failure.
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
