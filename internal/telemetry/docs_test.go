package telemetry

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/metrics.md")

// TestDocs compares the table in docs/metrics.md with the metrics that are
// registered.
func TestDocs(t *testing.T) {
	const path, begin, end = "../../docs/metrics.md", "<!-- The table is written by go test ./internal/telemetry -update -->\n", "<!-- end of the table -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), begin)
	_, after, whole := strings.Cut(rest, end)
	if !found || !whole {
		t.Fatalf("%s lacks the lines that the table stands between", path)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s is not of today; run go test ./internal/telemetry -update (-want +got):\n%s", path, diff)
	}
}

// TestDocsOfRedis compares the metrics that, according to docs/metrics.md, exist only
// with Redis with those that are.
func TestDocsOfRedis(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("(?m)^- Only with `--redis-url`: ((?:.|\n  )+)\\.$").FindStringSubmatch(string(b))
	if line == nil {
		t.Fatal("docs/metrics.md does not say what is only there with Redis")
	}
	var named []string // whole names, and beginnings of such with … at the end
	for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line[1], -1) {
		named = append(named, quoted[1])
	}
	with, without := scrapedNames(t, knownSources()), scrapedNames(t, withoutRedis())
	for _, m := range metrics {
		isNamed := slices.ContainsFunc(named, func(name string) bool {
			beginning, more := strings.CutSuffix(name, "…")
			return name == m.name || more && strings.HasPrefix(m.name, beginning)
		})
		if needsRedis := with[m.name] && !without[m.name]; isNamed != needsRedis {
			t.Errorf("%s: there only with Redis %v, said to be so %v", m.name, needsRedis, isNamed)
		}
	}
}

// table returns the metrics as a table in Markdown.
func table() string {
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range metrics {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	b.WriteString("\n")
	return b.String()
}

// scrapedNames returns the metrics that have series.
func scrapedNames(t *testing.T, s Sources) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, line := range scrape(t, s) {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
		names[name] = true
	}
	return names
}
