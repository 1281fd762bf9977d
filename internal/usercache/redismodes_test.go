package usercache

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestRedisModes: the cache works with one server, without RESP3, in another database,
// with a password, with TLS, through a socket, through sentinels, and in a cluster.
func TestRedisModes(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (url string){
		"one server": func(t *testing.T) string { return redistest.Start(t).URL() },
		"RESP2":      func(t *testing.T) string { return redistest.Start(t).URL() + "?protocol=2" },
		"database":   func(t *testing.T) string { return redistest.Start(t).URL() + "/3" },
		"password": func(t *testing.T) string {
			return "redis://:p%40ss@" + redistest.Start(t, "--requirepass", "p@ss").Addr()
		},
		"TLS": func(t *testing.T) string {
			cert, key := writeCertificate(t)
			port := redistest.FreePort(t)
			redistest.Start(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key,
				"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
			return fmt.Sprintf("rediss://127.0.0.1:%d?skip_verify=true", port)
		},
		"socket": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "redis.sock")
			redistest.Start(t, "--unixsocket", path)
			return "unix://" + path
		},
		"sentinel": func(t *testing.T) string {
			master := redistest.Start(t)
			config := filepath.Join(t.TempDir(), "sentinel.conf")
			if err := os.WriteFile(config, fmt.Appendf(nil, "sentinel monitor main 127.0.0.1 %d 1\n", master.Port), 0o600); err != nil {
				t.Fatal(err)
			}
			return redistest.StartServer(t, config, "--sentinel").URL() + "?master_set=main"
		},
		"cluster": startRedisCluster,
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t)
			a := startRedisReplica(t, redisConfig{URL: url, Beat: 200 * time.Millisecond})
			b := startRedisReplica(t, redisConfig{URL: url, Beat: 200 * time.Millisecond})
			var ids []string
			var items []putItem
			for i := range 100 {
				id := fmt.Sprintf("user_%d", i)
				ids = append(ids, id)
				items = append(items, putItem{id: id, entry: copyAt(int64(i), 1, 1), ttl: time.Hour})
			}
			if err := a.put(t.Context(), items); err != nil {
				t.Fatal(err)
			}
			for i, e := range b.mustGet(full, ids...) {
				if e == nil || e.UpdatedAt != int64(i) {
					t.Fatalf("%s is read as %+v", ids[i], e)
				}
			}
			seq := a.mustInvalidate(ids...)
			for _, r := range []*redisReplica{a, b} {
				e := r.wait(0, func(e told) bool { return e.what == "invalidated" })
				if e.seq != seq || strings.Join(e.ids, " ") != strings.Join(ids, " ") {
					t.Errorf("heard %+v", e)
				}
			}
			for i, e := range b.mustGet(basic, ids...) {
				if e != nil {
					t.Fatalf("%s is still read as %+v", ids[i], e)
				}
			}
			if again := b.mustInvalidate("user_1"); again != seq+1 {
				t.Errorf("numbers %d and %d", seq, again)
			}
			a.mustApply("user_200", copyAt(5, 0, 0))
			if e := b.mustGet(full, "user_200")[0]; e == nil || e.Stamp != seq+2 {
				t.Errorf("got %+v, want the stamp %d", e, seq+2)
			}
			if err := a.record(t.Context(), "msg_1"); err != nil {
				t.Fatal(err)
			}
			if seen, err := b.seen(t.Context(), "msg_1"); err != nil || !seen {
				t.Errorf("seen gives %v, %v", seen, err)
			}
		})
	}
}

// writeCertificate writes a self-signed certificate and its key.
func writeCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private)
}

// startRedisCluster starts three servers that share the slots.
func startRedisCluster(t *testing.T) string {
	t.Helper()
	var servers []*redistest.Server
	for range 3 {
		servers = append(servers, redistest.Start(t, "--cluster-enabled", "yes"))
	}
	ask := func(s *redistest.Server, command string) {
		t.Helper()
		if got := s.Ask(command); got != "+OK" {
			t.Fatalf("%s gives %q", command, got)
		}
	}
	for i, s := range servers {
		ask(s, fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*16384/3, (i+1)*16384/3-1))
		ask(s, fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
		if i > 0 {
			ask(s, fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", servers[0].Port))
		}
	}
	for _, s := range servers {
		eventually(t, func() bool {
			return strings.Contains(text(t, s, "CLUSTER INFO"), "cluster_state:ok") &&
				strings.Contains(text(t, s, "CLUSTER INFO"), "cluster_known_nodes:3")
		})
	}
	return servers[0].URL()
}

// text returns a whole answer.
func text(t testing.TB, s *redistest.Server, command string) string {
	t.Helper()
	c := s.Client()
	text, err := c.Do(context.Background(), c.B().Arbitrary(strings.Fields(command)...).Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRedisWrongPassword(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right")
	proxy := newProxy(t, s.Addr())
	r := runRedisReplica(t, redisConfig{URL: "redis://:hush%21@" + proxy.addr()})
	eventually(t, func() bool { // it has tried repeatedly
		return strings.Contains(r.log.String(), "WRONGPASS") && proxy.count() >= 3
	})
	if _, err := r.get(t.Context(), []string{"user_1"}, basic); !errors.Is(err, errRedisAway) {
		t.Errorf("got %v", err)
	}
	r.stop()
	if strings.Contains(r.log.String(), "hush") {
		t.Errorf("the log shows the password:\n%s", r.log)
	}
	if n := strings.Count(r.log.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one change:\n%s", n, r.log)
	}
}

func TestRedisURLErrorsShowNothingOfIt(t *testing.T) {
	for url, want := range map[string]string{
		"redis://user:se#cret@localhost:6379":     "can't be read",
		"redis://user:se cret@localhost:6379":     "can't be read",
		"redis://user:secret@localhost:port":      "can't be read",
		"http://user:secret@localhost:6379":       "must begin with",
		"secret":                                  "must begin with",
		"redis://user:secret@localhost/secret":    "bad database",
		"redis://user:secret@localhost/1/secret":  "bad database",
		"redis://localhost?dial_timeout=secret":   "bad database",
		"rediss://localhost?skip_verify=secret":   "bad database",
		"redis://localhost?write_timeout=secrets": "bad database",
	} {
		_, err := newRedis(redisConfig{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "se") && strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	for _, url := range []string{
		"redis://localhost", "rediss://:p%23ss@redis.example:6380/2", "unix:///run/redis.sock?db=1",
		"redis://a:1?addr=b:2&addr=c:3", "rediss://a:26379?addr=b:26379&master_set=main",
	} {
		if _, err := newRedis(redisConfig{URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestRedisStaysInUse: callers that leave and error replies do not count as failures of
// Redis.
func TestRedisStaysInUse(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for range 2 * breakerFailures {
		if _, err := r.get(gone, []string{"user_1"}, basic); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if _, err := r.get(late, []string{"user_1"}, basic); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	}
	s.Ask("CONFIG SET maxmemory 1")
	s.Ask("CONFIG SET maxmemory-policy noeviction")
	for range 2 * breakerFailures {
		err := r.put(t.Context(), []putItem{{id: "user_1", entry: copyAt(1, 1, 1), ttl: time.Hour}})
		if err == nil || errors.Is(err, errRedisAway) {
			t.Fatalf("got %v", err)
		}
	}
	r.mustGet(basic, "user_1")
}

// TestRedisSequenceLost: if only the sequence is lost, as by eviction, or goes back, as
// by a restart from an old copy, the numbers still increase.
func TestRedisSequenceLost(t *testing.T) {
	s := redistest.Start(t)
	a, b := startRedisReplica(t, redisConfig{URL: s.URL()}), startRedisReplica(t, redisConfig{URL: s.URL()})
	seq := a.mustInvalidate("user_1")
	for _, lose := range []string{"DEL " + a.sequenceKey(), "HMSET " + a.sequenceKey() + " n 7 t an-old-token"} {
		for _, r := range []*redisReplica{a, b} {
			r.wait(0, func(e told) bool { return e.what == "invalidated" && e.seq == seq })
		}
		from := len(b.heard())
		if got := s.Ask(lose); got[0] == '-' {
			t.Fatal(got)
		}
		again := a.mustInvalidate("user_1")
		if again <= seq {
			t.Errorf("number %d was drawn after %d", again, seq)
		}
		b.wait(from, isMissed)
		seq = again
	}
}
