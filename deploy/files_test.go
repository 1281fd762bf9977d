package deploy_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestImageListensWhereTheDockerfileSays keeps the ports of the Dockerfile and those
// of the binary the same.
func TestImageListensWhereTheDockerfileSays(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(binary, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	exposed := regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindSubmatch(text)
	if exposed == nil {
		t.Fatal("the Dockerfile exposes nothing")
	}
	scanner := bufio.NewScanner(strings.NewReader(string(exposed[1])))
	scanner.Split(bufio.ScanWords)
	for scanner.Scan() {
		if !strings.Contains(string(help), ":"+scanner.Text()) {
			t.Errorf("port %s is in no default of serve", scanner.Text())
		}
	}
}

// TestServiceConfig checks that Go's client accepts the service config of docs/deploy/proxies.md.
func TestServiceConfig(t *testing.T) {
	text, err := os.ReadFile("../docs/deploy/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	config := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	if config == nil {
		t.Fatal("the page has no service config")
	}
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config[1])))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestConfigurationFile has clerkgate check the configuration file of this folder.
func TestConfigurationFile(t *testing.T) {
	cmd := exec.Command(binary, "config", "check", "--config", "clerkgate.yaml")
	cmd.Env = append(os.Environ(), "CLERK_SECRET_KEY=sk_test_example")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSystemdUnit has systemd check the unit, where it is there.
func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not there")
	}
	text, err := os.ReadFile("systemd/clerkgate.service")
	if err != nil {
		t.Fatal(err)
	}
	// The command must exist.
	unit := filepath.Join(t.TempDir(), "clerkgate.service")
	text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/clerkgate", binary))
	if err := os.WriteFile(unit, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
