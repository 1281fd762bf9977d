// Package leaktest makes a package's tests fail if any output of their servers has a
// secret: log lines, errors, answers, trailers, metrics, pages and spans.
//
// A package runs its tests by Run, and passes the output of its servers through the other
// functions: Writer and Logger for logs, Dial for gRPC, Transport for HTTP, Spans for spans.
// Most secrets are found by their form, whichever test made them. Secret registers others,
// such as passwords.
package leaktest

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Kind is a kind of output of a server.
type Kind string

// The kinds.
const (
	Log    Kind = "log"
	Error  Kind = "error"
	Answer Kind = "answer"
	HTTP   Kind = "HTTP answer" // metrics and pages are among them
	Span   Kind = "span"
)

// forms match secrets: keys of Clerk, webhook secrets, tokens of callers, JSON Web Tokens and
// private keys. Words that only name a form, such as "sk_test_…", do not match.
var forms = regexp.MustCompile(`\bsk_(test|live)_[0-9A-Za-z]{4,}|\bwhsec_[0-9A-Za-z+/=]{6,}|\bcgt_[0-9A-Za-z_-]{20,}|` +
	`\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY-----`)

// marks are parts of each of the forms. They are looked for first, since that is faster.
var marks = []string{"sk_test_", "sk_live_", "whsec_", "cgt_", ".eyJ", "PRIVATE KEY"}

// find returns the places of secrets that have a form.
func find(text string) [][]int {
	if !slices.ContainsFunc(marks, func(mark string) bool { return strings.Contains(text, mark) }) {
		return nil
	}
	return forms.FindAllStringIndex(text, -1)
}

// watch looks for secrets. It is safe for concurrent use.
type watch struct {
	mu      sync.Mutex
	secrets map[string]string // names of other secrets, by the secret; guarded by mu
	seen    map[Kind]int      // guarded by mu
	leaks   map[string]int    // guarded by mu
}

func newWatch() *watch {
	return &watch{secrets: map[string]string{}, seen: map[Kind]int{}, leaks: map[string]int{}}
}

// all is the watch of the process.
var all = newWatch()

// Secret registers a secret that has no form of its own, and returns it.
func Secret(name, text string) string {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.secrets[text] = name
	return text
}

// Saw looks for secrets in an output of a server.
func Saw(kind Kind, text string) { all.saw(kind, text) }

func (w *watch) saw(kind Kind, text string) {
	found := find(text) // without the lock, for which all of a server's calls would wait
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[kind]++
	for _, at := range found {
		w.leak(kind, "a secret", text, at[0], at[1])
	}
	for secret, name := range w.secrets {
		if i := strings.Index(text, secret); i >= 0 {
			w.leak(kind, name, text, i, i+len(secret))
		}
	}
}

// leak records a secret with some of the text around it. mu is held.
func (w *watch) leak(kind Kind, name, text string, begin, end int) {
	const around, most = 200, 50
	if len(w.leaks) < most {
		w.leaks[fmt.Sprintf("%s shows %s: …%s…", kind, name, text[max(0, begin-around):min(len(text), end+around)])]++
	}
}

// report writes what was found to out, and reports whether that was nothing. All kinds must have
// been seen if whole is true.
func (w *watch) report(out io.Writer, whole bool, kinds []Kind) (clean bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(w.leaks)) {
		fmt.Fprintf(out, "leaktest: %s (%d times)\n", text, w.leaks[text])
	}
	clean = len(w.leaks) == 0
	for _, kind := range kinds {
		if whole && w.seen[kind] == 0 {
			fmt.Fprintf(out, "leaktest: nothing of the kind %q was seen\n", kind)
			clean = false
		}
	}
	return clean
}

// Tests runs the tests of a package. *testing.M is one.
type Tests interface{ Run() int }

// Run returns m with a Run that also fails if a secret was seen or if, in a run of all
// tests, nothing of one of the kinds was seen.
func Run(m Tests, kinds ...Kind) Tests { return &checkedTests{m, kinds} }

type checkedTests struct {
	Tests
	kinds []Kind
}

func (c *checkedTests) Run() int {
	watchDefaults()
	code := c.Tests.Run()
	if !all.report(os.Stderr, code == 0 && wholeRun(), c.kinds) && code == 0 {
		code = 1
	}
	return code
}
