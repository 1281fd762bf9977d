package statefile

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

func TestAFileServesOneProcess(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "test"); err == nil {
		t.Error("a second process opened the file")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "missing"), "test"); err == nil {
		t.Error("Open created a directory")
	}
}

func TestSavedReturnsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	open := func(instance string) *File {
		t.Helper()
		f, err := Open(dir, instance)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	f := open("test")
	if saved, err := f.Saved(); saved != nil || err != nil {
		t.Errorf("without a file: %v, %v", saved, err)
	}
	want := quota.New(quota.Config{Limit: 40}, time.Now()).Save(time.Now(), 3)
	if err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	f = open("test")
	if saved, err := f.Saved(); err != nil || saved == nil || saved.Limit != 40 || saved.Ahead != 3 {
		t.Errorf("got %+v, %v", saved, err)
	}
	_ = f.Close()
	f = open("another")
	if saved, err := f.Saved(); saved != nil || err == nil {
		t.Errorf("of another instance: %v, %v", saved, err)
	}
}
