package server

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/clerkapi"
)

var update = flag.Bool("update", false, "write the table into docs/failures.md")

const failuresPage = "../docs/failures.md"

// failureRows are the possible results of a request to Clerk, each with an error that a
// Client returns for it.
var failureRows = []struct {
	what string
	err  *clerkapi.Error
}{
	{"404 with `resource_not_found`", &clerkapi.Error{Kind: clerkapi.ErrNotFound, Status: 404}},
	{"400, 422", &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 422}},
	{"413, 414, 431", &clerkapi.Error{Kind: clerkapi.ErrRejected, Status: 413}},
	{"nothing: the request is longer than the server's HTTP/2 settings allow", &clerkapi.Error{Kind: clerkapi.ErrRejected, NotSent: true}},
	{"402", &clerkapi.Error{Kind: clerkapi.ErrPlanLimit, Status: 402}},
	{"any 4xx with a code about the key, or 401 without a code", &clerkapi.Error{Kind: clerkapi.ErrKeyRejected, Status: 401}},
	{"403, 404 and every other 4xx", &clerkapi.Error{Kind: clerkapi.ErrRefused, Status: 403}},
	{"429", &clerkapi.Error{Kind: clerkapi.ErrRateLimited, Status: 429}},
	{"408, 421, 5xx", &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Status: 503}},
	{"1xx, 2xx other than 200, 3xx; a body that is cut off, no JSON, or about others", &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Status: 200}},
	{"a body that is larger than is read", &clerkapi.Error{Kind: clerkapi.ErrTooLarge, Status: 200}},
	{"a user of a usable answer that can't be read", &clerkapi.Error{Kind: clerkapi.ErrUnreadable, Status: 200}},
	{"no answer in time; the connection broke", &clerkapi.Error{Kind: clerkapi.ErrUnavailable}},
	{"a kept connection ended before any of the answer", &clerkapi.Error{Kind: clerkapi.ErrUnavailable, Stale: true}},
	{"no connection", &clerkapi.Error{Kind: clerkapi.ErrUnavailable, NotSent: true}},
}

var concernWords = map[clerkapi.Concern]string{
	clerkapi.ConcernsRequest:   "who asked",
	clerkapi.ConcernsKey:       "who asked, or the key: a probe decides",
	clerkapi.ConcernsQuota:     "who asked, or the quota: see [429](#429)",
	clerkapi.ConcernsEverybody: "who asked, or everybody: see [the breaker](#the-breaker)",
}

var breakerWords = map[clerkapi.Effect]string{
	clerkapi.Neutral: "none", clerkapi.Success: "an answer", clerkapi.Failure: "a failure, once for each query",
}

var spentWords = map[clerkapi.Spent]string{
	clerkapi.SpentAnswered: "held for a window from the answer",
	clerkapi.SpentLimited:  "held for a window; perhaps a pause",
	clerkapi.SpentLost:     "held as lost",
	clerkapi.SpentNothing:  "given back",
}

// failureTable returns the table of docs/failures.md.
func failureTable() []byte {
	var b bytes.Buffer
	b.WriteString("| what comes back | whom it concerns | code and reason | breaker | permit | tried again | a batch of ids |\n|---|---|---|---|---|---|---|\n")
	for _, row := range failureRows {
		v, f := clerkapi.Judge(row.err), classify(row.err)
		again := "no"
		switch {
		case v.Resend:
			again = "at once, on a fresh connection; then as no answer"
		case v.Concern == clerkapi.ConcernsQuota:
			again = "after the pause, or its own `Retry-After`"
		case v.Retry:
			again = "twice, within the budget"
		}
		batch := "fails as a whole"
		switch {
		case v.Retry && v.Split:
			batch = "split when it fails again"
		case v.Split && v.Shrink:
			batch = "split; batches get smaller"
		case v.Split && row.err.Kind == clerkapi.ErrUnreadable:
			batch = "that id alone fails"
		case v.Split:
			batch = "split"
		case v.Retry:
			batch = "tried again as a whole"
		}
		fmt.Fprintf(&b, "| %s | %s | %s `%s` | %s | %s | %s | %s |\n",
			row.what, concernWords[v.Concern], f.code, f.reasonName(), breakerWords[v.Breaker], spentWords[v.Spent], again, batch)
	}
	return b.Bytes()
}

// TestFailuresPage: the table in docs/failures.md matches the code.
func TestFailuresPage(t *testing.T) {
	const begin, end = "<!-- the table: go test ./server -run FailuresPage -update -->\n", "<!-- end of the table -->"
	text, err := os.ReadFile(failuresPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", failuresPage)
	}
	want := string(failureTable())
	if *update {
		if err := os.WriteFile(failuresPage, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the table is not that of the code; run this test with -update\ngot:\n%s\nwant:\n%s", table, want)
	}
}

// TestEveryStatusHasARow: the kind of each status is in the table.
func TestEveryStatusHasARow(t *testing.T) {
	kinds := map[error]bool{}
	for _, row := range failureRows {
		kinds[row.err.Kind] = true
	}
	for status := 100; status < 1000; status++ {
		if kind := clerkapi.KindOf(status, nil); status != http.StatusOK && !kinds[kind] {
			t.Errorf("%d is %v, which has no row", status, kind)
		}
	}
}
