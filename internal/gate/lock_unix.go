//go:build unix

package gate

import (
	"errors"
	"os"
	"syscall"
)

// lockFile opens the file at path for this process alone. It is free again when
// the file is closed, or the process ends however it may.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another server uses it")
		}
		return nil, err
	}
	return f, nil
}
