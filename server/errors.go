package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "clerkgate"

// defaultRetry is the time to come back if none is known.
const defaultRetry = time.Second

// Errors of this package. Invalid fields of a request are *clerkapi.ParamError.
var (
	errNotAllowed     = errors.New("caller not allowed")
	errMethodDenied   = errors.New("method not allowed to the caller")
	errOwnStreams     = errors.New("the caller has all its streams open")
	errAnswerTooLarge = errors.New("answer too large")
	errUserTooLarge   = errors.New("user too large")
	errListRejected   = errors.New("clerk refused the list")
	errTokenOutdated  = errors.New("token of another version or instance")
	errPanic          = errors.New("panic")
	errWebPage        = errors.New("call from a web page")
	errNoMethod       = errors.New("no such method")

	errNotRead          = errors.New("the stream is not read")
	errTooManyStreams   = errors.New("too many streams")
	errCallerStreams    = errors.New("too many streams of one caller")
	errOutboxFull       = errors.New("too many bytes of answers wait to be read")
	errCallerOutboxFull = errors.New("too many bytes of answers wait to be read by one address")
	errIntakeFull       = errors.New("too many calls by HTTP, or too many bytes of them")
	errCallerIntake     = errors.New("too many calls by HTTP, or too many bytes of them, from one address")
)

// methodDenied reports that a known caller may not call a method, by its full name.
type methodDenied struct{ method string }

func (e *methodDenied) Error() string { return errMethodDenied.Error() }
func (e *methodDenied) Unwrap() error { return errMethodDenied }

// ownFault reports whether err is a limit of streams, which applies to streams of other
// services too.
func ownFault(err error) bool {
	return errors.Is(err, errNotRead) || errors.Is(err, errTooManyStreams) || errors.Is(err, errCallerStreams)
}

// invalid returns the error of an invalid field.
func invalid(field, description string) error {
	return &clerkapi.ParamError{Field: field, Description: description}
}

// userError is the failure of one id.
type userError struct {
	id  string
	err error
}

func (e *userError) Error() string { return "user " + strconv.Quote(e.id) + ": " + e.err.Error() }
func (e *userError) Unwrap() error { return e.err }

// failure is an error in the form that callers see.
type failure struct {
	code        codes.Code
	reason      clerkgatev1.ErrorReason
	message     string
	retry       time.Duration // when to try again; 0: unknown
	field       string        // the invalid field; may be empty
	description string        // what is wrong with the field
	userID      string        // the missing user; may be empty
	traceID     string        // Clerk's trace id; may be empty
}

// kinds maps each kind of error to its status and reason. The first match is used: the
// gate's refusals come before the errors of Clerk that caused them, and Clerk's errors
// before those of the network, which may look like the caller's.
var kinds = []struct {
	is      error
	code    codes.Code
	reason  clerkgatev1.ErrorReason
	message string
}{
	{errNotAllowed, codes.PermissionDenied, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED,
		"this caller may not have USER_VIEW_FULL; ask for USER_VIEW_BASIC"},
	{errMethodDenied, codes.PermissionDenied, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED,
		"this caller may not call this method; CallerService.WhoAmI lists what it may call"},
	{errWebPage, codes.PermissionDenied, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED,
		"calls from web pages, which have an Origin header, are refused; call from a server"},
	{errNoMethod, codes.Unimplemented, clerkgatev1.ErrorReason_ERROR_REASON_UNIMPLEMENTED,
		"this server does not have the method"},
	{errOverLimit, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"this caller has reached a limit of its own; come back later"},
	{errOwnStreams, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"this caller has as many streams open as it may; end one, or come back later"},
	{caller.ErrUnknown, codes.Unauthenticated, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_UNKNOWN,
		"the server does not know this caller; send a token, a JSON Web Token or a certificate of a caller in its callers file"},
	{errAnswerTooLarge, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE,
		"the user did not fit into this answer; ask for it in another call"},
	{errUserTooLarge, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE,
		"the user alone is larger than an answer may be (3.5 MiB); ask for USER_VIEW_BASIC, or remove metadata from the user at Clerk"},
	{errListRejected, codes.InvalidArgument, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_REJECTED_ARGUMENT,
		"Clerk refused the arguments; check filter and order_by"},
	{errTokenOutdated, codes.Aborted, clerkgatev1.ErrorReason_ERROR_REASON_TOKEN_OUTDATED,
		"the token is of another version of clerkgate or of another Clerk instance; start again without it"},
	{errPanic, codes.Internal, clerkgatev1.ErrorReason_ERROR_REASON_INTERNAL,
		"a fault in clerkgate; its log has the details"},

	{errNotRead, codes.Aborted, clerkgatev1.ErrorReason_ERROR_REASON_STREAM_NOT_READ,
		"the stream was not read for too long; resume it"},
	{errCallerStreams, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"this caller has too many streams open; end some, or come back later"},
	{errTooManyStreams, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL,
		"too many streams are open; come back later"},
	{errCallerOutboxFull, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"too many bytes of answers wait to be read by this caller; read them first"},
	{errOutboxFull, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL,
		"too many bytes of answers wait to be read by callers; come back later"},
	{errCallerIntake, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"this caller has too many calls open on the HTTP listener; come back later"},
	{errIntakeFull, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL,
		"too many calls are open on the HTTP listener; come back later"},

	{errCallerChanged, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_CHANGED,
		"the credentials or permissions of this caller have changed since the stream began; open it again"},
	{gate.ErrShuttingDown, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_SHUTTING_DOWN,
		"this server is stopping; try another one"},
	{gate.ErrQueueFull, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_QUEUE_FULL,
		"too many requests wait for Clerk's quota; come back later"},
	{gate.ErrCallerQueueFull, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CALLER_OVER_QUOTA,
		"this caller has too many requests waiting; come back later or ask for less at once"},
	{gate.ErrDeadlineTooShort, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT,
		"the wait for Clerk's quota would outlast the deadline; come back later or allow more time"},
	{gate.ErrRateLimited, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_RATE_LIMITED,
		"Clerk's rate limit pauses the key; come back later"},
	{gate.ErrBreakerOpen, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_BREAKER_OPEN,
		"Clerk has been failing, so nothing is sent to it at the moment; come back later"},

	{usercache.ErrRedisAway, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_REDIS_UNAVAILABLE,
		"the other replicas can't be reached through Redis; call again, so that they drop their copies, too"},
	{usercache.ErrTooOld, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_COPY_TOO_OLD,
		"Clerk's own answer is still older than min_updated_at; come back later"},
	{gate.ErrNoLease, codes.NotFound, clerkgatev1.ErrorReason_ERROR_REASON_LEASE_NOT_FOUND,
		"there is no such lease, or it has ended"},
	{gate.ErrLeaseUnreachable, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_LEASE_UNREACHABLE,
		"the replica that lent the permits can't be reached; the lease ends at its expire_time"},

	{clerkapi.ErrNotFound, codes.NotFound, clerkgatev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND,
		"Clerk has no user of this id"},
	{clerkapi.ErrRejected, codes.InvalidArgument, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_REJECTED_ARGUMENT,
		"Clerk refused the arguments"},
	{clerkapi.ErrRefused, codes.FailedPrecondition, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_REFUSED,
		"Clerk, or a proxy in front of it, refuses this request; others may go through"},
	{clerkapi.ErrTooLarge, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE,
		"Clerk's answer is larger than this server reads; ask for fewer users at once"},
	{clerkapi.ErrUnreadable, codes.Internal, clerkgatev1.ErrorReason_ERROR_REASON_USER_UNREADABLE,
		"Clerk's copy of the user can't be read; the server's log names the field"},
	{clerkapi.ErrRateLimited, codes.ResourceExhausted, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_RATE_LIMITED,
		"Clerk's rate limit pauses the key; come back later"},
	{clerkapi.ErrKeyRejected, codes.FailedPrecondition, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_KEY_REJECTED,
		"Clerk refuses the server's secret key; its operator must give it a valid one"},
	{clerkapi.ErrPlanLimit, codes.FailedPrecondition, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_PLAN_LIMIT,
		"a limit of the Clerk plan is reached; its owner must raise it"},
	{clerkapi.ErrUnavailable, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_UNAVAILABLE,
		"Clerk is failing or can't be reached; come back later"},
	{clerkapi.ErrBadAnswer, codes.Unavailable, clerkgatev1.ErrorReason_ERROR_REASON_CLERK_BAD_ANSWER,
		"Clerk's answer can't be used; come back later"},

	{context.Canceled, codes.Canceled, clerkgatev1.ErrorReason_ERROR_REASON_CANCELLED,
		"the caller cancelled the call"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, clerkgatev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED,
		"the deadline passed before there was an answer"},
}

// unknownCallers has the messages of calls without a caller whose reason helps the caller,
// and nobody else.
var unknownCallers = map[caller.Reason]string{
	caller.ExpiredToken:  "the token has expired; send a new one",
	caller.TwoIdentities: "the call has credentials of two callers; send those of one",
	caller.NoCertificate: "the server serves only callers with a certificate; connect by TLS with one",
	caller.IssuerAway:    "the server can't ask the issuer of the JSON Web Token for its keys; come back later",
}

// classify returns the failure for a non-nil err. It contains no message of Clerk, and
// text of the caller only after cleaning.
func classify(err error) failure {
	var param *clerkapi.ParamError
	if errors.As(err, &param) {
		return failure{
			code:        codes.InvalidArgument,
			reason:      clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT,
			message:     clean(param.Field) + ": " + clean(param.Description),
			field:       clean(param.Field),
			description: clean(param.Description),
		}
	}
	f := failure{
		code:    codes.Internal,
		reason:  clerkgatev1.ErrorReason_ERROR_REASON_INTERNAL,
		message: "a fault in clerkgate; its log has the details",
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			f = failure{code: k.code, reason: k.reason, message: k.message}
			break
		}
	}

	var denied *methodDenied
	if errors.As(err, &denied) {
		name := denied.method[strings.LastIndexByte(denied.method, '/')+1:]
		f.message = "this caller may not call " + clean(name) + "; CallerService.WhoAmI lists what it may call"
	}
	var unknown *caller.Error
	if errors.As(err, &unknown) && unknownCallers[unknown.Reason] != "" {
		f.message = unknownCallers[unknown.Reason]
	}
	var refused *gate.Error
	var answered *clerkapi.Error
	if errors.As(err, &answered) {
		f.retry = answered.RetryAfter
		f.traceID = clean(answered.Meta.TraceID)
	}
	var over *overLimit
	if errors.As(err, &over) {
		f.retry = over.retryAfter
		f.message = "this caller has reached its " + over.limit + "; come back later"
	}
	if errors.As(err, &refused) && refused.RetryAfter > 0 {
		f.retry = refused.RetryAfter
	}
	switch {
	case f.code == codes.DeadlineExceeded:
		f.retry = defaultRetry // only the wait was too short
	case !f.retryable():
		f.retry = 0
	case f.retry <= 0 && f.reason != clerkgatev1.ErrorReason_ERROR_REASON_SHUTTING_DOWN:
		f.retry = defaultRetry
	}
	if f.code == codes.Unavailable && f.traceID != "" {
		f.message += " (Clerk's trace id: " + f.traceID + ")"
	}
	var user *userError
	if f.code == codes.NotFound && errors.As(err, &user) {
		f.userID = user.id
	}
	return f
}

// retryable reports whether the same call may succeed later.
func (f failure) retryable() bool {
	return f.code == codes.Unavailable ||
		f.code == codes.ResourceExhausted && f.reason != clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE
}

// ofOneID reports whether the failure concerns only this id, so that another id may have
// an answer.
func (f failure) ofOneID() bool {
	switch f.reason {
	case clerkgatev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND,
		clerkgatev1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT,
		clerkgatev1.ErrorReason_ERROR_REASON_CLERK_REJECTED_ARGUMENT,
		clerkgatev1.ErrorReason_ERROR_REASON_CLERK_REFUSED,
		clerkgatev1.ErrorReason_ERROR_REASON_ANSWER_TOO_LARGE,
		clerkgatev1.ErrorReason_ERROR_REASON_USER_UNREADABLE,
		clerkgatev1.ErrorReason_ERROR_REASON_COPY_TOO_OLD:
		return true
	}
	return false
}

// reasonName returns the reason in the form of ErrorInfo and the trailer.
func (f failure) reasonName() string {
	return strings.TrimPrefix(f.reason.String(), "ERROR_REASON_")
}

// status returns the gRPC status with its details.
func (f failure) status() *status.Status {
	info := &errdetails.ErrorInfo{Reason: f.reasonName(), Domain: errorDomain}
	if f.traceID != "" {
		info.Metadata = map[string]string{"clerk_trace_id": f.traceID}
	}
	details := []protoadapt.MessageV1{info}
	if f.field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: f.field, Description: f.description},
		}})
	}
	if f.userID != "" {
		details = append(details, &errdetails.ResourceInfo{
			ResourceType: "clerkgate.v1.User", ResourceName: f.userID, Description: f.message,
		})
	}
	if f.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.retry)})
	}
	st := status.New(f.code, f.message)
	detailed, err := st.WithDetails(details...)
	if err != nil {
		return st
	}
	return detailed
}

// trailer returns the trailers of a call with the context ctx. They repeat the details
// for languages without rich errors, and control gRPC's own retries.
func (f failure) trailer(ctx context.Context) metadata.MD {
	md := metadata.Pairs("clerkgate-reason", f.reasonName())
	if f.retry > 0 {
		ms := strconv.FormatInt(max(f.retry.Milliseconds(), 1), 10)
		md.Set("clerkgate-retry-ms", ms)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= f.retry {
			// The client would wait until its deadline, and then lose this failure.
			ms = "-1" // no retry
		}
		md.Set("grpc-retry-pushback-ms", ms)
	}
	return md
}

// lookupError returns the failure of one id in a batch.
func (f failure) lookupError() *clerkgatev1.LookupError {
	e := &clerkgatev1.LookupError{Code: int32(f.code), Reason: f.reason, Message: f.message}
	if f.retry > 0 {
		e.RetryDelay = durationpb.New(f.retry)
	}
	return e
}

// maxText is the length of text from outside in an error, in characters.
const maxText = 200

// clean makes text from outside fit for an error.
func clean(s string) string { return clerkapi.Clean(s, maxText) }

// panicError is a recovered panic.
type panicError struct {
	text      string
	requestID string // the call's id in the log
}

func (e *panicError) Error() string { return fmt.Sprintf("%v: %s", errPanic, e.text) }
func (e *panicError) Unwrap() error { return errPanic }
