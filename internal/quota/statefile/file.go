// Package statefile keeps in a file what one server has spent of the quota, so that a
// restart does not spend the same window twice. It reads and replaces the file;
// package gate decides when it is written.
package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// Name is the name of the file in the state directory.
const Name = "quota.json"

// File is a state file that is locked for this process. It is not safe for concurrent
// use.
type File struct {
	path     string
	lock     *os.File
	instance string // of Clerk, to which the quota belongs

	saved    *quota.Saved // the content when the file was opened; nil if there was none, or none that can be used
	unusable error        // why the content can't be used
}

// content is the JSON form of the file.
type content struct {
	Instance string `json:"instance"`
	quota.Saved
}

// Open opens and locks the state file in dir, which must exist, for an instance of Clerk.
// It does not fail if the file does not exist, is corrupt or belongs to another instance:
// see Saved. Close unlocks the file.
func Open(dir, instance string) (*File, error) {
	path := filepath.Join(dir, Name)
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	f := &File{path: path, lock: lock, instance: instance}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		_ = lock.Close()
		return nil, err
	default:
		f.saved, f.unusable = parse(text, instance)
	}
	return f, nil
}

// parse reads the content of a file.
func parse(text []byte, instance string) (*quota.Saved, error) {
	saved, err := quota.ParseSaved(text)
	if err != nil {
		return nil, err
	}
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if c.Instance != instance {
		return nil, fmt.Errorf("it is of another instance, %q, and this one is %q", c.Instance, instance)
	}
	return &saved, nil
}

// Path returns the file's path.
func (f *File) Path() string { return f.path }

// Saved returns the content that the file had when it was opened. It returns nil if there
// was no file, and nil with the reason if the content can't be used.
func (f *File) Saved() (saved *quota.Saved, unusable error) { return f.saved, f.unusable }

// Write replaces the file's content. Once it returns nil, the content outlives the process.
// After a power failure the file may have the content from before.
func (f *File) Write(s quota.Saved) error {
	text, err := json.Marshal(content{f.instance, s})
	if err != nil {
		return err
	}
	tmp := f.path + ".tmp"
	w, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Sync(), w.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, f.path)
}

// Close unlocks the file for other processes.
func (f *File) Close() error { return f.lock.Close() }
