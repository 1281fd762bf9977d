package clerkapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestProxies requests a Clerk that only a proxy can reach, or that NO_PROXY exempts.
func TestProxies(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		t.Setenv(name, "")
	}
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		if r.Method == http.MethodConnect {
			http.Error(w, "no way", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, countAnswer)
	}))
	defer proxy.Close()
	tests := []struct {
		name, base, env, value, except string
		want                           bool // through the proxy
	}{
		{"http", "http://clerk.test", "HTTP_PROXY", proxy.URL, "", true},
		{"http, lower case", "http://clerk.test", "http_proxy", proxy.URL, "", true},
		{"https", "https://clerk.test", "HTTPS_PROXY", proxy.URL, "", true},
		{"http by the other's", "http://clerk.test", "HTTPS_PROXY", proxy.URL, "", false},
		{"excepted", "http://clerk.test", "HTTP_PROXY", proxy.URL, ".test", false},
		{"on this machine", "http://127.0.0.1:1", "HTTP_PROXY", proxy.URL, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(test.env, test.value)
			t.Setenv("NO_PROXY", test.except)
			proxied.Store(0)
			client := clientOf(t, Config{BaseURL: test.base})
			_, err := client.CountUsers(t.Context(), nil)
			if got := proxied.Load() == 1; got != test.want {
				t.Errorf("the proxy was asked %d times", proxied.Load())
			}
			if works := test.want && strings.HasPrefix(test.base, "http:"); works != (err == nil) {
				t.Errorf("got %v", err)
			}
			if err != nil { // no tunnel, or an unknown host
				wantError(t, err, ErrUnavailable, true)
			}
		})
	}
}

func TestAProxyThatIsNoneIsAnError(t *testing.T) {
	for _, value := range []string{"http://a:hidden@x:y:z", "gopher://a:hidden@x.example", "http://a:hidden\x01@x", "http://"} {
		t.Setenv("HTTPS_PROXY", value)
		_, err := New(Config{Key: func() string { return testKey }})
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "HTTPS_PROXY") {
			t.Errorf("got %v", err)
		}
	}
	for _, value := range []string{"", "proxy.example:3128", "http://a:b@proxy.example", "socks5://127.0.0.1:1080"} {
		t.Setenv("HTTPS_PROXY", value)
		if _, err := New(Config{Key: func() string { return testKey }}); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}
