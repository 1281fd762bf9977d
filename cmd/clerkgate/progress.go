package main

import (
	"context"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// progress shows the progress of an export on a terminal, and nothing elsewhere.
type progress struct {
	bar *progressbar.ProgressBar // nil: nothing is shown
}

// newProgress returns the progress of e. It counts the users first, with one request to
// Clerk, to show how many remain.
func newProgress(ctx context.Context, e *export, w io.Writer) *progress {
	if e.cmd.Quiet || !isTerminal(w) {
		return &progress{}
	}
	left := int64(-1) // unknown
	callCtx, cancel := e.cmd.context(ctx)
	defer cancel()
	if resp, err := e.client.CountUsers(callCtx, &clerkgatev1.CountUsersRequest{Filter: e.req.GetFilter()}); err == nil {
		left = max(int64(resp.GetTotalCount())-e.file.state.Walked, 1)
	}
	what := "reading users"
	if e.file.state.Walked > 0 {
		what = "reading the remaining users"
	}
	return &progress{progressbar.NewOptions64(left,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("users"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish(),
	)}
}

// add counts n more users.
func (p *progress) add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // it fails if there are more users than were counted, which may be
	}
}

// clear makes room for another line.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // only for display
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // as above
		_ = p.bar.Clear()
	}
}
