//go:build !linux

package clerkapi

import "syscall"

// dialControl is nil: only Linux can limit the time without acknowledgement per
// connection. Elsewhere Config.Timeout is the limit.
var dialControl func(network, address string, conn syscall.RawConn) error
