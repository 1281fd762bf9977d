//go:build !unix

package server

import "syscall"

// lockDir does nothing on this system.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// narrowSocket does nothing on this system.
func narrowSocket(string, string, syscall.RawConn) error { return nil }
