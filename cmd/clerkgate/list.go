package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// listCmd is `clerkgate list`.
type listCmd struct {
	clientFlags `embed:"" group:"Connection"`
	viewFlag    `embed:""`
	filterFlag  `embed:""`
	outputFlag  `embed:""`
	OrderBy     string `default:"-created_at" help:"The order: created_at, updated_at, email_address, web3wallet, first_name, last_name, phone_number, username, last_active_at or last_sign_in_at, with - before it for descending order (the newest first)."`
	Limit       int    `default:"50" help:"The maximum number of users to print. 0: all."`
}

// Run prints users page by page.
func (c *listCmd) Run(ctx context.Context, std streams, o *origins) error {
	if c.Limit < 0 {
		return usagef("--limit: want 0 or more users")
	}
	if err := c.check(); err != nil {
		return err
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
	out, err := newUserPrinter(std.out, c.outputFlag, true)
	if err != nil {
		return err
	}
	req := &clerkgatev1.ListUsersRequest{Filter: filter, OrderBy: c.OrderBy, View: c.view(), PageSize: clerkapi.MaxPage}
	unreadable := 0
	for left := c.Limit; ; {
		if c.Limit > 0 {
			req.PageSize = int32(min(left, clerkapi.MaxPage))
		}
		callCtx, cancel := c.context(ctx)
		resp, err := client.ListUsers(callCtx, req)
		cancel()
		if err != nil {
			_ = out.flush() // what was found; the failure of the call matters more
			return callError(err)
		}
		for _, u := range resp.GetUsers() {
			if err := out.write(u); err != nil {
				return err
			}
		}
		reportUnreadable(std.err, resp.GetUnreadable())
		unreadable += len(resp.GetUnreadable())
		left -= len(resp.GetUsers()) + len(resp.GetUnreadable())
		req.PageToken = resp.GetNextPageToken()
		if req.PageToken == "" || c.Limit > 0 && left <= 0 {
			break
		}
		if err := out.pageDone(); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if req.PageToken != "" && (o.of("limit").place == fromDefault || isTerminal(std.err)) {
		c.hint(ctx, std.err, client, filter)
	}
	if unreadable > 0 {
		return &codedError{words.Count(unreadable, "user can't be read and is left out", "users can't be read and are left out"), exitFailed}
	}
	return nil
}

// hint writes the number of all users, if those printed could be mistaken for all.
// The count costs a request to Clerk.
func (c *listCmd) hint(ctx context.Context, w io.Writer, client clerkgatev1.UserServiceClient, filter *clerkgatev1.UserFilter) {
	of := "there are more"
	callCtx, cancel := c.context(ctx)
	defer cancel()
	if resp, err := client.CountUsers(callCtx, &clerkgatev1.CountUsersRequest{Filter: filter}); err == nil {
		of = fmt.Sprintf("there are %d", resp.GetTotalCount())
	}
	fmt.Fprintf(w, "clerkgate: printed %s; %s. Use --limit to print more; --limit 0 prints all.\n", words.Count(c.Limit, "user", "users"), of)
}

// reportUnreadable writes which users an answer does not have, and why.
func reportUnreadable(w io.Writer, users []*clerkgatev1.UnreadableUser) {
	for _, u := range users {
		id := "a user without an id"
		if u.GetUserId() != "" {
			id = oneLine(u.GetUserId())
		}
		fmt.Fprintf(w, "clerkgate: %s: %s: %s\n", id, strings.TrimPrefix(u.GetReason().String(), "ERROR_REASON_"), oneLine(u.GetMessage()))
	}
}

// Help returns an example for the help.
func (*listCmd) Help() string {
	return `Example, the ten banned users who signed in last, as CSV:

  clerkgate list --filter banned=true --order-by=-last_sign_in_at --limit 10 --output csv >banned.csv`
}
