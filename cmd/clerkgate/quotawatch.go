package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/words"
)

// watch prints the quota whenever it changes, until ctx or the server ends. On a terminal it goes
// on once the server is back.
func (c *quotaCmd) watch(ctx context.Context, std streams) (err error) {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	show := &quotaScreen{out: std.out}
	if c.Output == "table" && isTerminal(std.out) && os.Getenv("TERM") != "dumb" {
		show.size = terminalSize(std.out)
	}
	defer func() { err = errors.Join(err, show.end()) }()
	// A server that is back is asked at once: the connection's own pauses are up to two minutes.
	return c.followAll(ctx, clerkgatev1.NewQuotaServiceClient(conn), show, conn.ResetConnectBackoff)
}

// followAll follows the server and, if show is a terminal that has shown something, its successors
// after restarts. It calls again before it asks anew.
func (c *quotaCmd) followAll(ctx context.Context, client clerkgatev1.QuotaServiceClient, show *quotaScreen, again func()) error {
	for {
		err := c.follow(ctx, client, show)
		if failed, ok := errors.AsType[*codedError](err); !ok || failed.code != exitUnavailable || show.lines == 0 {
			return err // it is no terminal, for example
		}
		if err := show.lost(time.Now()); err != nil {
			return err
		}
		select {
		case <-time.After(watchAgain):
			again()
		case <-ctx.Done():
			return nil
		}
	}
}

// watchAgain is how long watch waits before it asks a server again that can't be reached.
const watchAgain = time.Second

// follow prints the quota whenever it changes, until ctx or the server ends. Its time-out is that
// of the first message.
func (c *quotaCmd) follow(interrupted context.Context, client clerkgatev1.QuotaServiceClient, show *quotaScreen) error {
	ctx, cancel := context.WithCancelCause(interrupted)
	defer cancel(nil)
	timeout := time.AfterFunc(c.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer timeout.Stop()
	stream, err := client.WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(c.Interval)})
	for {
		var m *clerkgatev1.WatchQuotaResponse
		if err == nil {
			m, err = stream.Recv()
		}
		switch {
		case interrupted.Err() != nil:
			return nil
		case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return &codedError{fmt.Sprintf("no answer within %s", words.Setting(c.Timeout)), exitUnavailable}
		case err != nil:
			return callError(err)
		}
		timeout.Stop()
		switch {
		case c.Output == "json":
			err = printJSON(show.out, m.GetQuota(), false)
		case show.size == nil:
			_, err = fmt.Fprintln(show.out, quotaLine(m.GetQuota(), time.Now()))
		default:
			var used *clerkgatev1.GetUsageResponse
			if used, err = getUsage(ctx, client); err == nil {
				err = show.draw(m.GetQuota(), used, time.Now())
			}
		}
		if interrupted.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// terminalSize returns a function that returns the size of the terminal out, or 80 by 24 if
// that is not known.
func terminalSize(out io.Writer) func() (width, height int) {
	return func() (int, int) {
		if file, ok := out.(*os.File); ok {
			if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 && height > 0 {
				return width, height
			}
		}
		return 80, 24
	}
}

// quotaLine returns the quota as one line, for logs and pipes.
func quotaLine(q *clerkgatev1.Quota, now time.Time) string {
	line := fmt.Sprintf("%s available=%d/%d held=%d in_flight=%d/%d leased=%d interactive=%d batch=%d breaker=%s key=%s",
		now.UTC().Format(time.RFC3339), q.GetAvailable(), q.GetEffectiveLimit(), q.GetHeld(), q.GetInFlight(), q.GetInFlightLimit(), q.GetLeased(),
		q.GetQueue().GetInteractive().GetDepth(), q.GetQueue().GetBatch().GetDepth(),
		lowerName(q.GetBreaker().GetState().String(), "STATE_"), lowerName(q.GetKey().GetState().String(), "STATE_"))
	if t := q.GetPausedUntil(); t != nil {
		line += " paused=" + max(t.AsTime().Sub(now), 0).Round(time.Millisecond).String()
	}
	return line
}

// quotaScreen draws the quota in one place of a terminal.
type quotaScreen struct {
	out   io.Writer
	size  func() (width, height int) // nil: out is no terminal
	lines int                        // drawn so far, above the cursor
	drawn []byte                     // the text of the last drawing, without its first line
	away  time.Time                  // when the server was first found to be away; zero: it is not
}

// draw draws the quota over what it drew before.
func (s *quotaScreen) draw(q *clerkgatev1.Quota, u *clerkgatev1.GetUsageResponse, now time.Time) error {
	var text bytes.Buffer
	text.WriteString(bars(q))
	if err := printQuota(&text, q, u, now); err != nil {
		return err
	}
	s.drawn, s.away = text.Bytes(), time.Time{}
	return s.redraw(now.UTC().Format(time.DateTime+" UTC") + "   (ctrl-C ends it)")
}

// lost draws the last drawing with the message that the server can't be reached.
func (s *quotaScreen) lost(now time.Time) error {
	if s.away.IsZero() {
		s.away = now
	}
	return s.redraw(s.away.UTC().Format("No answer since 15:04:05 UTC: trying again   (ctrl-C ends it)"))
}

// redraw draws a first line and, below it, the drawing.
func (s *quotaScreen) redraw(first string) error {
	text := first + "\n" + string(s.drawn)
	width, height := s.size()
	var b bytes.Buffer
	if s.lines == 0 {
		b.WriteString("\x1b[?25l") // hides the cursor
	} else {
		fmt.Fprintf(&b, "\x1b[%dA\r", min(s.lines, height-1))
	}
	s.lines = 0
	for line := range strings.Lines(text) {
		if s.lines == height-1 {
			break // what does not fit would scroll
		}
		b.WriteString(cut(strings.TrimSuffix(line, "\n"), width) + "\x1b[K\n") // and clears the rest of the line
		s.lines++
	}
	b.WriteString("\x1b[J") // clears what is left of a longer drawing
	_, err := s.out.Write(b.Bytes())
	return err
}

// end shows the cursor again.
func (s *quotaScreen) end() error {
	if s.lines == 0 {
		return nil
	}
	_, err := io.WriteString(s.out, "\x1b[?25h")
	return err
}

// bars returns two bars: the permits in use and the requests in flight.
func bars(q *clerkgatev1.Quota) string {
	used := max(q.GetEffectiveLimit()-q.GetAvailable(), 0)
	return fmt.Sprintf("used       %s %d of %d permits\nin flight  %s %d of %d requests\n\n",
		bar(used, q.GetEffectiveLimit()), used, q.GetEffectiveLimit(), bar(q.GetInFlight(), q.GetInFlightLimit()), q.GetInFlight(), q.GetInFlightLimit())
}

// bar returns a bar of n out of limit.
func bar(n, limit int32) string {
	const width = 30
	filled := 0
	if limit > 0 {
		filled = int(min(int64(n)*width/int64(limit), width))
	}
	if n > 0 && filled == 0 {
		filled = 1 // show that it is not 0
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", width-filled) + "]"
}

// cut returns at most the first n characters of s.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}
