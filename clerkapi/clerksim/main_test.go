package clerksim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "sk_test_simulated"

// newSim returns a simulator with a few users.
func newSim(t testing.TB, config Config) *Sim {
	t.Helper()
	if config.Users == 0 {
		config.Users = 200
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask calls the handler directly, with a valid key.
func ask(s http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Authorization", "Bearer "+testKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// askIDs requests users and returns their ids.
func askIDs(t *testing.T, s http.Handler, target string) []string {
	t.Helper()
	w := ask(s, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", target, w.Code, w.Body)
	}
	ids := []string{}
	for _, u := range decode[[]User](t, w.Body.Bytes()) {
		ids = append(ids, u.ID)
	}
	return ids
}

func decode[T any](t *testing.T, text []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return v
}

// protocol is a way to reach a served simulator.
type protocol struct {
	name  string
	tls   bool
	proto string // in the form of http.Response
}

var protocols = []protocol{{"HTTP/1.1", false, "HTTP/1.1"}, {"HTTP/2", true, "HTTP/2.0"}}

// serve serves s on a loopback port until the test ends and returns its address
// and a client for it.
func serve(t testing.TB, s *Sim, secure bool) (url string, client *http.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + ln.Addr().String()
	transport := &http.Transport{}
	var config *tls.Config
	if secure {
		var ca []byte
		if config, ca, err = SelfSigned(); err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(ca) {
			t.Fatal("no certificate to trust")
		}
		url = "https://" + ln.Addr().String()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		transport.ForceAttemptHTTP2 = true
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(ctx, ln, config) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return url, &http.Client{Transport: transport}
}

// fetch gets target and reads the whole answer.
func fetch(ctx context.Context, client *http.Client, target string) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, errors.Join(err, resp.Body.Close())
}
