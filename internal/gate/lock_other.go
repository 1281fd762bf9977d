//go:build !unix

package gate

import "os"

// lockFile opens the file at path. Nothing here keeps two processes apart.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
