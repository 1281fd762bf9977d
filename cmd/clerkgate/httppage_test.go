package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestHTTPPage runs the curl command of docs/clients/http.md.
func TestHTTPPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not there")
	}
	page, err := os.ReadFile("../../docs/clients/http.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile("(?s)\n(curl .*?)```").FindSubmatch(page)
	_, _, log := serveSim(t, "--sim-users", "10000") // as make run
	address := regexp.MustCompile(` http=(\S+)`).FindStringSubmatch(log.String())
	if command == nil || address == nil {
		t.Fatalf("no command in the page, or no address in the log:\n%s", log)
	}
	script := strings.ReplaceAll(string(command[1]), "127.0.0.1:9091", address[1])
	out, err := exec.CommandContext(t.Context(), "bash", "-c", script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"Seth"`) {
		t.Errorf("%s\n%v: %s", script, err, out)
	}
}
