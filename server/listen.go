package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	unixPrefix    = "unix:"
	socketMode    = 0o660 // for the server's user and group
	maxSocketPath = 107   // bytes; Linux's limit, others have less
	socketDial    = time.Second
)

// CheckAddress returns an error if address is not host:port, such as 127.0.0.1:9090, or
// unix:/path for a Unix socket.
func CheckAddress(address string) error {
	if path, ok := socketPath(address); ok {
		switch {
		case path == "":
			return errors.New("want a path after unix:, such as unix:/run/clerkgate/grpc.sock")
		case path[0] == '@': // an abstract socket has no mode
			return errors.New("an abstract socket is open to every user of the machine: want a path, such as unix:/run/clerkgate/grpc.sock")
		case len(path) > maxSocketPath:
			return fmt.Errorf("the path of a Unix socket has at most %d bytes; this one has %d", maxSocketPath, len(path))
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("want host:port, such as 127.0.0.1:9090, or unix:/path")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("want a port from 0 to 65535 after the host, such as 127.0.0.1:9090, not %q", port)
	} else if n == 0 && port != "0" {
		return errors.New("want a port from 0 to 65535 after the host, such as 127.0.0.1:9090")
	}
	return nil
}

// CanonicalAddress returns a valid address in a form that is equal for all spellings of
// one Unix socket.
func CanonicalAddress(address string) string {
	path, ok := socketPath(address)
	if !ok {
		return address
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return unixPrefix + path
}

// socketPath returns the path in a Unix socket's address, unix:/path or unix:///path, and
// reports whether address is one.
func socketPath(address string) (string, bool) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if rest, authority := strings.CutPrefix(path, "//"); ok && authority {
		path = rest
	}
	return path, ok
}

// listen listens on a valid address. A Unix socket has the mode 0660 and replaces a stale
// one.
func listen(address string) (net.Listener, error) {
	if err := CheckAddress(address); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	path, ok := socketPath(address)
	if !ok {
		return net.Listen("tcp", address)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: there is no folder %s", address, dir)
	}
	unlock, err := lockDir(dir) // two servers that start at once must not replace each other's
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	listener, err := (&net.ListenConfig{Control: narrowSocket}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("a file of that name exists and is not a socket: remove it, or use another path")
	}
	conn, err := (&net.Dialer{Timeout: socketDial}).Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return errors.New("another server listens there already")
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("there is a socket, and it is unknown whether a server listens on it: %w", err)
}
