package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// everybody lets everybody see everything.
func everybody(drain context.Context) Access {
	return Access{
		Names: func(*http.Request) bool { return true },
		Enter: func(r *http.Request) (context.Context, func(), error) { return r.Context(), func() {}, nil }, Drain: drain,
	}
}

// TestPaths checks the answer of each path and method.
func TestPaths(t *testing.T) {
	p := New(newFake().sources())
	p.sample()
	server := httptest.NewServer(Secure(p.Handler(everybody(t.Context()))))
	defer server.Close()
	for _, tt := range []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"POST", "/", 405, ""},
		{"GET", "/page/app.js", 200, "text/javascript; charset=utf-8"},
		{"HEAD", "/page/app.css", 200, "text/css; charset=utf-8"},
		{"GET", "/page/plot.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page/table.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page/icon.svg", 200, "image/svg+xml"},
		{"DELETE", "/page/app.js", 405, ""},
		{"GET", "/page/state", 200, "application/json"},
		{"HEAD", "/page/events", 200, "text/event-stream"},
		{"PUT", "/page/events", 405, ""},
		{"GET", "/page/", 404, ""},
		{"GET", "/page/index.html", 404, ""},
		{"GET", "/elsewhere", 404, ""},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || (len(body) > 0) != (tt.method != "HEAD") {
				t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(body), err)
			}
			if tt.contentType != "" && resp.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("Content-Type %q", resp.Header.Get("Content-Type"))
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
		})
	}
}

// TestPolicy checks that the policy holds the page's own files only.
func TestPolicy(t *testing.T) {
	html := string(mustRead("index.html"))
	for what, pattern := range map[string]string{
		"a script in the page": `<script[^>]*>[^<]`, "a style in the page": `<style|\sstyle=`, "a handler": `\son\w+=`, "another host": `https?://`,
	} {
		if found := regexp.MustCompile(pattern).FindString(html); found != "" {
			t.Errorf("%s: %s", what, found)
		}
	}
	for name := range contentTypes {
		text := strings.ReplaceAll(string(mustRead(name)), "http://www.w3.org/2000/svg", "")
		if strings.Contains(text, "://") || strings.Contains(text, "innerHTML") {
			t.Errorf("%s names another host, or sets markup", name)
		}
		if !strings.Contains(html, "page/"+name) && !strings.Contains(string(mustRead("app.js")), "./"+name) {
			t.Errorf("%s is used nowhere", name)
		}
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error("the policy allows what is unsafe")
	}
}

// TestPageBeforeScripts checks that the page has the first line in it, and escapes it.
func TestPageBeforeScripts(t *testing.T) {
	f := newFake()
	f.status.KeyRefused = true
	s := f.sources()
	s.KeyPlace = "<b>"
	p := New(s)
	w := httptest.NewRecorder()
	p.serveIndex(w, nil)
	if !strings.Contains(w.Body.String(), "Starting.") {
		t.Errorf("before the first sample: %s", w.Body)
	}
	p.sample()
	w = httptest.NewRecorder()
	p.serveIndex(w, nil)
	for _, want := range []string{"put a valid one into &lt;b&gt;.", "The environment is read only at the start.", "v1.2.3", `data-build="` + build} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, w.Body)
		}
	}
}

// watcher is a viewer over a pipe.
type watcher struct {
	conn   net.Conn
	reader *bufio.Reader
}

// watchIn has somebody watch. Nothing is buffered between the two.
func watchIn(t *testing.T, h http.Handler) *watcher {
	t.Helper()
	here, there := net.Pipe()
	server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second}
	listener := &oneListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.conns <- there
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = here.Close(); _ = server.Close(); <-served })
	if _, err := io.WriteString(here, "GET /page/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(here), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return &watcher{here, nil}
	}
	return &watcher{here, bufio.NewReader(resp.Body)}
}

type oneListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *oneListener) Close() error   { close(l.closed); return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// next returns the name and the data of the next message.
func (w *watcher) next() (event, data string, err error) {
	for {
		line, err := w.reader.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		switch {
		case err != nil:
			return "", "", err
		case line == "":
			return event, data, nil
		case strings.HasPrefix(line, "event: "):
			event = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		}
	}
}

// TestEventsCome checks the order of messages, and that they come for longer than the
// server's own deadlines allow.
func TestEventsCome(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake, p *Page) {
		w := watchIn(t, p.Handler(everybody(t.Context())))
		for i, want := range []string{"hello", "state", "tick", "tick", "tick"} {
			if event, data, err := w.next(); event != want || !json.Valid([]byte(data)) || err != nil {
				t.Fatalf("message %d: %s, %v", i, event, err)
			}
		}
		f.change(func() { f.status.Breaker.TimesOpened++ })
		for i, want := range []string{"state", "tick", "tick"} {
			if event, _, err := w.next(); event != want || err != nil {
				t.Fatalf("message %d after a change: %s, %v", i, event, err)
			}
		}
		for range 100 {
			if _, _, err := w.next(); err != nil {
				t.Fatal(err)
			}
		}
		if p.viewers != 1 {
			t.Errorf("%d viewers", p.viewers)
		}
		_ = w.conn.Close()
		time.Sleep(2 * every)
		synctest.Wait()
		if p.viewers != 0 {
			t.Error("a viewer who has left counts")
		}
	})
}

// TestWatchesEnd checks what ends a watch: that its viewer takes nothing, that the server
// stops, and that it has gone on for long.
func TestWatchesEnd(t *testing.T) {
	for name, end := range map[string]func(w *watcher, stop func()) time.Duration{
		"a slow viewer": func(*watcher, func()) time.Duration { time.Sleep(viewerTimeout + every); return 0 },
		"the server stops": func(w *watcher, stop func()) time.Duration {
			stop()
			_, _ = io.Copy(io.Discard, w.reader)
			return 0
		},
		"a long watch": func(w *watcher, _ func()) time.Duration {
			_, _ = io.Copy(io.Discard, w.reader)
			return maxWatch
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake, p *Page) {
				drain, stop := context.WithCancel(t.Context())
				defer stop()
				began := time.Now()
				w := watchIn(t, p.Handler(everybody(drain)))
				want := end(w, stop)
				synctest.Wait()
				if p.viewers != 0 {
					t.Error("it goes on")
				}
				if took := time.Since(began); want > 0 && (took < want || took > want+every) {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestViewersAreLimited checks that viewers are refused: too many, and those that the
// server refuses.
func TestViewersAreLimited(t *testing.T) {
	p := New(newFake().sources())
	p.sample()
	refused := func(a Access) bool {
		w := httptest.NewRecorder()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		p.Handler(a).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/page/events", nil))
		return w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != ""
	}
	if refused(everybody(t.Context())) {
		t.Error("the first viewer is refused")
	}
	for range maxViewers {
		leave, err := p.join()
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	if !refused(everybody(t.Context())) {
		t.Error("one viewer too many is taken")
	}
	a := everybody(t.Context())
	a.Enter = func(*http.Request) (context.Context, func(), error) { return nil, nil, errors.New("no") }
	if !refused(a) {
		t.Error("a viewer whom the server refuses is taken")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if !refused(everybody(ended)) {
		t.Error("a viewer is taken while the server stops")
	}
}
