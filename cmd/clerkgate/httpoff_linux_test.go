package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// listening returns the addresses of IPv4 and the ports of IPv6 on which a process
// listens, by /proc.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, f := range open {
		if target, err := os.Readlink(filepath.Join(proc, "fd", f.Name())); err == nil {
			own[target] = true
		}
	}
	var all []string
	for _, family := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join(proc, "net", family))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const state, listen, inode = 3, "0A", 9
			f := strings.Fields(line)
			if f[state] != listen || !own["socket:["+f[inode]+"]"] {
				continue
			}
			host, port, _ := strings.Cut(f[1], ":")
			n, portErr := strconv.ParseUint(port, 16, 16)
			b, hostErr := hex.DecodeString(host)
			if portErr != nil || hostErr != nil {
				t.Fatalf("%v, %v in %s", portErr, hostErr, line)
			}
			if slices.Reverse(b); len(b) == 4 { // it has the order of the machine's bytes
				host = netip.AddrFrom4([4]byte(b)).String()
			}
			all = append(all, net.JoinHostPort(host, fmt.Sprint(n)))
		}
	}
	return all
}

// TestHTTPOff runs a process without the HTTP listener, alone and with Redis: it listens
// for gRPC and nothing else, serves, and stops in order on SIGTERM.
func TestHTTPOff(t *testing.T) {
	for name, flags := range map[string]func(*testing.T) []string{
		"alone":      func(*testing.T) []string { return nil },
		"with Redis": func(t *testing.T) []string { return []string{"--redis-url", redistest.Start(t).URL()} },
	} {
		t.Run(name, func(t *testing.T) {
			sim, err := clerksim.New(clerksim.Config{Users: 3})
			if err != nil {
				t.Fatal(err)
			}
			clerk := httptest.NewServer(sim)
			defer clerk.Close()
			cmd := command(t, append([]string{"serve", "--log-format=json", "--first-window=full", "--grpc-listen=127.0.0.1:0",
				"--clerk-api-url=" + clerk.URL}, flags(t)...)...)
			cmd.Env = append(cmd.Env, "CLERKGATE_HTTP_LISTEN=off", secretKeyEnv+"="+secret)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stderr)
			var serving struct{ Msg, GRPC, HTTP string }
			for serving.Msg != "serving" {
				if !lines.Scan() {
					t.Fatal("serve has ended", lines.Err(), cmd.Wait())
				}
				if err := json.Unmarshal(lines.Bytes(), &serving); err != nil {
					t.Fatalf("%v in %s", err, lines.Bytes())
				}
			}
			rest := make(chan string, 1)
			go func() {
				var b strings.Builder
				for lines.Scan() {
					b.WriteString(lines.Text() + "\n")
				}
				rest <- b.String()
			}()
			if got := listening(t, cmd.Process.Pid); serving.HTTP != "off" || !slices.Equal(got, []string{serving.GRPC}) {
				t.Errorf("it listens on %q, and says that HTTP is %q; want %s alone, and off", got, serving.HTTP, serving.GRPC)
			}
			if code, _, errs := runCommand(t, "get", sim.UserIDs(1)[0], "--address", serving.GRPC); code != 0 {
				t.Errorf("get: %s", errs)
			}
			for _, service := range []string{"clerk", "clerkgate.v1.UserService"} {
				if code, out, errs := runCommand(t, "health", "--service", service, "--address", serving.GRPC); code != 0 || out != "SERVING\n" {
					t.Errorf("health of %s: %s%s", service, out, errs)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			log := <-rest
			if err := cmd.Wait(); err != nil || !strings.Contains(log, `"msg":"stopped"`) || strings.Contains(log, `"level":"ERROR"`) {
				t.Errorf("serve ended with %v:\n%s", err, log)
			}
		})
	}
}
