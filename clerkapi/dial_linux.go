package clerkapi

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dialControl limits how long sent data may stay unacknowledged. Keepalive probes are not
// sent during that time.
func dialControl(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ackTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
