package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// redisURLWays are the ways to pass a Redis URL to serve. Each returns the arguments to add.
var redisURLWays = map[string]func(t *testing.T, url string) []string{
	"flag": func(_ *testing.T, url string) []string { return []string{"--redis-url", url} },
	"environment": func(t *testing.T, url string) []string {
		t.Setenv("CLERKGATE_REDIS_URL", url)
		return nil
	},
	"settings": func(t *testing.T, url string) []string {
		return []string{"--config", secretFile(t, fmt.Sprintf("redis-url: %q\n", url))}
	},
	"file": func(t *testing.T, url string) []string { return []string{"--redis-url-file", secretFile(t, url)} },
}

// secretFile writes a file with a secret and returns its path.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRedisPasswordIsNotShown: Redis refuses the password, or the connection, and nothing that
// the server shows has the password or the user.
func TestRedisPasswordIsNotShown(t *testing.T) {
	password, user := leaktest.Secret("a password of Redis", "hushredispassword"), "hushredisuser"
	redis := redistest.Start(t, "--requirepass", "theotherpassword")
	for way, arguments := range redisURLWays {
		for name, at := range map[string]struct{ address, failure string }{
			"refused": {redis.Addr(), "WRONGPASS"}, "away": {"127.0.0.1:1", "no_connection"}, "repeated": {repeatingRedis(t), "unknown command"},
			"a sentinel refuses": {redis.Addr() + "?master_set=main", "WRONGPASS"}, "the sentinel is away": {"127.0.0.1:1?master_set=main", "no_connection"},
		} {
			t.Run(way+" "+name, func(t *testing.T) {
				failure := at.failure
				args := arguments(t, "redis://"+user+":"+password+"@"+at.address)
				grpc, id, log := serveSim(t, append(args, "--sim-users", "3")...)
				deadline := time.Now().Add(time.Minute)
				for !strings.Contains(log.String(), failure) {
					if time.Now().After(deadline) {
						t.Fatalf("the log says nothing of Redis:\n%s", log)
					}
					time.Sleep(10 * time.Millisecond)
				}
				shown := shownByHTTP(t, log)
				for _, command := range [][]string{{"get", id}, {"quota"}, {"quota", "-o", "json"}, {"health"}} {
					_, out, errs := runCommand(t, append(command, "--address", grpc)...)
					shown += out + errs
				}
				_, out, errs := runCommand(t, append([]string{"config", "check", "--sim"}, args...)...)
				for what, text := range map[string]string{"the log": log.String(), "an answer": shown, "config check": out + errs} {
					if i := strings.Index(text, "hushredis"); i >= 0 {
						t.Errorf("%s shows …%s…", what, text[max(0, i-200):min(len(text), i+200)])
					}
				}
			})
		}
	}
}

// repeatingRedis is a server that knows no command and repeats each with its arguments, as
// Redis does. It returns its address.
func repeatingRedis(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go repeatCommands(conn)
		}
	}()
	return listener.Addr().String()
}

func repeatCommands(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line := func() string {
		text, _ := in.ReadString('\n')
		return strings.TrimSpace(text)
	}
	for {
		words, err := strconv.Atoi(strings.TrimPrefix(line(), "*"))
		if err != nil {
			return
		}
		var command []string
		for range words {
			line() // the length
			command = append(command, line())
		}
		if _, err := fmt.Fprintf(conn, "-ERR unknown command '%s', with args beginning with: '%s' \r\n", command[0], strings.Join(command[1:], "' '")); err != nil {
			return
		}
	}
}

// shownByHTTP returns the metrics and the page of a server, by its log.
func shownByHTTP(t *testing.T, log *output) string {
	t.Helper()
	at := servingHTTP.FindStringSubmatch(log.String())
	if at == nil {
		t.Fatalf("no address in the log:\n%s", log)
	}
	k := &keyed{t: t, http: "http://" + at[1]}
	defer http.DefaultClient.CloseIdleConnections()
	var all string
	for _, path := range []string{"/metrics", "/", "/page/state", "/readyz"} {
		_, text := k.answer(path)
		all += text
	}
	return all
}

// TestBadSecretsAreNotShown: the errors about settings that hold secrets show none of them.
// Subtests have numbers, since their names stand in the paths of temporary files.
func TestBadSecretsAreNotShown(t *testing.T) {
	const hush = "hushbadsecret"
	leaktest.Secret("a secret in a bad setting", hush)
	refused := func(t *testing.T, args ...string) {
		t.Helper()
		for _, command := range [][]string{{"serve", "--sim"}, {"config", "check", "--sim"}} {
			code, out, errs := runCommand(t, append(command, args...)...)
			if code != exitUsage || strings.Contains(out+errs, hush) {
				t.Errorf("%v: exit code %d: %s%s", command, code, out, errs)
			}
		}
	}
	for way, arguments := range redisURLWays {
		for i, url := range []string{
			"redis://user:" + hush + "@local host:6379", "redis://user:" + hush + "#x@127.0.0.1:6379", "redis://user:" + hush + "@127.0.0.1:port",
			"redis//user:" + hush + "@127.0.0.1", "redis://user:%zz" + hush + "@127.0.0.1", "redis://127.0.0.1/" + hush, "redis://127.0.0.1?password=" + hush, "'redis://:" + hush + "@127.0.0.1'",
		} {
			t.Run(fmt.Sprint(way, i), func(t *testing.T) { refused(t, arguments(t, url)...) })
		}
	}
	for name, line := range map[string]string{"no id": hush, "no base64": "k1 " + hush + "!", "too short": "k1 " + hush} {
		t.Run("cache key with "+name, func(t *testing.T) {
			refused(t, "--redis-url", "redis://127.0.0.1:1", "--cache-encryption-key-file", secretFile(t, line))
		})
	}
	for i, headers := range []string{hush, "bad name=" + hush, "a=%zz" + hush} {
		t.Run(fmt.Sprint("collector", i), func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
			refused(t, "--tracing", "otlp")
		})
	}
	for i, proxy := range []string{"http://user:" + hush + "@proxy example:1", "ftp://user:" + hush + "@proxy.example", "http://user:" + hush + "@:port"} {
		t.Run(fmt.Sprint("proxy", i), func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", proxy)
			t.Setenv(secretKeyEnv, secret)
			code, out, errs := runCommand(t, "config", "check", "--clerk-api-url", "https://clerk.example")
			if code != exitUsage || strings.Contains(out+errs, hush) {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
		})
	}
}
