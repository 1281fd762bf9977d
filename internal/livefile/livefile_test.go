package livefile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// errBroken is the parser's error for a broken value.
var errBroken = errors.New("broken")

func parse(contents [][]byte) (string, error) {
	var all []string
	for _, c := range contents {
		if string(c) == "broken" {
			return "", errBroken
		}
		all = append(all, string(c))
	}
	return strings.Join(all, "+"), nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReadAgain replaces files in every usual way, in virtual time.
func TestReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		write(t, a, "1")
		write(t, b, "2")
		var mu sync.Mutex
		var reports []error // guarded by mu
		v, err := Open([]string{a, b}, parse, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, err)
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go v.Run(ctx)
		after := func(what, want string, wantErr error, wantReports int) {
			t.Helper()
			time.Sleep(2*period + 1)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := v.Get(); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
			if len(reports) != wantReports {
				t.Errorf("%s: reports %v, want %d", what, reports, wantReports)
			} else if wantReports > 0 && !errors.Is(reports[len(reports)-1], wantErr) {
				t.Errorf("%s: report %v, want %v", what, reports[len(reports)-1], wantErr)
			}
		}
		after("nothing has changed", "1+2", nil, 0)
		write(t, a, "3")
		after("one is written", "3+2", nil, 1)
		write(t, b, "broken")
		after("one is broken", "3+2", errBroken, 2)
		after("still broken, said once", "3+2", errBroken, 2)
		_ = os.Remove(b)
		after("one is gone", "3+2", os.ErrNotExist, 3)
		after("still gone, said once", "3+2", os.ErrNotExist, 3)
		if err := v.Err(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Err while it is gone: %v", err)
		}
		if err := os.Mkdir(b, 0o700); err != nil {
			t.Fatal(err)
		}
		after("unreadable for another reason", "3+2", errNotRegular, 4)
		_ = os.Remove(b)
		write(t, b, "broken")
		after("it is there again, and broken as before", "3+2", errBroken, 5)
		if err := v.Err(); !errors.Is(err, errBroken) {
			t.Errorf("Err while it is broken: %v", err)
		}
		write(t, b, "4")
		after("it is mended", "3+4", nil, 6)
		_ = os.Remove(b)
		after("it is gone again", "3+4", os.ErrNotExist, 7)
		write(t, b, "4")
		after("it is there again, and as before", "3+4", nil, 8)
		if err := v.Err(); err != nil {
			t.Errorf("Err of usable files: %v", err)
		}
		write(t, a, "5")
		time.Sleep(period) // Run reads once and does not use what may be half of a change
		write(t, b, "6")
		after("two are written one after the other", "5+6", nil, 9)
		write(t, a, "7")
		if err := v.Reload(); err != nil || v.Get() != "7+6" {
			t.Errorf("Reload waits: %q, %v", v.Get(), err)
		}
		write(t, a, "broken")
		for range 2 {
			if err := v.Reload(); !errors.Is(err, errBroken) || v.Get() != "7+6" {
				t.Errorf("Reload of a broken file: %q, %v", v.Get(), err)
			}
		}
	})
}

// TestSwappedLink replaces a folder like Kubernetes: the files are links through ..data,
// a link that is swapped.
func TestSwappedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, version := range []string{"1", "2"} {
			if err := os.Mkdir(filepath.Join(dir, ".."+version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, ".."+version, "tls.crt"), "certificate "+version)
		}
		link := func(target, name string) {
			t.Helper()
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("..1", "..data")
		link(filepath.Join("..data", "tls.crt"), "tls.crt")
		v, err := Open([]string{filepath.Join(dir, "tls.crt")}, parse, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go v.Run(ctx)
		link("..2", "..data_tmp")
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*period + 1)
		synctest.Wait()
		if got := v.Get(); got != "certificate 2" {
			t.Errorf("after the swap: %q", got)
		}
	})
}

// TestOpenRefuses opens unreadable files.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	broken, large := filepath.Join(dir, "broken"), filepath.Join(dir, "large")
	write(t, broken, "broken")
	write(t, large, strings.Repeat("x", maxSize+1))
	for _, path := range []string{broken, large, filepath.Join(dir, "missing"), dir} {
		if _, err := Open([]string{path}, parse, func(error) {}); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
}

// TestReloadTriesAgain: Reload parses an unusable file again though it has not changed, as
// what it refers to may have.
func TestReloadTriesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	broken, parsed := false, 0
	v, err := Open([]string{path}, func(contents [][]byte) (string, error) {
		parsed++
		if broken {
			return "", errBroken
		}
		return parse(contents)
	}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "2")
	broken = true
	if err := v.Reload(); !errors.Is(err, errBroken) || v.Get() != "1" {
		t.Errorf("what the file refers to is missing: %q, %v", v.Get(), err)
	}
	broken = false
	for range 2 {
		if err := v.Reload(); err != nil || v.Get() != "2" || parsed != 3 {
			t.Errorf("it is there: %q, %v, parsed %d times", v.Get(), err, parsed)
		}
	}
}
