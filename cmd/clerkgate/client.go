package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// context gives the context of a call.
func (f clientFlags) context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(callerContext(ctx), f.Timeout)
}

// callerContext says who calls.
func callerContext(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "clerkgate-caller", "clerkgate-cli")
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

// viewFlag says which fields to show.
type viewFlag struct {
	View string `enum:"basic,full" default:"basic" help:"Which fields to read: basic, or full, which has private metadata, too."`
}

func (f viewFlag) view() clerkgatev1.UserView {
	if f.View == "full" {
		return clerkgatev1.UserView_USER_VIEW_FULL
	}
	return clerkgatev1.UserView_USER_VIEW_BASIC
}

// maxBatch is the most ids that one call may ask for.
const maxBatch = 100

// getCmd is `clerkgate get`.
type getCmd struct {
	clientFlags `embed:""`
	viewFlag    `embed:""`
	Output      string         `short:"o" enum:"json,table" default:"json" help:"json (one user a line where several are asked for) or table."`
	MaxAge      *time.Duration `placeholder:"DURATION" help:"The oldest copy that will do; 0s asks Clerk. Default: as the server is configured."`
	IDs         []string       `arg:"" name:"id" help:"Clerk's ids of the users."`
}

// Run prints the users that are found, and says of each other one what is wrong.
func (c *getCmd) Run(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := clerkgatev1.NewUserServiceClient(conn)
	out := newUserPrinter(std.out, c.Output, len(c.IDs) > 1)
	failed := 0
	for ids := range slices.Chunk(c.IDs, maxBatch) {
		req := &clerkgatev1.BatchGetUsersRequest{UserIds: ids, View: c.view()}
		if c.MaxAge != nil {
			req.MaxAge = durationpb.New(*c.MaxAge)
		}
		callCtx, cancel := c.context(ctx)
		resp, err := client.BatchGetUsers(callCtx, req)
		cancel()
		if err != nil {
			return callError(err)
		}
		for _, r := range resp.GetResults() {
			if e := r.GetError(); e != nil {
				failed = max(failed, exitCode(codes.Code(e.GetCode())))
				fmt.Fprintf(std.err, "clerkgate: %s: %s\n", oneLine(r.GetUserId()), lookupErrorText(e))
				continue
			}
			if err := out.print(r.GetUser()); err != nil {
				return err
			}
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if failed > 0 {
		return &codedError{code: failed}
	}
	return nil
}

// filterFlag says which users are wanted.
type filterFlag struct {
	Filter []string `sep:"none" placeholder:"FIELD=VALUE" help:"Only users that meet this; may be repeated. A field of UserFilter, such as email_addresses=ann@example.com, banned=true or created_at_after=2026-01-31T00:00:00Z. A field whose name is in the plural may have several values, and means any of them; another may be given once. In the environment, a line each."`
}

// listCmd is `clerkgate list`.
type listCmd struct {
	clientFlags `embed:""`
	viewFlag    `embed:""`
	filterFlag  `embed:""`
	Output      string `short:"o" enum:"json,table" default:"json" help:"json (one user a line) or table."`
	OrderBy     string `default:"-created_at" help:"The order: a field such as created_at or last_name, with - before it to descend."`
	Limit       int    `default:"50" help:"The most users to print. 0: all."`
}

// Run prints users page by page.
func (c *listCmd) Run(ctx context.Context, std streams) error {
	if c.Limit < 0 {
		return usagef("--limit: want 0 or more users")
	}
	filter, err := parseFilter(c.Filter)
	if err != nil {
		return err
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := clerkgatev1.NewUserServiceClient(conn)
	out := newUserPrinter(std.out, c.Output, true)
	const largest = 500
	req := &clerkgatev1.ListUsersRequest{Filter: filter, OrderBy: c.OrderBy, View: c.view(), PageSize: largest}
	for left := c.Limit; ; {
		if c.Limit > 0 {
			req.PageSize = int32(min(left, largest))
		}
		callCtx, cancel := c.context(ctx)
		resp, err := client.ListUsers(callCtx, req)
		cancel()
		if err != nil {
			return callError(err)
		}
		for _, u := range resp.GetUsers() {
			if err := out.print(u); err != nil {
				return err
			}
		}
		left -= len(resp.GetUsers())
		req.PageToken = resp.GetNextPageToken()
		if req.PageToken == "" || c.Limit > 0 && left <= 0 {
			return out.flush()
		}
	}
}

// countCmd is `clerkgate count`.
type countCmd struct {
	clientFlags `embed:""`
	filterFlag  `embed:""`
	Output      string `short:"o" enum:"json,table" default:"table" help:"json, or table, which is the bare number."`
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
		format := "%d\n"
		if c.Output == "json" {
			format = "{\"total_count\":%d}\n"
		}
		_, err = fmt.Fprintf(std.out, format, resp.GetTotalCount())
		return err
	})
}

// quotaCmd is `clerkgate quota`.
type quotaCmd struct {
	clientFlags `embed:""`
	Output      string        `short:"o" enum:"json,table" default:"table" help:"json (one line a message with --watch) or table."`
	Watch       bool          `short:"w" help:"Go on printing whenever something changes, until interrupted."`
	Interval    time.Duration `default:"1s" help:"With --watch, the least time between two messages; 100ms or more."`
}

// Run prints how the quota stands.
func (c *quotaCmd) Run(ctx context.Context, std streams) error {
	const least = 100 * time.Millisecond
	if c.Interval < least {
		return usagef("--interval: want %v or more", least)
	}
	if c.Watch {
		return c.watch(ctx, std)
	}
	return c.once(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := clerkgatev1.NewQuotaServiceClient(conn)
		resp, err := client.GetQuota(ctx, &clerkgatev1.GetQuotaRequest{})
		if err != nil {
			return callError(err)
		}
		if c.Output == "json" {
			return printJSON(std.out, resp.GetQuota(), true)
		}
		used, err := usage(ctx, client)
		if err != nil {
			return err
		}
		return printQuota(std.out, resp.GetQuota(), used, time.Now())
	})
}

// usage returns what the quota was spent on, nil for a caller that may not know.
func usage(ctx context.Context, client clerkgatev1.QuotaServiceClient) (*clerkgatev1.GetUsageResponse, error) {
	resp, err := client.GetUsage(ctx, &clerkgatev1.GetUsageRequest{})
	switch status.Code(err) {
	case codes.OK:
		return resp, nil
	case codes.PermissionDenied:
		return nil, nil
	}
	return nil, callError(err)
}

// watch prints how the quota stands until ctx or the server ends, on a terminal
// always at the same place. The time-out is that of the first message.
func (c *quotaCmd) watch(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	interrupted := ctx
	ctx, cancel := context.WithCancelCause(callerContext(ctx))
	defer cancel(nil)
	timeout := time.AfterFunc(c.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer timeout.Stop()
	req := &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(c.Interval)}
	client := clerkgatev1.NewQuotaServiceClient(conn)
	stream, err := client.WatchQuota(ctx, req)
	for first := true; ; first = false {
		var m *clerkgatev1.WatchQuotaResponse
		if err == nil {
			m, err = stream.Recv()
		}
		switch {
		case interrupted.Err() != nil:
			return nil
		case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return &codedError{fmt.Sprintf("no answer within %s", c.Timeout), exitUnavailable}
		case err != nil:
			return callError(err)
		}
		timeout.Stop()
		if c.Output == "json" {
			err = printJSON(std.out, m.GetQuota(), false)
		} else {
			var used *clerkgatev1.GetUsageResponse
			if used, err = usage(ctx, client); err == nil {
				err = printQuotaAgain(std.out, m.GetQuota(), used, time.Now(), first)
			}
		}
		if err != nil {
			return err
		}
	}
}

// callError puts the failure of a call into words: code, reason, message, and
// when to come back.
func callError(err error) error {
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
	return &codedError{lookupErrorText(e), exitCode(st.Code())}
}

// lookupErrorText gives an error as one line.
func lookupErrorText(e *clerkgatev1.LookupError) string {
	text := code.Code(e.GetCode()).String()
	if e.GetReason() != clerkgatev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		text += " (" + strings.TrimPrefix(e.GetReason().String(), "ERROR_REASON_") + ")"
	}
	text += ": " + oneLine(e.GetMessage())
	if d := e.GetRetryDelay(); d != nil {
		text += fmt.Sprintf("; retry in %s", d.AsDuration())
	}
	return text
}
