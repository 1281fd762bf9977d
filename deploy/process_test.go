package deploy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/leaktest"
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
		return leaktest.Run(m, leaktest.Log).Run()
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
		if len(args) > 0 && args[0] == "serve" { // sim shows the key that it accepts
			text, err := os.ReadFile(log.Name())
			if err != nil {
				t.Error(err)
			}
			leaktest.Saw(leaktest.Log, string(text))
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

// isReady waits until a GET of url answers 200.
func isReady(t *testing.T, client *http.Client, url string) {
	t.Helper()
	eventually(t, "the server is ready", func() error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}
