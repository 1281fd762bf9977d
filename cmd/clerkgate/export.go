package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// exportCmd is `clerkgate export`.
type exportCmd struct {
	clientFlags `embed:"" group:"Connection"`
	viewFlag    `embed:""`
	filterFlag  `embed:""`
	columnsFlag `embed:""`
	Output      string        `short:"o" enum:"json,csv" default:"json" help:"json (one user a line) or csv. docs/cli.md describes them."`
	File        string        `short:"f" placeholder:"FILE" help:"The file to write. Until it is complete, FILE.state beside it holds the progress. Default: standard output."`
	Resume      bool          `help:"Resume an interrupted export to the same --file, with the same arguments; start it if there is none."`
	Overwrite   bool          `help:"Replace --file if it exists."`
	Since       string        `placeholder:"TIME" help:"Only users whose updated_at is this time or later, such as 2026-01-31 or 2026-01-31T00:00:00Z. Clerk has no such filter, so all users are read in any case."`
	RetryFor    time.Duration `default:"1m" help:"How long to retry while the server is unavailable or refuses and no users come. 0s: never."`
	Quiet       bool          `short:"q" help:"Show neither progress nor a summary."`
}

// Run writes all users, in the order in which they were created.
func (c *exportCmd) Run(ctx context.Context, std streams) error {
	since, err := c.check()
	if err != nil {
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
	file, err := openExport(c, c.arguments(), std.out)
	if err != nil {
		return err
	}
	if file.file != nil {
		defer file.file.Close() // a second time if all went well
	}
	e := &export{
		cmd: c, client: clerkgatev1.NewUserServiceClient(conn), file: file, errs: std.err,
		req: &clerkgatev1.StreamUsersRequest{Filter: filter, View: c.view()},
		wanted: func(u *clerkgatev1.User) bool {
			return u.GetUpdatedAt() == nil || !u.GetUpdatedAt().AsTime().Before(since)
		},
	}
	start, before := time.Now(), file.state.Walked
	e.progress = newProgress(ctx, e, std.err)
	err = e.run(ctx)
	e.progress.end()
	if err == nil {
		err = file.finish()
	}
	if err != nil {
		return e.interrupted(ctx, err)
	}
	if !c.Quiet {
		s := file.state
		took := time.Since(start)
		fmt.Fprintf(std.err, "clerkgate: exported %d of %d users, read %.0f users/s in %s; started at %s\n",
			s.Written, s.Walked, float64(s.Walked-before)/max(took.Seconds(), 1e-3), words.Rounded(took), s.Started)
	}
	if n := file.state.Unreadable; n > 0 {
		return &codedError{words.Count(n, "user can't be read and is left out", "users can't be read and are left out"), exitFailed}
	}
	return nil
}

// check checks the flags, and returns the time of --since.
func (c *exportCmd) check() (since time.Time, err error) {
	switch {
	case c.File == "" && (c.Resume || c.Overwrite):
		return since, usagef("--resume and --overwrite: need --file")
	case c.Resume && c.Overwrite:
		return since, usagef("--resume: not together with --overwrite")
	case len(c.Columns) > 0 && c.Output != "csv":
		return since, usagef("--columns: only for --output csv; json has all fields")
	case c.RetryFor < 0:
		return since, usagef("--retry-for: want a duration of 0 or more, such as 1m")
	}
	if _, err := parseColumns(c.Columns); err != nil || c.Since == "" {
		return since, err
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if since, err = time.Parse(form, c.Since); err == nil {
			return since, nil
		}
	}
	return since, usagef("--since: want a time such as 2026-01-31 or 2026-01-31T00:00:00Z, not %q", c.Since)
}

// arguments returns the arguments that determine the content of the file.
func (c *exportCmd) arguments() string {
	text := "--output " + c.Output + " --view " + c.View
	if len(c.Columns) > 0 {
		text += " --columns " + strings.Join(c.Columns, ",")
	}
	if c.Since != "" {
		text += " --since " + c.Since
	}
	for condition := range strings.Lines(strings.Join(c.Filter, "\n")) {
		if condition = strings.TrimRight(condition, "\r\n"); condition != "" {
			quoted, _ := json.Marshal(condition) // a string has JSON
			text += " --filter " + string(quoted)
		}
	}
	return text
}

// export is a running export.
type export struct {
	cmd      *exportCmd
	client   clerkgatev1.UserServiceClient
	req      *clerkgatev1.StreamUsersRequest
	wanted   func(*clerkgatev1.User) bool
	file     *exportFile
	errs     io.Writer
	progress *progress
}

// run reads streams until one has come to its end. A stream that breaks is resumed
// after the last message, as long as --retry-for allows.
func (e *export) run(ctx context.Context) error {
	var failing time.Time // when the stream first failed after the last users; zero: it works
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		walked := e.file.state.Walked
		last, err := e.stream(ctx)
		if last || err != nil && !mayRetry(err) || ctx.Err() != nil {
			return err
		}
		if e.file.state.Walked > walked || failing.IsZero() {
			failing, pause = time.Now(), time.Second
		}
		wait := max(pause, failureOf(err).GetRetryDelay().AsDuration())
		if time.Since(failing)+wait > e.cmd.RetryFor {
			return err
		}
		if err := e.file.save(); err != nil {
			return err
		}
		e.progress.clear()
		fmt.Fprintf(e.errs, "%s; trying again in %s\n", oneLine("clerkgate: "+callError(err).Error()), words.Rounded(wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stream reads one stream, from after the last message on. It reports whether it has
// read the last user.
func (e *export) stream(ctx context.Context) (last bool, err error) {
	if e.file.state.Walked > 0 && e.file.state.ResumeToken == "" {
		return true, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(e.cmd.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer silence.Stop()
	e.req.ResumeToken = e.file.state.ResumeToken
	stream, err := e.client.StreamUsers(ctx, e.req)
	for {
		var m *clerkgatev1.StreamUsersResponse
		if err == nil {
			silence.Reset(e.cmd.Timeout)
			m, err = stream.Recv()
			silence.Stop()
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return false, status.Errorf(codes.DeadlineExceeded, "no users within %s", e.cmd.Timeout)
		case err != nil:
			return false, err
		}
		reportUnreadable(e.errs, m.GetUnreadable())
		if err := e.file.add(m, e.wanted); err != nil {
			return false, err
		}
		e.progress.add(len(m.GetUsers()) + len(m.GetUnreadable()))
		if m.GetResumeToken() == "" { // the last message, however the stream ends
			return true, nil
		}
	}
}

// mayRetry reports whether a stream that ended with err may be resumed.
func mayRetry(err error) bool {
	switch e := failureOf(err); codes.Code(e.GetCode()) {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	case codes.Aborted:
		return e.GetReason() == clerkgatev1.ErrorReason_ERROR_REASON_STREAM_NOT_READ
	}
	return false
}

// interrupted saves the progress of the export, and returns its error and what to do next.
func (e *export) interrupted(ctx context.Context, err error) error {
	code, text := exitFailed, err.Error()
	switch _, isStatus := status.FromError(err); {
	case ctx.Err() != nil:
		code, text = exitInterrupted, "interrupted"
	case isStatus:
		code, text = exitCode(status.Code(err)), callError(err).Error()
	}
	saveErr := e.file.save()
	switch {
	case e.file.file == nil:
	case status.Code(err) == codes.InvalidArgument:
		text += "; the same arguments will be refused again: start again with --overwrite"
	case saveErr != nil: // what was saved before remains
		text += "; use --resume to continue"
	default:
		text += fmt.Sprintf("; %s in %s: use --resume to continue", words.Count(e.file.state.Written, "user is", "users are"), e.file.path)
	}
	return &codedError{text, code}
}
