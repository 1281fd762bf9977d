//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestFilesAreRegular: a named pipe, which would block whoever opens it, or a directory in
// place of a file is an error that names the flag, at once.
func TestFilesAreRegular(t *testing.T) {
	t.Setenv(secretKeyEnv, secret)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ca := callertest.NewCA(t)
	cert, key := ca.Issue("127.0.0.1").Files(t, dir, "server")
	// Further arguments with which the file of each flag is read.
	files := map[string][]string{
		"config": nil, "clerk-secret-key-file": nil, "clerk-ca-file": nil,
		"redis-url-file": {"--sim"}, "redis-ca-file": {"--sim", "--redis-url", "rediss://127.0.0.1:1"},
		"cache-encryption-key-file": {"--sim", "--redis-url", "redis://127.0.0.1:1"},
		"webhook-secret-file":       {"--sim", "--webhook-listen", "127.0.0.1:0"},
		"callers-file":              {"--sim"},
		"client-ca-file":            {"--sim", "--tls-cert-file", cert, "--tls-key-file", key},
	}
	for _, prefix := range []string{"", "http-", "webhook-"} {
		files[prefix+"tls-cert-file"] = []string{"--sim", "--" + prefix + "tls-key-file", key}
		files[prefix+"tls-key-file"] = []string{"--sim", "--" + prefix + "tls-cert-file", cert}
	}
	parser, err := (&origins{}).newParser(&cli{}, kong.Name("clerkgate"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range serveFlags(parser.Model.Node) {
		if _, tried := files[f.Name]; f.PlaceHolder == "FILE" && !tried {
			t.Errorf("--%s is not tried", f.Name)
		}
	}
	for name, others := range files {
		for what, path := range map[string]string{"a pipe": pipe, "a directory": dir} {
			t.Run(name+" "+what, func(t *testing.T) {
				for _, command := range [][]string{{"serve"}, {"config", "check"}} {
					ended := make(chan struct{})
					var code int
					var out, errs string
					go func() {
						defer close(ended)
						code, out, errs = runCommand(t, append(append(command, "--"+name, path), others...)...)
					}()
					select {
					case <-ended:
					case <-time.After(time.Minute):
						t.Fatalf("%v hangs", command)
					}
					if code != exitUsage || !strings.Contains(errs, "--"+name) || !strings.Contains(errs, "regular file") && !strings.Contains(errs, "directory") {
						t.Errorf("%v: exit code %d: %s%s", command, code, out, errs)
					}
				}
			})
		}
	}
}
