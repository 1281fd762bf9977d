package main

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// context returns the context of a call.
func (f clientFlags) context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, f.Timeout)
}

// once connects to the server for one call.
func (f clientFlags) once(ctx context.Context, call func(ctx context.Context, conn *grpc.ClientConn) error) error {
	conn, err := f.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := f.context(ctx)
	defer cancel()
	return call(ctx, conn)
}

// viewFlag selects the fields of users.
type viewFlag struct {
	View string `enum:"basic,full" default:"basic" help:"Which fields to read: basic, or full (with private metadata)."`
}

func (f viewFlag) view() clerkgatev1.UserView {
	if f.View == "full" {
		return clerkgatev1.UserView_USER_VIEW_FULL
	}
	return clerkgatev1.UserView_USER_VIEW_BASIC
}

// filterFlag selects users.
type filterFlag struct {
	Filter []string `sep:"none" placeholder:"FIELD=VALUE" help:"A condition that users must meet; may be repeated. For example email_addresses=ann@example.com, banned=true or created_at_after=2026-01-31T00:00:00Z. The fields are ${filter_fields}. A field with a plural name may be given several times and matches any of its values; other fields may be given once. In the environment, one condition per line."`
}

// countCmd is `clerkgate count`.
type countCmd struct {
	clientFlags `embed:"" group:"Connection"`
	filterFlag  `embed:""`
	Output      string `short:"o" enum:"json,table" default:"table" help:"json, or table (the number alone)."`
}

// Run prints how many users there are.
func (c *countCmd) Run(ctx context.Context, std streams) error {
	filter, err := parseFilter(c.Filter)
	if err != nil {
		return err
	}
	return c.once(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := clerkgatev1.NewUserServiceClient(conn).CountUsers(ctx, &clerkgatev1.CountUsersRequest{Filter: filter})
		if err != nil {
			return callError(err)
		}
		if c.Output == "json" {
			return printJSON(std.out, resp, true)
		}
		_, err = fmt.Fprintln(std.out, resp.GetTotalCount())
		return err
	})
}

// failureOf returns the failure of a call in the form of that of one id.
func failureOf(err error) *clerkgatev1.LookupError {
	st := status.Convert(err)
	e := &clerkgatev1.LookupError{Code: int32(st.Code()), Message: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = clerkgatev1.ErrorReason(clerkgatev1.ErrorReason_value["ERROR_REASON_"+d.GetReason()])
		case *errdetails.RetryInfo:
			e.RetryDelay = d.GetRetryDelay()
		}
	}
	return e
}

// callError returns the failure of a call with its exit code and a message: the gRPC
// code, the reason, the server's message, and when to retry.
func callError(err error) error {
	return &codedError{lookupErrorText(failureOf(err)), exitCode(status.Code(err))}
}

// lookupErrorText returns an error as one line.
func lookupErrorText(e *clerkgatev1.LookupError) string {
	text := code.Code(e.GetCode()).String()
	if e.GetReason() != clerkgatev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		text += " (" + strings.TrimPrefix(e.GetReason().String(), "ERROR_REASON_") + ")"
	}
	text += ": " + oneLine(e.GetMessage())
	if d := e.GetRetryDelay(); d != nil {
		text += fmt.Sprintf("; retry in %s", words.Rounded(d.AsDuration()))
	}
	return text
}
