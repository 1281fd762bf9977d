//go:build unix

package livefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipesAreRefused: a named pipe, which would block whoever opens it, and a device are
// refused at once, also in place of a file that is in use.
func TestPipesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	v, err := Open([]string{path}, parse, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.Reload(); err == nil || v.Get() != "1" {
		t.Errorf("a pipe in place of the file: %v, %q in use", err, v.Get())
	}
	for _, other := range []string{path, os.DevNull} {
		if _, err := Open([]string{other}, parse, func(error) {}); err == nil {
			t.Errorf("%s is taken", other)
		}
	}
}
