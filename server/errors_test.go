package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// clerkWords is a message of Clerk, which callers must not see.
const clerkWords = "words of clerk's"

func clerkError(kind error) *clerkapi.Error {
	return &clerkapi.Error{Kind: kind, Status: 599, Message: clerkWords, Codes: []string{clerkWords}, Err: errors.New(clerkWords),
		Meta: clerkapi.Meta{TraceID: "trace_1"}}
}

func TestClassify(t *testing.T) {
	withRetry := func(kind error, d time.Duration) error {
		e := clerkError(kind)
		e.RetryAfter = d
		return e
	}
	for _, tt := range []struct {
		err    error
		code   codes.Code
		reason string
		retry  time.Duration
	}{
		{invalid("page_size", "must not be negative"), codes.InvalidArgument, "INVALID_ARGUMENT", 0},
		{errNotAllowed, codes.PermissionDenied, "CALLER_NOT_ALLOWED", 0},
		{errAnswerTooLarge, codes.ResourceExhausted, "ANSWER_TOO_LARGE", 0},
		{errUserTooLarge, codes.ResourceExhausted, "ANSWER_TOO_LARGE", 0},
		{&panicError{text: clerkWords}, codes.Internal, "INTERNAL", 0},
		{errors.New(clerkWords), codes.Internal, "INTERNAL", 0},
		{listError(clerkError(clerkapi.ErrRejected)), codes.InvalidArgument, "CLERK_REJECTED_ARGUMENT", 0},
		{listError(clerkError(clerkapi.ErrNotFound)), codes.InvalidArgument, "CLERK_REJECTED_ARGUMENT", 0},
		{listError(clerkError(clerkapi.ErrUnavailable)), codes.Unavailable, "CLERK_UNAVAILABLE", time.Second},

		{&gate.Error{Kind: gate.ErrShuttingDown}, codes.Unavailable, "SHUTTING_DOWN", 0},
		{&gate.Error{Kind: gate.ErrQueueFull, RetryAfter: 3 * time.Second}, codes.ResourceExhausted, "QUEUE_FULL", 3 * time.Second},
		{&gate.Error{Kind: gate.ErrCallerQueueFull}, codes.ResourceExhausted, "CALLER_OVER_QUOTA", time.Second},
		{&gate.Error{Kind: gate.ErrDeadlineTooShort, RetryAfter: time.Millisecond}, codes.ResourceExhausted, "DEADLINE_TOO_SHORT", time.Millisecond},
		{&gate.Error{Kind: gate.ErrRateLimited, Err: withRetry(clerkapi.ErrRateLimited, 9*time.Second)}, codes.ResourceExhausted, "CLERK_RATE_LIMITED", 9 * time.Second},
		{&gate.Error{Kind: gate.ErrBreakerOpen, RetryAfter: 2 * time.Second, Err: clerkError(clerkapi.ErrUnavailable)}, codes.Unavailable, "BREAKER_OPEN", 2 * time.Second},

		{&userError{"user_1", usercache.ErrTooOld}, codes.Unavailable, "COPY_TOO_OLD", time.Second},
		{&userError{"user_1", clerkError(clerkapi.ErrNotFound)}, codes.NotFound, "USER_NOT_FOUND", 0},
		{clerkError(clerkapi.ErrRejected), codes.InvalidArgument, "CLERK_REJECTED_ARGUMENT", 0},
		{withRetry(clerkapi.ErrRateLimited, 4*time.Second), codes.ResourceExhausted, "CLERK_RATE_LIMITED", 4 * time.Second},
		{withRetry(clerkapi.ErrKeyRejected, 4*time.Second), codes.FailedPrecondition, "CLERK_KEY_REJECTED", 0},
		{clerkError(clerkapi.ErrRefused), codes.FailedPrecondition, "CLERK_REFUSED", 0},
		{listError(clerkError(clerkapi.ErrRefused)), codes.FailedPrecondition, "CLERK_REFUSED", 0},
		{clerkError(clerkapi.ErrTooLarge), codes.ResourceExhausted, "ANSWER_TOO_LARGE", 0},
		{clerkError(clerkapi.ErrPlanLimit), codes.FailedPrecondition, "CLERK_PLAN_LIMIT", 0},
		{withRetry(clerkapi.ErrUnavailable, 5*time.Second), codes.Unavailable, "CLERK_UNAVAILABLE", 5 * time.Second},
		{clerkError(clerkapi.ErrBadAnswer), codes.Unavailable, "CLERK_BAD_ANSWER", time.Second},
		// A timeout of the server's own request is not the caller's deadline.
		{&clerkapi.Error{Kind: clerkapi.ErrUnavailable, Err: context.DeadlineExceeded}, codes.Unavailable, "CLERK_UNAVAILABLE", time.Second},

		{context.Canceled, codes.Canceled, "CANCELLED", 0},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "DEADLINE_EXCEEDED", time.Second},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			f := classify(tt.err)
			st := f.status()
			if st.Code() != tt.code {
				t.Errorf("code %v, want %v", st.Code(), tt.code)
			}
			var info *errdetails.ErrorInfo
			var retry *errdetails.RetryInfo
			for _, d := range st.Details() {
				switch d := d.(type) {
				case *errdetails.ErrorInfo:
					info = d
				case *errdetails.RetryInfo:
					retry = d
				}
			}
			if info.GetReason() != tt.reason || info.GetDomain() != "clerkgate" {
				t.Errorf("ErrorInfo %v, want reason %s", info, tt.reason)
			}
			if _, known := clerkgatev1.ErrorReason_value["ERROR_REASON_"+info.GetReason()]; !known {
				t.Errorf("reason %s is not in the contract", info.GetReason())
			}
			if got := retry.GetRetryDelay().AsDuration(); got != tt.retry {
				t.Errorf("retry after %v, want %v", got, tt.retry)
			}
			if text := st.Proto().String(); strings.Contains(text, clerkWords) {
				t.Errorf("the caller sees Clerk's words: %s", text)
			}
			want := metadata.Pairs("clerkgate-reason", tt.reason)
			if tt.retry > 0 {
				want.Set("clerkgate-retry-ms", fmt.Sprint(tt.retry.Milliseconds()))
				want.Set("grpc-retry-pushback-ms", fmt.Sprint(tt.retry.Milliseconds()))
			}
			if diff := cmp.Diff(want, f.trailer(t.Context())); diff != "" {
				t.Errorf("trailer (-want +got):\n%s", diff)
			}
			e := f.lookupError()
			if codes.Code(e.Code) != tt.code || e.Reason != f.reason || e.Message != st.Message() || e.GetRetryDelay().AsDuration() != tt.retry {
				t.Errorf("as an error of one id: %v", e)
			}
		})
	}
}

func TestStatusDetails(t *testing.T) {
	details := func(err error) map[string]any {
		m := map[string]any{}
		for _, d := range status.Convert(classify(err).status().Err()).Details() {
			switch d := d.(type) {
			case *errdetails.BadRequest:
				m["field"] = d.GetFieldViolations()[0].GetField()
				m["description"] = d.GetFieldViolations()[0].GetDescription()
			case *errdetails.ResourceInfo:
				m["resource"] = d.GetResourceType() + " " + d.GetResourceName()
			case *errdetails.ErrorInfo:
				if id := d.GetMetadata()["clerk_trace_id"]; id != "" {
					m["trace"] = id
				}
			}
		}
		return m
	}
	for name, tt := range map[string]struct {
		err  error
		want map[string]any
	}{
		"field":  {invalid("max_age", "must not be negative"), map[string]any{"field": "max_age", "description": "must not be negative"}},
		"user":   {&userError{"user_1", clerkapi.ErrNotFound}, map[string]any{"resource": "clerkgate.v1.User user_1"}},
		"trace":  {clerkError(clerkapi.ErrUnavailable), map[string]any{"trace": "trace_1"}},
		"nobody": {&userError{"user_1", context.Canceled}, map[string]any{}},
	} {
		if diff := cmp.Diff(tt.want, details(tt.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if msg := classify(clerkError(clerkapi.ErrUnavailable)).message; !strings.Contains(msg, "trace_1") {
		t.Errorf("message %q lacks Clerk's trace id", msg)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"page_size":             "page_size",
		"a\x00b\nc\x1b[31m":     "a b c [31m",
		"key sk_live_abc123 !":  "key [redacted] !",
		"bad\xffutf8":           "bad�utf8",
		"whsec_abc":             "[redacted]",
		strings.Repeat("x", 99): strings.Repeat("x", 99),
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := clean(strings.Repeat("é", 500)); utf8.RuneCountInString(got) != maxText+1 || !utf8.ValidString(got) {
		t.Errorf("%d characters of text are left, or half a character", utf8.RuneCountInString(got))
	}
}
