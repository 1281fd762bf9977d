package deploy_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestRules has promtool check the rules and run their tests.
func TestRules(t *testing.T) {
	tests := ruleTests(t)
	for _, args := range [][]string{{"check", "rules", rulesFile}, append([]string{"test", "rules"}, tests...)} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v (Debian: apt-get install prometheus): %v\n%s", args, err, out)
		}
	}
}

// TestEachAlertFiresAndResolves checks that the tests of the rules have a group for each alert,
// in which it does not fire, then fires, and at last does not fire any more.
func TestEachAlertFiresAndResolves(t *testing.T) {
	type group struct {
		Name  string
		Tests []struct {
			Expr    string
			Samples []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
	groups := map[string]group{}
	for _, name := range ruleTests(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Tests []group }
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.Tests {
			groups[g.Name] = g
		}
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		var fires []bool // at each time that is looked at
		for _, test := range groups[r.Alert].Tests {
			if !strings.Contains(test.Expr, "ALERTS") {
				continue
			}
			now := false
			for _, s := range test.Samples {
				now = now || strings.Contains(s.Labels, `alertname="`+r.Alert+`"`)
			}
			fires = append(fires, now)
		}
		if n := len(fires); n < 3 || fires[0] || fires[n-1] || !slices.Contains(fires, true) {
			t.Errorf("%s: want a group of tests in which it fires and resolves, not %v", r.Alert, fires)
		}
		delete(groups, r.Alert)
	}
	for name := range groups {
		if strings.HasPrefix(name, "Clerkgate") {
			t.Errorf("there is no alert %s, which is tested", name)
		}
	}
}

func ruleTests(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("prometheus/*.test.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("%v: no tests of rules", err)
	}
	return names
}

// TestPrometheusRule runs the command of docs/deploy/kubernetes.md that makes a resource of the
// rules.
func TestPrometheusRule(t *testing.T) {
	text, err := os.ReadFile("../docs/deploy/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	const end = "| kubectl apply -f -"
	command := regexp.MustCompile("(?s)```sh\n(\\([^`]*?)" + regexp.QuoteMeta(end) + "\n```").FindSubmatch(text)
	if command == nil {
		t.Fatal("the page has no such command")
	}
	cmd := exec.Command("bash", "-c", string(command[1]))
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var resource struct {
		APIVersion, Kind string
		Metadata, Spec   map[string]any
	}
	var want map[string]any
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(yaml.Unmarshal(out, &resource), yaml.Unmarshal(rules, &want)); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if diff := cmp.Diff(want, resource.Spec); diff != "" || resource.Kind != "PrometheusRule" {
		t.Errorf("%s (-want +got):\n%s", resource.Kind, diff)
	}
}
