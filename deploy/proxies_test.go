package deploy_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// backend is one clerkgate server, which may be started again on its ports.
type backend struct{ grpc, http int }

func (b backend) start(t *testing.T, clerk string) *process {
	t.Helper()
	p := start(t, binary, "serve", "--clerk-api-url", clerk, "--clerk-secret-key-file", keyFile(t), "--quota", "100000/10s",
		"--first-window", "full", "--drain-delay", "1s",
		"--grpc-listen", fmt.Sprintf("127.0.0.1:%d", b.grpc), "--http-listen", fmt.Sprintf("127.0.0.1:%d", b.http))
	isReady(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/readyz", b.http))
	return p
}

func keyFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("sk_test_behindaproxy"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// proxy is a proxy whose configuration is in this folder.
type proxy struct {
	name, config string
	args         func(config, dir string) []string
}

var proxies = []proxy{
	{"haproxy", "haproxy/haproxy.cfg", func(config, _ string) []string { return []string{"-db", "-f", config} }},
	{"nginx", "nginx/nginx.conf", func(config, dir string) []string {
		return []string{"-c", config, "-p", dir, "-g", "daemon off; error_log stderr; pid " + dir + "/pid;"}
	}},
}

// start starts the proxy before two servers, with its configuration but for the ports, and
// returns a caller that calls through it.
func (p proxy) start(t *testing.T, backends []backend) caller {
	t.Helper()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	config := filepath.Join(dir, "config")
	replaced := strings.NewReplacer("9090", fmt.Sprint(backends[0].grpc), "9091", fmt.Sprint(backends[0].http),
		"9190", fmt.Sprint(backends[1].grpc), "9191", fmt.Sprint(backends[1].http), "8090", fmt.Sprint(port)).Replace(string(text))
	if err := os.WriteFile(config, []byte(replaced), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, p.name, p.args(config, dir)...)
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", port), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := caller{clerkgatev1.NewUserServiceClient(conn), clerkgatev1.NewQuotaServiceClient(conn)}
	eventually(t, "a call gets through", func() error {
		_, err := c.users.CountUsers(t.Context(), &clerkgatev1.CountUsersRequest{})
		return err
	})
	return c
}

// startClerk starts a simulated Clerk and returns its base URL.
func startClerk(t *testing.T) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	start(t, binary, "sim", "--listen", address, "--quota", "100000/10s", "--users", "1200")
	eventually(t, "the simulator listens", func() error {
		resp, err := http.Get("http://" + address)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return "http://" + address
}

// TestBehindProxies runs two servers behind each proxy.
func TestBehindProxies(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	for _, proxy := range proxies {
		t.Run(proxy.name, func(t *testing.T) {
			clerk := startClerk(t)
			ports := freePorts(t, 4)
			backends := []backend{{ports[0], ports[1]}, {ports[2], ports[3]}}
			servers := []*process{backends[0].start(t, clerk), backends[1].start(t, clerk)}
			c := proxy.start(t, backends)
			ids := c.ids(t)

			t.Run("unary", func(t *testing.T) { c.unary(t, ids) })
			t.Run("stream", c.stream)
			t.Run("error details and trailers", c.errorDetails)
			t.Run("deadline", func(t *testing.T) { c.deadline(t, clerk) })
			t.Run("cancellation", c.cancellation)
			t.Run("rolling restart", func(t *testing.T) {
				c.underLoad(t, ids, func() {
					for i, b := range backends {
						servers[i].stop(t)
						servers[i] = b.start(t, clerk)
						time.Sleep(time.Second) // as a rollout waits for the check of the proxy
					}
				})
			})
		})
	}
}
