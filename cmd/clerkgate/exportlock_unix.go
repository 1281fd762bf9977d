//go:build unix

package main

import (
	"os"
	"syscall"
)

// lockExport makes sure that no other export writes to the file.
func lockExport(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return usagef("--file: another export writes to %s", file.Name())
	}
	return nil
}
