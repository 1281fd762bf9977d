package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// exportState is the progress of an export. It is written beside the exported file, so
// that an export that was killed can be resumed.
type exportState struct {
	Version     int    `json:"version"`
	Arguments   string `json:"arguments"`    // those that determine the content of the file
	Started     string `json:"started"`      // when the export began, in RFC 3339
	ResumeToken string `json:"resume_token"` // of the server; empty: at the beginning
	Offset      int64  `json:"offset"`       // bytes of the file that were written before ResumeToken came
	Walked      int64  `json:"walked"`       // users that the server sent
	Written     int64  `json:"written"`      // users among them that are in the file
	Unreadable  int64  `json:"unreadable"`   // users that the server could not read
}

// exportStateVersion is the version of the form of exportState.
const exportStateVersion = 1

// maxStateBytes bounds a state file: the filter takes up to 8,000 bytes.
const maxStateBytes = 64 << 10

// errNoState means that there is no state file.
var errNoState = errors.New("no state file")

// readExportState reads a state file. It returns errNoState if there is none.
func readExportState(path string) (s exportState, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, errNoState
	case err != nil:
		return s, err
	case info.Size() > maxStateBytes:
		return s, fmt.Errorf("%s is not a state file: it is too large", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil || s.Version != exportStateVersion || s.Offset < 0 {
		return s, fmt.Errorf("%s is not a state file of this version of clerkgate; start again with --overwrite", path)
	}
	return s, nil
}

// write replaces the state file at path, so that it holds the old state or the new
// one whenever the process is killed.
func (s exportState) write(path string) (err error) {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the error that led here matters more
		}
	}()
	_, err = temp.Write(append(text, '\n'))
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
