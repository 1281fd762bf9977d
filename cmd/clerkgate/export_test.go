package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// exportedIDs returns the ids in an export as JSON lines. It fails if one is repeated.
func exportedIDs(t *testing.T, text string) []string {
	t.Helper()
	var ids []string
	for line := range strings.Lines(text) {
		var u struct{ ID string }
		if err := json.Unmarshal([]byte(line), &u); err != nil || u.ID == "" {
			t.Fatalf("%v in %q", err, line)
		}
		ids = append(ids, u.ID)
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(ids))); len(unique) != len(ids) {
		t.Errorf("%d of %d users are repeated", len(ids)-len(unique), len(ids))
	}
	return ids
}

func TestExport(t *testing.T) {
	address, _, _ := serveSim(t)
	file := filepath.Join(t.TempDir(), "users")
	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := runCommand(t, append(args, "--address", address)...)
		if code != want {
			t.Fatalf("%v: exit code %d, want %d: %s", args, code, want, stderr)
		}
		return stdout, stderr
	}
	listed, _ := ask(0, "list", "--limit", "0", "--order-by", "created_at")
	stdout, stderr := ask(0, "export")
	if stdout != listed || !strings.Contains(stderr, "exported 700 of 700 users") {
		t.Errorf("export and list differ, or the summary is wrong: %s", stderr)
	}
	if _, stderr = ask(0, "export", "--file", file, "--quiet"); stderr != "" {
		t.Errorf("--quiet: %s", stderr)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != listed {
		t.Errorf("the file differs: %v", err)
	}
	if _, err := os.Stat(file + ".state"); !os.IsNotExist(err) {
		t.Errorf("the state file is still there: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info, err)
	}
	for _, args := range [][]string{{"export", "--file", file}, {"export", "--file", file, "--resume"}} {
		if _, stderr = ask(exitUsage, args...); !strings.Contains(stderr, "--overwrite") {
			t.Errorf("a file that exists: %s", stderr)
		}
	}
	ask(0, "export", "--file", file, "--overwrite", "--output", "csv", "--columns", "id,updated_at")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil || len(records) != 701 || strings.Join(records[0], ",") != "id,updated_at" {
		t.Fatalf("%d records, %v", len(records), err)
	}
	times := make([]string, 0, 700)
	for _, r := range records[1:] {
		times = append(times, r[1])
	}
	slices.Sort(times)
	stdout, stderr = ask(0, "export", "--since", times[600])
	if n := len(exportedIDs(t, stdout)); n != 100 || !strings.Contains(stderr, "exported 100 of 700 users") {
		t.Errorf("--since: %d users: %s", n, stderr)
	}
	if stdout, _ = ask(0, "export", "--filter", "banned=true"); len(exportedIDs(t, stdout)) == 0 || strings.Contains(stdout, `"banned":false`) {
		t.Errorf("--filter: %s", stdout)
	}
}

// TestExportIsResumed kills an export in its course, spoils the end of its file as a
// write that was under way would, and resumes it: nobody is lost or repeated.
func TestExportIsResumed(t *testing.T) {
	address, _, _ := serveSim(t, "--sim-users", "3000", "--quota", "2/500ms")
	for _, tt := range []struct {
		name   string
		signal os.Signal
		code   int
	}{{"SIGKILL", syscall.SIGKILL, -1}, {"SIGINT", os.Interrupt, exitInterrupted}} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "users")
			args := []string{"export", "--address", address, "--file", file}
			cmd := command(t, append(args, "--resume")...) // there is nothing yet to resume
			var stderr output
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				if s, err := readExportState(file + ".state"); err == nil && s.Walked > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("nothing is exported: %s", &stderr)
				}
			}
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code is looked at
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, &stderr)
			}
			b, err := os.ReadFile(file)
			if err != nil || strings.Count(string(b), "\n") >= 3000 {
				t.Fatalf("it was not interrupted in its course: %v", err)
			}
			if err := os.WriteFile(file, append(b, `{"id":"user_half`...), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, _, stderr := runCommand(t, args...); code != exitUsage || !strings.Contains(stderr, "--resume") {
				t.Errorf("without --resume: exit code %d: %s", code, stderr)
			}
			if code, _, stderr := runCommand(t, append(args, "--resume", "--filter", "banned=true")...); code != exitUsage || !strings.Contains(stderr, "other arguments") {
				t.Errorf("with another filter: exit code %d: %s", code, stderr)
			}
			if code, _, stderr := runCommand(t, append(args, "--resume")...); code != 0 || !strings.Contains(stderr, "exported 3000 of 3000 users") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			if b, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
			if n := len(exportedIDs(t, string(b))); n != 3000 {
				t.Errorf("%d users, want 3000", n)
			}
		})
	}
}

// TestExportOfAChangedFile: a file whose end is not where the state has it is not
// resumed, nor changed.
func TestExportOfAChangedFile(t *testing.T) {
	c := &exportCmd{Output: "json", viewFlag: viewFlag{"basic"}}
	for name, text := range map[string]string{"shorter": "{}\n", "longer lines": "{ }\n{}\n"} {
		file := filepath.Join(t.TempDir(), "users")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (exportState{Version: exportStateVersion, Arguments: c.arguments(), ResumeToken: "x", Offset: 6, Walked: 1}).write(file + ".state"); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := runCommand(t, "export", "--file", file, "--resume"); code != exitUsage || !strings.Contains(stderr, "it was changed") {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != text {
			t.Errorf("%s: the file is now %q: %v", name, b, err)
		}
	}
}

// TestExportToADevice: only a regular file can be cut back, so nothing else is taken.
func TestExportToADevice(t *testing.T) {
	for _, path := range []string{os.DevNull, t.TempDir()} {
		if code, _, stderr := runCommand(t, "export", "--file", path, "--overwrite"); code != exitUsage || !strings.Contains(stderr, "not a regular file") {
			t.Errorf("%s: exit code %d: %s", path, code, stderr)
		}
		if _, err := os.Stat(path + ".state"); !os.IsNotExist(err) {
			t.Errorf("%s has a state file: %v", path, err)
		}
	}
}

// TestExportTellsWhatToDo: after a failure that another try may mend the message names
// --resume, even if the last users could not be written; else it names --overwrite.
func TestExportTellsWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	users, err := newUserPrinter(readOnly, outputFlag{Output: "json"}, true)
	if err != nil {
		t.Fatal(err)
	}
	full := &export{file: &exportFile{path: path, file: readOnly, users: users}}
	message := &clerkgatev1.StreamUsersResponse{Users: []*clerkgatev1.User{{Id: "user_1"}}, ResumeToken: "x"}
	err = full.file.add(message, func(*clerkgatev1.User) bool { return true })
	if err == nil {
		t.Fatal("a user is written to a file that can't be written")
	}
	if text := full.interrupted(t.Context(), err).Error(); !strings.HasSuffix(text, "; use --resume to continue") {
		t.Error(text)
	}

	address, _, _ := serveSim(t)
	code, _, stderr := runCommand(t, "export", "--address", address, "--file", path, "--overwrite", "--filter", "user_ids=")
	if code != exitInvalid || !strings.HasSuffix(stderr, "start again with --overwrite\n") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestExportTriesAgain: while the server is away, an export tries as long as it may.
func TestExportTriesAgain(t *testing.T) {
	start := time.Now()
	code, _, stderr := runCommand(t, "export", "--address", "127.0.0.1:1", "--retry-for", "2900ms")
	if code != exitUnavailable || strings.Count(stderr, "trying again in 1.0 s") != 1 || time.Since(start) < time.Second {
		t.Errorf("exit code %d after %v: %s", code, time.Since(start), stderr)
	}
}
