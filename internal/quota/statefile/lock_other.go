//go:build !unix

package statefile

import "os"

// lockFile opens the file at path. It does not lock it: on this system, nothing stops
// a second process from using the file.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
