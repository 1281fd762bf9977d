package deploy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// patience is how long anything here may take to start or to end.
const patience = time.Minute

// binary is clerkgate, built for these tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clerkgate-deploy-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "clerkgate")
		if out, err := exec.Command("go", "build", "-o", binary, "../cmd/clerkgate").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("go build: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// process is a running command.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // of the command, once done is closed
}

// start starts a command that stop or the end of the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(name))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(name, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CLERK") && !strings.HasPrefix(v, "OTEL") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s printed:\n%.4000s", name, text)
		}
		// SIGTERM first: a killed nginx leaves its workers behind.
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		log.Close()
	})
	return p
}

// stop ends the process by SIGTERM and waits for its end.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the process has not ended")
	}
	if p.err != nil {
		t.Errorf("the process ended with %v", p.err)
	}
}

// freePorts returns ports on which nobody listens.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// eventually waits until ready returns nil.
func eventually(t *testing.T, what string, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // real processes: nothing here to wait on
	}
}

// backend is one clerkgate server, which may be started again on its ports.
type backend struct{ grpc, http int }

func (b backend) start(t *testing.T, clerk string) *process {
	t.Helper()
	p := start(t, binary, "serve", "--clerk-api-url", clerk, "--clerk-secret-key-file", keyFile(t), "--quota", "100000/10s",
		"--first-window", "full", "--drain-delay", "1s",
		"--grpc-listen", fmt.Sprintf("127.0.0.1:%d", b.grpc), "--http-listen", fmt.Sprintf("127.0.0.1:%d", b.http))
	eventually(t, "the server is ready", func() error {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", b.http))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
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

// caller calls through a proxy.
type caller struct {
	users clerkgatev1.UserServiceClient
	quota clerkgatev1.QuotaServiceClient
}

func (c caller) ids(t *testing.T) (ids []string) {
	t.Helper()
	resp, err := c.users.ListUsers(t.Context(), &clerkgatev1.ListUsersRequest{PageSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range resp.Users {
		ids = append(ids, u.Id)
	}
	return ids
}

func (c caller) unary(t *testing.T, ids []string) {
	resp, err := c.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: ids[0]})
	if err != nil || resp.User.GetId() != ids[0] {
		t.Errorf("%v, %v", resp, err)
	}
}

func (c caller) stream(t *testing.T) {
	stream, err := c.users.StreamUsers(t.Context(), &clerkgatev1.StreamUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range m.Users {
			seen[u.Id] = true
		}
	}
	if len(seen) != 1200 {
		t.Errorf("%d users, want 1200", len(seen))
	}
}

func (c caller) errorDetails(t *testing.T) {
	var trailer metadata.MD
	_, err := c.users.GetUser(t.Context(), &clerkgatev1.GetUserRequest{UserId: "-user_x"}, grpc.Trailer(&trailer))
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 2 {
		t.Fatalf("%v, details %v", err, st.Details())
	}
	if info, ok := st.Details()[0].(*errdetails.ErrorInfo); !ok || info.Reason != "INVALID_ARGUMENT" {
		t.Errorf("details %v", st.Details())
	}
	if got := trailer.Get("clerkgate-reason"); len(got) != 1 || got[0] != "INVALID_ARGUMENT" {
		t.Errorf("trailer %v", trailer)
	}
}

// deadline calls while Clerk hangs: the deadline must reach the server, which
// answers with its reason.
func (c caller) deadline(t *testing.T, clerk string) {
	fault := func(method, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), method, clerk+"/sim/faults", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			text, _ := io.ReadAll(resp.Body)
			t.Fatalf("%s: %s", resp.Status, text)
		}
	}
	fault(http.MethodPost, `{"kind":"hang","count":1}`)
	defer fault(http.MethodDelete, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var trailer metadata.MD
	_, err := c.users.CountUsers(ctx, &clerkgatev1.CountUsersRequest{}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	if got := trailer.Get("clerkgate-reason"); len(got) != 1 || got[0] != "DEADLINE_EXCEEDED" {
		t.Errorf("the server's reason is missing: %v", trailer)
	}
}

func (c caller) cancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.quota.WatchQuota(ctx, &clerkgatev1.WatchQuotaRequest{MinInterval: durationpb.New(100 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for {
		if _, err := stream.Recv(); err != nil {
			if status.Code(err) != codes.Canceled {
				t.Errorf("%v", err)
			}
			return
		}
	}
}

// underLoad calls all the time, from twenty callers, while restart runs. No call
// may fail.
func (c caller) underLoad(t *testing.T, ids []string, restart func()) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var calls, failed atomic.Int64
	var first sync.Once
	for i := range 20 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n += 20 {
				call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
				_, err := c.users.GetUser(call, &clerkgatev1.GetUserRequest{UserId: ids[n%len(ids)]})
				cancel()
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					first.Do(func() { t.Errorf("a call failed: %v", err) })
				}
				time.Sleep(20 * time.Millisecond) // a load of a thousand calls a second at most
			}
		})
	}
	restart()
	cancel()
	wg.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	if calls.Load() < 100 {
		t.Errorf("only %d calls", calls.Load())
	}
}

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
