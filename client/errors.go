package client

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ErrNotFound matches, by errors.Is, the errors with the code NotFound: Clerk has no such
// user, or the server no such lease.
var ErrNotFound = errors.New("not found")

// Error is the failure of a call, or of one id of a batch. All errors of calls are of this
// type; use errors.As. errors.Is matches ErrNotFound, context.Canceled and
// context.DeadlineExceeded by the code, and status.FromError returns the status.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the name of the ErrorReason without its prefix, such as "USER_NOT_FOUND".
	// It is empty if the error does not come from the server, for example because the
	// server can't be reached. A newer server may have reasons that this package does not
	// know.
	Reason string
	// Message is a description for people. Its text may change at any time.
	Message string
	// RetryAfter is how long to wait before another try; 0 if that is unknown.
	RetryAfter time.Duration
	// RequestID names the call in the server's log. It is empty if the error does not come
	// from the server, and for one id of a batch.
	RequestID string

	status *status.Status // nil for one id of a batch
}

const reasonPrefix = "ERROR_REASON_"

// Error returns the code, the reason and the message.
func (e *Error) Error() string {
	text := e.Code.String()
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return "clerkgate: " + text + ": " + e.Message
}

// ErrorReason returns the reason as a value of the contract, and 0 if this package does not
// know it.
func (e *Error) ErrorReason() clerkgatev1.ErrorReason {
	return clerkgatev1.ErrorReason(clerkgatev1.ErrorReason_value[reasonPrefix+e.Reason])
}

// Is reports whether target is the error that stands for the code.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case codes.NotFound:
		return target == ErrNotFound
	case codes.Canceled:
		return target == context.Canceled
	case codes.DeadlineExceeded:
		return target == context.DeadlineExceeded
	}
	return false
}

// GRPCStatus returns the status, for package status.
func (e *Error) GRPCStatus() *status.Status {
	if e.status != nil {
		return e.status
	}
	return status.New(e.Code, e.Message)
}

// toError returns the error of a call as *Error. It keeps nil and io.EOF. trailer is the call's,
// nil if there is none.
func toError(err error, trailer metadata.MD) error {
	if err == nil || err == io.EOF { //nolint:errorlint // gRPC returns the very error at the end of a stream
		return err
	}
	st := status.Convert(err)
	var last interface{ GRPCStatus() *status.Status } // of the last attempt, without what gRPC wraps it in
	if errors.As(err, &last) && last.GRPCStatus() != nil {
		st = last.GRPCStatus()
	}
	e := &Error{Code: st.Code(), Message: explain(st.Message()), status: st}
	if id := trailer.Get("x-request-id"); len(id) > 0 {
		e.RequestID = id[0]
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// explain adds the likely cause to messages of gRPC that do not name it.
func explain(message string) string {
	switch {
	case strings.Contains(message, "error reading server preface"):
		return message + "; the server may want TLS: use an https:// address"
	case message == "no children to pick from":
		return "the server's name has no IP address"
	}
	return message
}

// lookupError returns the error of one id of a batch.
func lookupError(f *clerkgatev1.LookupError) *Error {
	return &Error{
		Code:       codes.Code(f.GetCode()),
		Reason:     strings.TrimPrefix(f.GetReason().String(), reasonPrefix),
		Message:    f.GetMessage(),
		RetryAfter: f.GetRetryDelay().AsDuration(),
	}
}
