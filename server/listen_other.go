//go:build !unix

package server

import "syscall"

// lockDir locks nothing here.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// narrowSocket does nothing here.
func narrowSocket(string, string, syscall.RawConn) error { return nil }
