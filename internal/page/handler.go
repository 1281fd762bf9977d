package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assets embed.FS

var index = template.Must(template.ParseFS(assets, "assets/index.html"))

// contentTypes are the files that are served below /page/.
var contentTypes = map[string]string{
	"app.js": "text/javascript; charset=utf-8", "plot.js": "text/javascript; charset=utf-8", "table.js": "text/javascript; charset=utf-8",
	"app.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
}

// build names the version of the assets.
var build = func() string {
	h := sha256.New()
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		h.Write(mustRead(e.Name()))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}()

func mustRead(name string) []byte {
	b, err := assets.ReadFile(path.Join("assets", name))
	if err != nil {
		panic(err)
	}
	return b
}

// policy lets the page load its own files only, and forbids frames around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Secure sets the headers of all answers of the page, refusals included.
func Secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Access decides what a viewer may see and how long it may watch. The functions receive
// requests that the server has admitted already.
type Access struct {
	// Names reports whether a viewer may see the callers and the settings.
	Names func(*http.Request) bool
	// Enter counts a viewer who watches until leave is called, or refuses it. The watch ends
	// with ctx.
	Enter func(*http.Request) (ctx context.Context, leave func(), err error)
	// Drain ends all watches.
	Drain context.Context
}

// Handler serves the page at / and its parts below /page/: the assets, events (server-sent
// events) and state (the same once, as JSON).
func (p *Page) Handler(a Access) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveIndex)
	for name, contentType := range contentTypes {
		mux.HandleFunc("GET /page/"+name, serveAsset(name, contentType))
	}
	mux.HandleFunc("GET /page/state", func(w http.ResponseWriter, r *http.Request) { p.serveState(w, a.Names(r)) })
	mux.HandleFunc("GET /page/events", func(w http.ResponseWriter, r *http.Request) { p.serveEvents(w, r, a) })
	return mux
}

// serveIndex serves the page itself, with the first line in it.
func (p *Page) serveIndex(w http.ResponseWriter, _ *http.Request) {
	data := struct {
		Build, Version string
		Headline       Headline
		Conditions     []Advice
	}{Build: build, Version: p.sources.Version, Headline: Headline{string(Starting), string(Warning), "Starting."}}
	if now := p.latest(); now != nil {
		data.Headline, data.Conditions = Tell(now.view), Advise(now.view)
	}
	var b bytes.Buffer
	if err := index.Execute(&b, data); err != nil {
		http.Error(w, "the page can't be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// serveAsset serves a file that browsers may keep until it changes.
func serveAsset(name, contentType string) http.HandlerFunc {
	content := mustRead(name)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", `"`+build+`"`)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}
}

// serveState serves the current state once, as JSON.
func (p *Page) serveState(w http.ResponseWriter, names bool) {
	now := p.latest()
	if now == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(struct {
		Hello *helloReport    `json:"hello"`
		Tick  json.RawMessage `json:"tick"`
		State json.RawMessage `json:"state"`
	}{p.helloOf(names), now.tick(), now.state[names]()}))
}

// serveEvents serves server-sent events until the viewer leaves, a write to it fails, or
// the server stops.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request, a Access) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	ctx, leave, err := a.Enter(r)
	if err == nil {
		defer leave()
		if leave, err = p.join(); err == nil {
			defer leave()
		}
	}
	if err != nil || a.Drain.Err() != nil {
		if err == nil {
			err = fmt.Errorf("the server is stopping")
		}
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.Drain, cancel)()
	p.watch(ctx, w, a.Names(r))
}
