package main

import (
	"os"
	"os/exec"
	"path/filepath"
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

// TestCompletionInShells sources the code in the shells themselves, without a configuration.
func TestCompletionInShells(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ shell, options, script, want string }{
		{"bash", "--norc", "source <(\"$0\" completion bash) && complete -p clerkgate", "-C"},
		{"zsh", "-f", "source <(\"$0\" completion zsh) && print -r -- $_comps[clerkgate]", "-C"},
		{"fish", "--no-config", "$argv[1] completion fish | source; complete -C 'clerkgate list --ord'", "--order-by"},
		{"fish", "--no-config", "$argv[1] completion fish | source; complete -C 'clerkgate config '", "check"},
		{"fish", "--no-config", "$argv[1] completion fish | source; complete -C 'clerkgate export --file us'", "users.csv"},
	} {
		if _, err := exec.LookPath(c.shell); err != nil {
			t.Logf("%s is not installed", c.shell)
			continue
		}
		cmd := exec.CommandContext(t.Context(), c.shell, c.options, "-c", c.script, self)
		cmd.Dir = dir
		cmd.Env = append(command(t).Env, "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %s: %v, %s, want %s", c.shell, c.script, err, out, c.want)
		}
	}
}
