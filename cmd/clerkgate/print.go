package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// userPrinter prints users one by one. It is made by newUserPrinter, and
// flushed at the end.
type userPrinter struct {
	out   io.Writer
	table *tabwriter.Writer // nil: JSON
	lines bool              // one line of JSON per user
}

func newUserPrinter(out io.Writer, format string, several bool) *userPrinter {
	p := &userPrinter{out: out, lines: several}
	if format == "table" {
		p.table = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(p.table, "ID\tNAME\tEMAIL\tCREATED\tLAST SIGN-IN")
	}
	return p
}

func (p *userPrinter) print(u *clerkgatev1.User) error {
	if p.table == nil {
		return printJSON(p.out, u, !p.lines)
	}
	name := strings.TrimSpace(u.GetFirstName() + " " + u.GetLastName())
	row := []string{u.GetId(), name, primaryEmail(u), "", ""}
	if t := u.GetCreatedAt(); t != nil {
		row[3] = t.AsTime().Format(time.DateTime)
	}
	if t := u.GetLastSignInAt(); t != nil {
		row[4] = t.AsTime().Format(time.DateTime)
	}
	for i := range row {
		if row[i] = oneLine(row[i]); row[i] == "" {
			row[i] = "-"
		}
	}
	_, err := fmt.Fprintln(p.table, strings.Join(row, "\t"))
	return err
}

func (p *userPrinter) flush() error {
	if p.table == nil {
		return nil
	}
	return p.table.Flush()
}

// primaryEmail gives the user's primary email address, else the first.
func primaryEmail(u *clerkgatev1.User) string {
	emails := u.GetEmailAddresses()
	for _, e := range emails {
		if e.GetId() == u.GetPrimaryEmailAddressId() {
			return e.GetEmailAddress()
		}
	}
	if len(emails) > 0 {
		return emails[0].GetEmailAddress()
	}
	return ""
}

// printJSON prints m with the contract's field names. Fields that hold JSON
// text are shown as that JSON, without the "_json" of their names.
func printJSON(out io.Writer, m proto.Message, indent bool) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if indent {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(unquoteJSON(value))
}

// unquoteJSON puts the JSON that strings hold in the place of those strings.
func unquoteJSON(value any) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = unquoteJSON(value[i])
		}
	case map[string]any:
		for key, v := range value {
			text, isText := v.(string)
			name, holdsJSON := strings.CutSuffix(key, "_json")
			if isText && holdsJSON && json.Valid([]byte(text)) {
				delete(value, key)
				value[name] = json.RawMessage(text)
				continue
			}
			value[key] = unquoteJSON(v)
		}
	}
	return value
}

// printQuotaAgain prints how the quota stands for those who watch: on a terminal in
// the place of what was printed before, and else below it.
func printQuotaAgain(out io.Writer, q *clerkgatev1.Quota, u *clerkgatev1.GetUsageResponse, now time.Time, first bool) error {
	var b bytes.Buffer
	switch {
	case isTerminal(out):
		b.WriteString("\x1b[H\x1b[2J") // to the upper left corner, and all else away
	case !first:
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, now.Format(time.DateTime))
	if err := printQuota(&b, q, u, now); err != nil {
		return err
	}
	_, err := out.Write(b.Bytes())
	return err
}

// isTerminal says whether somebody may be looking at out.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printQuota prints for people the state of the quota at the time now, and what it
// was spent on unless u is nil.
func printQuota(out io.Writer, q *clerkgatev1.Quota, u *clerkgatev1.GetUsageResponse, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("quota", "%d requests per %s", q.GetLimit(), q.GetWindow().AsDuration())
	if q.GetBurst() > 0 {
		row("burst", "%d requests", q.GetBurst())
	}
	row("available", "%d of %d now", q.GetAvailable(), q.GetEffectiveLimit())
	row("held", "%d, %d of them in flight", q.GetHeld(), q.GetInFlight())
	if sh := q.GetShared(); sh != nil {
		if decider := sh.GetDecider(); decider == clerkgatev1.SharedQuota_DECIDER_REDIS {
			row("shared", "through Redis, by %d replicas", sh.GetReplicas())
		} else {
			row("shared", "not now (%s): this one of %d replicas may hold %d",
				strings.ToLower(strings.TrimPrefix(decider.String(), "DECIDER_")), sh.GetReplicas(), sh.GetAllowance())
		}
	}
	if t := q.GetPausedUntil(); t != nil {
		row("paused", "for %s more, after a 429", t.AsTime().Sub(now).Round(time.Millisecond))
	}
	if u := q.GetUpstream(); u != nil {
		row("Clerk says", "%d of %d left, %s ago", u.GetRemaining(), u.GetLimit(), now.Sub(u.GetObserveTime().AsTime()).Round(time.Millisecond))
	}
	level := func(name string, l *clerkgatev1.QueueLevel) {
		if l.GetOldestWait() == nil {
			row(name, "nothing waits")
			return
		}
		row(name, "%d wait, the oldest for %s", l.GetDepth(), l.GetOldestWait().AsDuration().Round(time.Millisecond))
	}
	level("interactive", q.GetQueue().GetInteractive())
	level("batch", q.GetQueue().GetBatch())
	row("estimated wait", "%s", q.GetQueue().GetEstimatedWait().AsDuration().Round(time.Millisecond))
	breaker := strings.ToLower(strings.TrimPrefix(q.GetBreaker().GetState().String(), "STATE_"))
	row("breaker", "%s, opened %d times", breaker, q.GetBreaker().GetTimesOpened())
	row("key", "%s", strings.ToLower(strings.TrimPrefix(q.GetKey().GetState().String(), "STATE_")))
	printUsage(w, u)
	return w.Flush()
}

// printUsage prints what the quota was spent on, nothing if u is nil.
func printUsage(w io.Writer, u *clerkgatev1.GetUsageResponse) {
	if u == nil {
		return
	}
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	t := u.GetTotals()
	row("requests", "%d sent, %d retries, %d answered 429, %.1f users each",
		t.GetUpstreamRequests(), t.GetRetries(), t.GetUpstreamRateLimited(), t.GetUsersPerRequest())
	for _, s := range t.GetLookups() {
		row("lookups", "%d from %s", s.GetCount(), strings.ToLower(strings.TrimPrefix(s.GetServedFrom().String(), "SERVED_FROM_")))
	}
	if len(u.GetCallers()) > 0 {
		fmt.Fprintln(w, "\nCALLER\tLOOKUPS\tREQUESTS\tQUEUED\tREFUSED")
	}
	caller := func(name string, c *clerkgatev1.Caller) {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%d\n", name, c.GetLookups(), c.GetUpstreamShare(), c.GetQueued(), c.GetRefused())
	}
	for _, c := range u.GetCallers() {
		caller(cmp.Or(oneLine(c.GetName()), "-"), c)
	}
	if others := u.GetOtherCallers(); others != nil {
		caller("(others)", others)
	}
}
