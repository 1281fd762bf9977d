//go:build unix

package server

import (
	"os"
	"syscall"
)

// lockDir locks a directory against other processes that lock it, until unlock is called.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// narrowSocket has bind create the socket's file with socketMode, so that at no
// time anybody else can connect. Where a socket has no mode, it does nothing.
func narrowSocket(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
}
