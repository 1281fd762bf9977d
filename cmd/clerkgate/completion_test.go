package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestCompletions asks as a shell does.
func TestCompletions(t *testing.T) {
	for line, want := range map[string][]string{
		"clerkgate ex":                     {"export"},
		"clerkgate config ":                {"check", "schema"},
		"clerkgate list --order":           {"--order-by"},
		"clerkgate list --output ":         {"json", "table", "csv"},
		"clerkgate serve --without-redis ": {"strict", "available"},
		"clerkgate completion ":            {"bash", "zsh", "fish"},
	} {
		cmd := command(t)
		cmd.Env = append(cmd.Env, completionLine+"="+line)
		out, err := cmd.Output()
		got := strings.Fields(string(out))
		for _, w := range want {
			if err != nil || !slices.Contains(got, w) {
				t.Errorf("%q: %v, %v, want %v", line, got, err, want)
			}
		}
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for shell := range completionCode {
		if code, stdout, stderr := runCommand(t, "completion", shell); code != 0 || !strings.Contains(stdout, path) {
			t.Errorf("%s: exit code %d: %s%s", shell, code, stdout, stderr)
		}
	}
	if code, _, _ := runCommand(t, "completion", "csh"); code != exitUsage {
		t.Errorf("another shell: exit code %d", code)
	}
}
