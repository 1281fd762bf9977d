package redislink_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

func TestOptions(t *testing.T) {
	cas := redislink.Access{RootCAs: x509.NewCertPool()}
	for _, tt := range []struct {
		url    string
		access redislink.Access
		want   string // part of the error; empty: none
	}{
		{"redis://localhost", redislink.Access{}, ""},
		{" redis://:hush@localhost:6379/0\n", redislink.Access{}, ""},
		{"rediss://localhost?skip_verify=true&client_name=gate", cas, ""},
		{"redis://localhost?addr=b:1&protocol=2&dial_timeout=1s&write_timeout=1s&db=3", redislink.Access{}, ""},
		{`"redis://:hush@localhost"`, redislink.Access{}, "quotes"},
		{"'redis://:hush@localhost'", redislink.Access{}, "quotes"},
		{"\ufeffredis://:hush@localhost", redislink.Access{}, "byte order mark"},
		{"redis://:hush@localhost?dial_timout=1s", redislink.Access{}, "dial_timeout"},
		{"redis://localhost?password=hush", redislink.Access{}, "parameter"},
		{"redis://:hush@localhost?skip_verify=true", redislink.Access{}, "rediss://"},
		{"redis://:hush@localhost", cas, "rediss://"},
		{"", redislink.Access{}, "must begin"},
	} {
		options, err := redislink.Options(tt.url, tt.access)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%q: %v, want %q", tt.url, err, tt.want)
		}
		if err == nil && tt.access.RootCAs != nil && options.TLSConfig.RootCAs != tt.access.RootCAs {
			t.Errorf("%q: trusts others", tt.url)
		}
	}
}

// ping pings Redis until it answers, for at most 10 s.
func ping(t *testing.T, c rueidis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ticks := time.NewTicker(20 * time.Millisecond); ; {
		err := c.Do(ctx, c.B().Ping().Build()).Error()
		if err == nil {
			return
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			t.Fatalf("no answer: %v", err)
		}
	}
}

// TestPasswordRotates changes the password in Redis and in the file: an existing client
// connects with the new one.
func TestPasswordRotates(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "first")
	path := filepath.Join(t.TempDir(), "url")
	write := func(password, query string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("redis://:"+password+"@"+server.Addr()+query+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first", "")
	var mu sync.Mutex
	var reports []error
	file, err := redislink.OpenURLFile(path, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	options, err := redislink.Options(file.URL(), redislink.Access{Credentials: file.Credentials})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := redislink.Connect(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ping(t, c)
	for _, step := range []struct{ password, query string }{{"second", ""}, {"third%40", "?client_name=x"}} {
		plain := strings.ReplaceAll(step.password, "%40", "@")
		if err := c.Do(ctx, c.B().Arbitrary("CONFIG", "SET", "requirepass", plain).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		write(step.password, step.query)
		// The end of its own connection is not a failure.
		_ = c.Do(ctx, c.B().Arbitrary("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no").Build()).Error()
		ping(t, c)
	}
	if err := file.Err(); err == nil || !strings.Contains(err.Error(), "restart") || strings.Contains(err.Error(), "third") {
		t.Errorf("another parameter: %v", err)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := file.Reload(); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a file without a URL: %v", err)
	}
	if user, password := file.Credentials(); user != "" || password != "third@" {
		t.Errorf("the last good password is forgotten: %q, %q", user, password)
	}
	write("fourth", "")
	if err := file.Reload(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(reports) != 3 || reports[2] != nil {
		t.Errorf("told of %v, want two failures and their end", reports)
	}
}

func TestURLFileRefused(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": " \n", "no URL": "hush", "quotes": `"redis://:hush@localhost"`, "long": "redis://:hush@localhost/" + strings.Repeat(" ", 1<<15),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := redislink.OpenURLFile(path, nil); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := redislink.OpenURLFile(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a missing file opens")
	}
}

// TestRootCAs connects to Redis over TLS with a certificate that the system does not
// trust.
func TestRootCAs(t *testing.T) {
	server := redistest.Start(t)
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: https.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var forwards sync.WaitGroup
	forwards.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr())
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				forwards.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				})
			}
		}
	})
	defer forwards.Wait()
	defer listener.Close()

	own := x509.NewCertPool()
	own.AddCert(https.Certificate())
	for _, tt := range []struct {
		query   string
		access  redislink.Access
		trusted bool
	}{{"", redislink.Access{RootCAs: own}, true}, {"", redislink.Access{}, false}, {"", redislink.Access{RootCAs: x509.NewCertPool()}, false}, {"?skip_verify=true", redislink.Access{}, true}} {
		options, err := redislink.Options("rediss://"+listener.Addr().String()+tt.query, tt.access)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c, err := redislink.Connect(ctx, options)
		if trusted := err == nil; trusted != tt.trusted {
			t.Errorf("%s %+v: %v", tt.query, tt.access, err)
		}
		if err == nil {
			ping(t, c)
			c.Close()
		}
		cancel()
	}
}
