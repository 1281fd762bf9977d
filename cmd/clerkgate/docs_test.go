package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of settings into docs/configuration.md")

// modelOf returns kong's model of the command line.
func modelOf(t *testing.T) *kong.Node {
	t.Helper()
	parser, err := (&origins{}).newParser(&cli{}, kong.Name("clerkgate"))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Node
}

// TestConfigurationDocs compares the tables in docs/configuration.md with the flags.
func TestConfigurationDocs(t *testing.T) {
	const path, begin, end = "../../docs/configuration.md", "<!-- The tables are written by go test ./cmd/clerkgate -update -->\n", "<!-- end of the tables -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), begin)
	_, after, whole := strings.Cut(rest, end)
	if !found || !whole {
		t.Fatalf("%s lacks the lines that the tables stand between", path)
	}
	want := before + begin + settingsTables(serveFlags(modelOf(t))) + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s is not of today; run go test ./cmd/clerkgate -update (-want +got):\n%s", path, diff)
	}
}

// settingsTables returns a table in Markdown for each group of flags.
func settingsTables(flags []*kong.Flag) string {
	var groups []string
	rows := map[string][]string{}
	for _, f := range flags {
		group := "Others"
		if f.Group != nil {
			group = f.Group.Title
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
		rows[group] = append(rows[group], settingsRow(f))
	}
	var b strings.Builder
	for _, group := range groups {
		fmt.Fprintf(&b, "\n### %s\n\n| setting | environment | value | default | a change takes effect | meaning |\n|---|---|---|---|---|---|\n%s",
			group, strings.Join(rows[group], ""))
	}
	b.WriteString("\n")
	return b.String()
}

func settingsRow(f *kong.Flag) string {
	byDefault := "none"
	switch {
	case f.HasDefault:
		byDefault = "`" + f.Default + "`"
	case f.IsBool():
		byDefault = "`false`"
	case strings.Contains(f.Help, "Default: "):
		byDefault = "see the meaning"
	}
	change := "after a restart"
	if reload := f.Tag.Get("reload"); reload != "" {
		change = "after a restart; " + reload
	}
	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s | %s |\n", f.Name, strings.Join(f.Envs, "`, `"), valueOf(f), byDefault, change,
		strings.ReplaceAll(f.Help, "|", `\|`))
}

// valueOf describes which values a flag takes, with their unit.
func valueOf(f *kong.Flag) string {
	unit := f.Tag.Get("unit")
	switch f.Target.Interface().(type) {
	case time.Duration:
		return "duration"
	case string:
		if f.Enum != "" {
			return "`" + strings.Join(f.EnumSlice(), "`, `") + "`"
		}
		if f.PlaceHolder != "" && unit == "" {
			return strings.ToLower(f.PlaceHolder)
		}
	}
	switch kind := f.Target.Kind(); {
	case unit != "":
		return unit
	case kind == reflect.Bool:
		return "`true`, `false`"
	case kind == reflect.Int, kind == reflect.Uint64:
		return "whole number"
	case kind == reflect.Float64:
		return "number"
	}
	return "text"
}
