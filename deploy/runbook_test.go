package deploy_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/clerkgate/clerkgate/internal/page"
)

var update = flag.Bool("update", false, "write docs/runbook.md, and the annotations of the alerts")

const (
	rulesFile = "prometheus/clerkgate.rules.yaml"
	runbook   = "../docs/runbook.md"
	// runbookURL is where the runbook is read, in the form that the clients' pages use.
	runbookURL = "https://github.com/clerkgate/clerkgate/blob/main/docs/runbook.md"
)

// down has the texts of the only alert that the page can't show, because no server is there.
var down = page.Condition{
	Name: "ClerkgateDown", Severity: page.Critical,
	Summary: "No replica of clerkgate answers Prometheus.",
	Look: "Check whether the process or the pods run, and look at the last lines of their log. If they run, look at the path from Prometheus to the HTTP listener: " +
		"address, TLS, and the token for /metrics where a callers file is configured.",
	Do:   "Start it, or fix that path. If callers are served, only the monitoring is blind.",
	When: "Never: there is no server that could show it. A page that is open shows that the server can't be reached.",
}

// described returns all conditions, and down.
func described() []page.Condition { return append([]page.Condition{down}, page.Conditions()...) }

// rule is an alert or a recorded series.
type rule struct {
	Alert       string
	Record      string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// rules returns the rules of Prometheus, in their order.
func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestRunbook compares the alerts and docs/runbook.md with the conditions of the page: each
// condition has an alert, and each alert a condition.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	keepEqual(t, rulesFile, string(text), annotated(string(text)))

	var names []string
	alerts := map[string]rule{}
	for _, r := range rules(t) {
		if r.Alert != "" {
			names = append(names, r.Alert)
			alerts[r.Alert] = r
		}
	}
	var want []string
	for _, c := range described() {
		want = append(want, c.Name)
		if got := alerts[c.Name].Labels["severity"]; got != string(c.Severity) {
			t.Errorf("%s: severity %q of the alert, %q of the condition", c.Name, got, c.Severity)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("the alerts are not the conditions, in their order:\n%v\n%v", names, want)
	}

	book, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- What follows is written by go test ./deploy -run Runbook -update -->\n"
	before, _, found := strings.Cut(string(book), begin)
	if !found {
		t.Fatalf("%s lacks the line that the entries stand behind", runbook)
	}
	var b strings.Builder
	for _, c := range described() {
		a := alerts[c.Name]
		fmt.Fprintf(&b, "\n## %s\n\n**%s** (%s)\n\nWhat to look at: %s\n\nWhat to do: %s\n\nOn the page: %s\n\nAlert: if this holds for %s.\n\n```promql\n%s\n```\n",
			c.Name, c.Summary, c.Severity, code(c.Look), code(c.Do), code(c.When), a.For, strings.TrimSpace(a.Expr))
	}
	keepEqual(t, runbook, string(book), before+begin+b.String())
}

// code returns a text with flags, metrics and the like as code in Markdown.
func code(text string) string {
	return regexp.MustCompile(`--[a-z-]+|clerkgate_[a-z_]+(\{.*?\})?|CLERK_[A-Z_]+|/metrics`).ReplaceAllString(text, "`$0`")
}

// annotations matches an alert with its annotations.
var annotations = regexp.MustCompile(`(?m)^      - alert: (\w+)\n((?:        .*\n)*?)        annotations:\n(?:          .*\n)*`)

// annotated returns the rules with the annotations of each alert from its condition.
func annotated(text string) string {
	return annotations.ReplaceAllStringFunc(text, func(alert string) string {
		parts := annotations.FindStringSubmatch(alert)
		i := slices.IndexFunc(described(), func(c page.Condition) bool { return c.Name == parts[1] })
		if i < 0 {
			return alert
		}
		c := described()[i]
		return fmt.Sprintf("      - alert: %s\n%s        annotations:\n          summary: %q\n          description: %q\n          runbook_url: %s#%s\n",
			c.Name, parts[2], c.Summary, c.Look+" "+c.Do, runbookURL, strings.ToLower(c.Name))
	})
}

// keepEqual compares a file with what it should be, or writes it.
func keepEqual(t *testing.T, path, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s is not of today: run go test ./deploy -run Runbook -update", path)
		return
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
