package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestConfigSchema compares the schema with what readConfig takes.
func TestConfigSchema(t *testing.T) {
	code, stdout, stderr := runCommand(t, "config", "schema")
	var schema struct {
		Schema     string `json:"$schema"`
		Type       string
		Properties map[string]struct {
			Type, Description string
			Enum              []string
		}
		AdditionalProperties *bool
	}
	if err := json.Unmarshal([]byte(stdout), &schema); code != 0 || err != nil {
		t.Fatalf("%d, %v: %s", code, err, stderr)
	}
	if schema.Type != "object" || schema.AdditionalProperties == nil || *schema.AdditionalProperties || schema.Schema == "" {
		t.Errorf("%+v", schema)
	}
	flags := serveFlags(modelOf(t))
	for _, f := range flags {
		p, ok := schema.Properties[f.Name]
		if !ok || p.Type == "" || p.Description == "" {
			t.Errorf("%s: %+v", f.Name, p)
		}
	}
	if len(schema.Properties) != len(flags) {
		t.Errorf("%d properties, want %d", len(schema.Properties), len(flags))
	}
	if p := schema.Properties["pace"]; !slices.Equal(p.Enum, []string{"auto", "always"}) {
		t.Errorf("pace: %+v", p)
	}
}

// TestWholeNumbersAreDecimal, wherever they stand, and whatever zeros they begin with.
func TestWholeNumbersAreDecimal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("burst: 010\nsim-seed: 010\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", file}, {"--burst=010", "--sim-seed=010"}} {
		code, stdout, stderr := runCommand(t, append([]string{"config", "check", "--sim"}, args...)...)
		for _, want := range []string{`(?m)^burst +10 `, `(?m)^sim-seed +10 `} {
			if code != 0 || !regexp.MustCompile(want).MatchString(stdout) {
				t.Errorf("%q: %d, want %s: %s%s", args, code, want, stdout, stderr)
			}
		}
	}
}
