//go:build !linux

package clerkapi

import "syscall"

// dialControl sets nothing: only Linux bounds the time without acknowledgement
// for one connection. Config.Timeout bounds it elsewhere.
var dialControl func(network, address string, conn syscall.RawConn) error
