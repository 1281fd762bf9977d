package main

import (
	"strings"
	"testing"
)

func TestHealthCommand(t *testing.T) {
	address, _, _ := serveSim(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // in what it prints
	}{
		{"the server", []string{"--address", address}, 0, "SERVING"},
		{"the way to Clerk", []string{"--address", address, "--service", "clerk"}, 0, "SERVING"},
		{"the process", []string{"--address", address, "--service", "alive"}, 0, "SERVING"},
		{"a service", []string{"--address", address, "--service", "clerkgate.v1.UserService"}, 0, "SERVING"},
		{"no such service", []string{"--address", address, "--service", "none"}, exitUsage, "none"},
		{"no server", []string{"--address", "127.0.0.1:1", "--timeout", "5s"}, exitUnavailable, "UNAVAILABLE"},
	} {
		code, stdout, stderr := runCommand(t, append([]string{"health"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s%s", tt.name, code, stdout, stderr)
		}
	}
}
