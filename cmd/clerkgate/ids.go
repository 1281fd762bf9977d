package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const (
	maxBatch  = clerkapi.MaxLookup // ids in one call
	maxIDLine = 4096               // bytes of a line of standard input
)

// idsArg are the ids of users.
type idsArg struct {
	IDs []string `arg:"" name:"id" help:"Clerk's ids of the users. A single - reads them from standard input, one a line."`
}

// fromInput reports whether the ids come from standard input.
func (a idsArg) fromInput() bool { return len(a.IDs) == 1 && a.IDs[0] == "-" }

// batches yields the ids in batches of at most maxBatch, and at the end the error
// that kept it from reading all of standard input.
func (a idsArg) batches(ctx context.Context, in stdin) iter.Seq2[[]string, error] {
	if a.fromInput() {
		return batchesOfLines(ctx, in)
	}
	return func(yield func([]string, error) bool) {
		for ids := range slices.Chunk(a.IDs, maxBatch) {
			if !yield(ids, nil) {
				return
			}
		}
	}
}

// batchesOfLines yields the lines of in that are not blank, in batches. It returns
// when ctx ends, even while in has nothing to read.
func batchesOfLines(ctx context.Context, in io.Reader) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines, ended := make(chan string), make(chan error, 1)
		go func() { // it may outlive the command in a read that nothing ends
			scanner := bufio.NewScanner(in)
			scanner.Buffer(nil, maxIDLine)
			for scanner.Scan() {
				select {
				case lines <- strings.TrimSpace(scanner.Text()):
				case <-ctx.Done():
					return
				}
			}
			ended <- scanner.Err()
		}()
		var batch []string
		for {
			select {
			case line := <-lines:
				if line == "" {
					continue
				}
				if batch = append(batch, line); len(batch) < maxBatch {
					continue
				}
				if !yield(batch, nil) {
					return
				}
				batch = nil
			case err := <-ended:
				if errors.Is(err, bufio.ErrTooLong) {
					err = usagef("standard input: a line is longer than %d bytes; want one id a line", maxIDLine)
				}
				if len(batch) > 0 && !yield(batch, nil) {
					return
				}
				if err != nil {
					yield(nil, err)
				}
				return
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// getCmd is `clerkgate get`.
type getCmd struct {
	clientFlags `embed:"" group:"Connection"`
	viewFlag    `embed:""`
	outputFlag  `embed:""`
	MaxAge      *time.Duration `placeholder:"DURATION" help:"The maximum age of a cached copy; 0s asks Clerk. Default: --cache-ttl of the server."`
	idsArg      `embed:""`
}

// Run prints the users that are found, and an error to stderr for each other id.
func (c *getCmd) Run(ctx context.Context, in stdin, std streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.MaxAge != nil && *c.MaxAge < 0 {
		return usagef("--max-age: want a duration of 0 or more")
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := clerkgatev1.NewUserServiceClient(conn)
	out, err := newUserPrinter(std.out, c.outputFlag, len(c.IDs) > 1 || c.fromInput())
	if err != nil {
		return err
	}
	failed := 0
	for ids, err := range c.batches(ctx, in) {
		if err != nil {
			return errors.Join(err, out.flush())
		}
		req := &clerkgatev1.BatchGetUsersRequest{UserIds: ids, View: c.view()}
		if c.MaxAge != nil {
			req.MaxAge = durationpb.New(*c.MaxAge)
		}
		callCtx, cancel := c.context(ctx)
		resp, err := client.BatchGetUsers(callCtx, req)
		cancel()
		if err != nil {
			_ = out.flush() // what was found; the failure of the call matters more
			return callError(err)
		}
		for _, r := range resp.GetResults() {
			if e := r.GetError(); e != nil {
				failed = max(failed, exitCode(codes.Code(e.GetCode())))
				fmt.Fprintf(std.err, "clerkgate: %s: %s\n", oneLine(r.GetUserId()), lookupErrorText(e))
				continue
			}
			if err := out.write(r.GetUser()); err != nil {
				return err
			}
		}
		if err := out.pageDone(); err != nil {
			return err
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

// invalidateCmd is `clerkgate invalidate`.
type invalidateCmd struct {
	clientFlags `embed:"" group:"Connection"`
	idsArg      `embed:""`
}

// Run drops users from every cache.
func (c *invalidateCmd) Run(ctx context.Context, in stdin) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := clerkgatev1.NewUserServiceClient(conn)
	for ids, err := range c.batches(ctx, in) {
		if err != nil {
			return err
		}
		callCtx, cancel := c.context(ctx)
		_, err := client.InvalidateUsers(callCtx, &clerkgatev1.InvalidateUsersRequest{UserIds: ids})
		cancel()
		if err != nil {
			return callError(err)
		}
	}
	return nil
}
