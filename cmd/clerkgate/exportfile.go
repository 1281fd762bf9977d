package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// exportFile is the file of an export and its progress. Without a path it is standard
// output, which has no state file.
type exportFile struct {
	path  string
	file  *os.File // nil: standard output
	users *userPrinter
	state exportState // as of the last message that was written
	saved time.Time   // when the state was last written
}

// saveEvery is how often the state file is written. A killed export reads again at
// most what it had read in this time.
const saveEvery = time.Second

// statePath returns the path of the state file.
func (f *exportFile) statePath() string { return f.path + ".state" }

// openExport opens the file of an export. If it resumes, and there is a state file,
// the file is truncated to the bytes that the state covers.
func openExport(c *exportCmd, arguments string, stdout io.Writer) (*exportFile, error) {
	f := &exportFile{path: c.File, state: exportState{
		Version: exportStateVersion, Arguments: arguments, Started: time.Now().UTC().Format(time.RFC3339),
	}}
	out := stdout
	if c.File != "" {
		if err := f.open(c); err != nil {
			if f.file != nil {
				_ = f.file.Close() // nothing was written
			}
			return nil, err
		}
		out = f.file
	}
	newPrinter := newUserPrinter
	if f.state.Offset > 0 {
		newPrinter = newUserPrinterWithoutHeader
	}
	var err error
	f.users, err = newPrinter(out, outputFlag{c.Output, c.columnsFlag}, true)
	return f, err
}

// open opens the file of an export that begins or resumes.
func (f *exportFile) open(c *exportCmd) error {
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return usagef("--file: %s is not a regular file; without --file, users go to standard output", f.path)
	}
	stored, err := readExportState(f.statePath())
	switch {
	case c.Resume && err == nil:
		if stored.Arguments != f.state.Arguments {
			return usagef("--resume: %s belongs to an export with other arguments (%s); repeat those, or start again with --overwrite", f.statePath(), stored.Arguments)
		}
		f.state = stored
		return f.reopen()
	case c.Overwrite:
	case err == nil:
		return usagef("--file: %s belongs to an export that was interrupted: use --resume to continue it, or --overwrite to start again", f.statePath())
	case !errors.Is(err, errNoState):
		return usagef("--file: %v", err)
	}
	return f.create(c)
}

// create starts a new file. A file that is not there yet gets its state file first,
// so that the file of an export that was killed always has one.
func (f *exportFile) create(c *exportCmd) error {
	_, err := os.Stat(f.path)
	switch {
	case err == nil && c.Resume:
		return usagef("--resume: %s has no state file: it is complete, or not an export; use --overwrite to replace it", f.path)
	case err == nil && !c.Overwrite:
		return usagef("--file: %s exists: use --overwrite to replace it", f.path)
	case err == nil:
		f.file, err = os.OpenFile(f.path, os.O_RDWR, 0o600)
	case errors.Is(err, fs.ErrNotExist):
		if err = f.state.write(f.statePath()); err == nil {
			f.file, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return usagef("--file: %v", err)
	}
	if err := lockExport(f.file); err != nil {
		return err
	}
	if err := f.state.write(f.statePath()); err != nil {
		return usagef("--file: %v", err)
	}
	return f.file.Truncate(0)
}

// reopen opens the file of the state, and truncates it to the bytes that the state covers.
func (f *exportFile) reopen() (err error) {
	if f.file, err = os.OpenFile(f.path, os.O_RDWR, 0o600); errors.Is(err, fs.ErrNotExist) && f.state.Offset == 0 {
		f.file, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return usagef("--resume: %v; start again with --overwrite", err)
	}
	if err := lockExport(f.file); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.state.Offset {
		return usagef("--resume: %s has %d bytes, and must have at least %d: it was changed; start again with --overwrite", f.path, info.Size(), f.state.Offset)
	}
	if f.state.Offset > 0 {
		end := make([]byte, 1)
		if _, err := f.file.ReadAt(end, f.state.Offset-1); err != nil {
			return err
		}
		if end[0] != '\n' {
			return usagef("--resume: the first %d bytes of %s do not end a line: it was changed; start again with --overwrite", f.state.Offset, f.path)
		}
	}
	if err := f.file.Truncate(f.state.Offset); err != nil {
		return err
	}
	_, err = f.file.Seek(f.state.Offset, io.SeekStart)
	return err
}

// add writes those users of a message that are wanted, and records its token.
func (f *exportFile) add(m *clerkgatev1.StreamUsersResponse, wanted func(*clerkgatev1.User) bool) error {
	for _, u := range m.GetUsers() {
		if !wanted(u) {
			continue
		}
		if err := f.users.write(u); err != nil {
			return err
		}
		f.state.Written++
	}
	f.state.Walked += int64(len(m.GetUsers()) + len(m.GetUnreadable()))
	f.state.Unreadable += int64(len(m.GetUnreadable()))
	f.state.ResumeToken = m.GetResumeToken()
	if f.file == nil || f.state.ResumeToken == "" || time.Since(f.saved) < saveEvery {
		return nil
	}
	return f.save()
}

// save writes the file's content to the disk, and then its state.
func (f *exportFile) save() error {
	if err := f.users.flush(); err != nil {
		return err
	}
	if f.file == nil {
		return nil
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	var err error
	if f.state.Offset, err = f.file.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	if err := f.state.write(f.statePath()); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	f.saved = time.Now()
	return nil
}

// finish writes the rest. The file is complete, and its state file is removed.
func (f *exportFile) finish() error {
	if err := f.users.flush(); err != nil || f.file == nil {
		return err
	}
	if err := errors.Join(f.file.Sync(), f.file.Close()); err != nil {
		return err
	}
	return os.Remove(f.statePath())
}
