// Package livefile keeps a value that is read from files, and reads it again when they
// change.
//
// Callers files and TLS certificates use it. A file that can't be used never replaces a
// value that can.
package livefile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// period is how often Run reads the files. Polling needs no special cases for links
	// that are swapped, such as Kubernetes' ..data, or for network file systems.
	period = 500 * time.Millisecond
	// maxSize is the maximum size of a file, in bytes.
	maxSize = 4 << 20
)

// Value is a T that is read from files. Open returns one. It is safe for concurrent use.
type Value[T any] struct {
	paths  []string
	parse  func(contents [][]byte) (T, error)
	report func(error)

	current atomic.Pointer[T]

	mu     sync.Mutex
	tried  [sha256.Size]byte // digest of the last parsed contents; guarded by mu
	seen   [sha256.Size]byte // digest of what was read last; guarded by mu
	fault  error             // of the last parse; guarded by mu
	unread error             // of the last read, nil once the files are readable again; guarded by mu
}

// Open reads the files and parses their contents, which are in the order of paths. It calls
// report after each later attempt to parse them, when they become unreadable, and when they are
// readable again: with nil if the value is that of the files, otherwise with the reason why the
// last one stays in use. report must not use the Value.
func Open[T any](paths []string, parse func(contents [][]byte) (T, error), report func(error)) (*Value[T], error) {
	v := &Value[T]{paths: paths, parse: parse, report: report}
	contents, digest, err := v.read()
	if err != nil {
		return nil, err
	}
	value, err := parse(contents)
	if err != nil {
		return nil, err
	}
	v.current.Store(&value)
	v.tried, v.seen = digest, digest
	return v, nil
}

// Get returns the value in use.
func (v *Value[T]) Get() T { return *v.current.Load() }

// Err returns why the files can't be used and the last value stays in use, as of the last time
// that they were read. It returns nil if the value is that of the files.
func (v *Value[T]) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unread != nil {
		return v.unread
	}
	return v.fault
}

// Run reads the files again when they change, until ctx ends. It uses a change only when
// two consecutive reads are equal, so it does not use files that are being written.
func (v *Value[T]) Run(ctx context.Context) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = v.look(false) // the error was reported
		case <-ctx.Done():
			return
		}
	}
}

// Reload reads the files again at once, and parses them if they have changed or were
// unusable: what they refer to may be there now. It returns an error if the files are
// unusable and the old value stays in use.
func (v *Value[T]) Reload() error { return v.look(true) }

// look reads the files and parses them if they differ from what was parsed last.
func (v *Value[T]) look(now bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	contents, digest, err := v.read()
	if err != nil {
		if now || v.unread == nil || v.unread.Error() != err.Error() {
			v.report(err)
		}
		v.unread = err
		return err
	}
	settled := digest == v.seen || now
	v.seen = digest
	if !settled {
		return nil
	}
	returned := v.unread != nil
	v.unread = nil
	if digest == v.tried && !(now && v.fault != nil) {
		if returned {
			v.report(v.fault)
		}
		return v.fault
	}
	v.tried = digest
	value, err := v.parse(contents)
	if err == nil {
		v.current.Store(&value)
	}
	v.fault = err
	v.report(err)
	return err
}

// read returns the contents of the files and their digest.
func (v *Value[T]) read() (contents [][]byte, digest [sha256.Size]byte, err error) {
	hash := sha256.New()
	for _, path := range v.paths {
		b, err := Read(path)
		if err != nil {
			return nil, digest, err
		}
		contents = append(contents, b)
		fmt.Fprintf(hash, "%d:", len(b))
		hash.Write(b)
	}
	return contents, [sha256.Size]byte(hash.Sum(nil)), nil
}

// Read is ReadAtMost of 4 MiB.
func Read(path string) ([]byte, error) { return ReadAtMost(path, maxSize) }

// ReadAtMost reads a regular file of at most that many bytes. Its errors are of type
// *fs.PathError. Anything else, such as a named pipe, is an error: opening it may block
// forever.
func ReadAtMost(path string, most int) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("longer than %d bytes", most)}
	}
	return b, nil
}

var errNotRegular = errors.New("not a regular file")
