package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/leaktest"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

type fakeStats struct{}

func (fakeStats) Stats() usercache.Stats { return usercache.Stats{} }

func pageSources() *page.Sources {
	return &page.Sources{Store: fakeStats{}, Settings: []page.Setting{{Name: "quota", Value: "100/10s"}}, KeyPlace: "/etc/key"}
}

// TestPageOverHTTP checks who may have the page, and the names and settings on it.
func TestPageOverHTTP(t *testing.T) {
	up := &fakeUpstream{}
	up.status.Callers.Busiest = []usage.Counts{{Name: "billing"}, {Name: "operator"}}
	up.health.KeyTaken = true
	g := startGuarded(t, Config{Page: pageSources(), Users: up, Quota: up})
	operator, looker := caller.NewToken(), caller.NewToken()
	g.write(t, `  - {name: operator, identity: {tokens: [{sha256: `+caller.HashToken(operator)+`}]}, allow: {methods: [GetQuota, GetUsage], max_lookups: 10/1s, streams: 1}}
  - {name: looker, identity: {tokens: [{sha256: `+caller.HashToken(looker)+`}]}, allow: {methods: [GetQuota]}}
`)
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: leaktest.Transport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool()}})}
	defer client.CloseIdleConnections()
	ask := func(path, password string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.at.HTTP.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("any", password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for _, path := range []string{"/", "/page/app.js", "/page/state", "/page/events"} {
		for password, want := range map[string]int{"": 401, "cgt_x": 401, g.scrape: 403, g.token: 403} {
			resp := ask(path, password)
			resp.Body.Close()
			if resp.StatusCode != want || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s with %q: %d, want %d", path, password, resp.StatusCode, want)
			}
		}
	}
	state := func(password string) string {
		resp := ask("/page/state", password)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		return string(body)
	}
	if all := state(operator); !strings.Contains(all, `"billing"`) || !strings.Contains(all, "10 lookups per second") || !strings.Contains(all, "100/10s") {
		t.Errorf("who may call GetUsage sees %s", all)
	}
	if some := state(looker); strings.Contains(some, "billing") || strings.Contains(some, "100/10s") {
		t.Errorf("who may not call GetUsage sees %s", some)
	}

	watch := ask("/page/events", operator)
	defer watch.Body.Close()
	if line, err := bufio.NewReader(watch.Body).ReadString('\n'); line != "event: hello\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	second := ask("/page/events", operator)
	second.Body.Close()
	if second.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second stream of a caller that may have one: %d", second.StatusCode)
	}
}

// TestPageEndsWithTheServer checks that those who watch do not keep a server from stopping.
func TestPageEndsWithTheServer(t *testing.T) {
	var watch *http.Response
	t.Run("serve", func(t *testing.T) {
		s := startSecured(t, Config{Page: pageSources()})
		req, err := http.NewRequest(http.MethodGet, "http://"+s.at.HTTP.String()+"/page/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		if watch, err = http.DefaultClient.Do(req); err != nil || watch.StatusCode != 200 {
			t.Fatalf("%v, %v", watch, err)
		}
	}) // it stops here
	defer http.DefaultClient.CloseIdleConnections()
	defer watch.Body.Close()
	_, _ = io.Copy(io.Discard, watch.Body) // it ends, in order or not
}

// TestPageOfAnOpenServer checks that a server that answers everybody on the network hides
// its settings.
func TestPageOfAnOpenServer(t *testing.T) {
	for _, open := range []bool{false, true} {
		s := startSecured(t, Config{Page: pageSources(), Unauthenticated: open})
		var body []byte
		var err error
		for deadline := time.Now().Add(10 * time.Second); len(body) == 0 && time.Now().Before(deadline); {
			var resp *http.Response
			if resp, err = http.Get("http://" + s.at.HTTP.String() + "/page/state"); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK { // else it has not looked yet
				body, err = io.ReadAll(resp.Body)
			}
			resp.Body.Close()
		}
		if shown := strings.Contains(string(body), "100/10s"); err != nil || shown == open {
			t.Errorf("open to the network %v: settings are shown: %v", open, shown)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
