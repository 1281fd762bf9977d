//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"
)

// TestClosedPipe: a command whose reader has gone is ended by SIGPIPE, as others are.
func TestClosedPipe(t *testing.T) {
	address, _, _ := serveSim(t)
	for _, args := range [][]string{{"list", "--limit", "0"}, {"export"}, {"quota", "--watch"}} {
		cmd := command(t, append(args, "--address", address)...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		r.Close()
		err = cmd.Run()
		w.Close()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			t.Errorf("%v: %v", args, err)
		}
	}
}
