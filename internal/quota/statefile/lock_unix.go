//go:build unix

package statefile

import (
	"errors"
	"os"
	"syscall"
)

// lockFile opens the file at path and locks it for this process. Closing the file
// releases the lock, and so does any end of the process.
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
