package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/server"
)

func TestFullView(t *testing.T) {
	for _, tt := range []struct {
		cmd  serveCmd
		want server.FullView
	}{
		{serveCmd{}, server.FullViewNone},
		{serveCmd{Sim: true}, server.FullViewAny},
		{serveCmd{Sim: true, FullView: "none"}, server.FullViewNone},
		{serveCmd{FullView: "none"}, server.FullViewNone},
		{serveCmd{FullView: "loopback"}, server.FullViewLoopback},
		{serveCmd{FullView: "any"}, server.FullViewAny},
	} {
		if got, err := tt.cmd.fullView(); err != nil || got != tt.want {
			t.Errorf("--full-view %q, sim %v: %v, %v, want %v", tt.cmd.FullView, tt.cmd.Sim, got, err, tt.want)
		}
	}
	if _, err := (&serveCmd{FullView: "all"}).fullView(); err == nil {
		t.Error("--full-view all is taken")
	}

	address, id, _ := serveSim(t)
	if code, stdout, stderr := runCommand(t, "get", "--address", address, "--view", "full", id); code != 0 || !strings.Contains(stdout, "private") {
		t.Errorf("simulated users in full: %d, %s%s", code, stdout, stderr)
	}
	address, id, _ = serveSim(t, "--full-view", "none")
	if code, _, stderr := runCommand(t, "get", "--address", address, "--view", "full", id); code == 0 || !strings.Contains(stderr, "CALLER_NOT_ALLOWED") {
		t.Errorf("in full where nobody may: %d, %s", code, stderr)
	}
}

// TestServeOnUnixSocket has clients reach a server by a socket.
func TestServeOnUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "cg") // a socket's path has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := "unix:" + filepath.Join(dir, "s")
	address, id, _ := serveSim(t, "--grpc-listen", socket)
	if address != socket {
		t.Errorf("the line to try has the address %s", address)
	}
	if code, stdout, stderr := runCommand(t, "get", "--address", address, id); code != 0 || !strings.Contains(stdout, id) {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
}
