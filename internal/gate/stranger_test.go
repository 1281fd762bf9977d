package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// pipes is a listener whose connections are in memory, so that they work in a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// overHTTP runs a gate before a Clerk that answers over HTTP, all in virtual time.
func overHTTP(t *testing.T, clerk http.HandlerFunc, cfg Config, f func(*testing.T, *Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		server := &http.Server{Handler: clerk}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(listener)
		}()
		key := testKey(t, "abc")
		client, err := clerkapi.New(clerkapi.Config{BaseURL: "http://clerk.test", Key: key.Secret, DialContext: listener.dial})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Upstream, cfg.Key = client, func() clerkapi.Key { return key }
		g := New(cfg)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = g.Run(ctx)
		}()
		f(t, g)
		stop()
		<-ended
		client.CloseIdleConnections()
		_ = server.Close()
		<-served
		time.Sleep(time.Minute) // until all calls have come to their deadlines
	})
}

// healthy answers as Clerk does for users that exist.
func healthy(w http.ResponseWriter, r *http.Request) {
	user := func(id string) string { return `{"id":"` + id + `"}` }
	switch path := r.URL.Path; {
	case path == "/v1/users/count":
		_, _ = io.WriteString(w, `{"object":"total_count","total_count":1}`)
	case strings.HasPrefix(path, "/v1/users/"):
		_, _ = io.WriteString(w, user(strings.TrimPrefix(path, "/v1/users/")))
	default:
		var users []string
		for _, id := range r.URL.Query()["user_id"] {
			users = append(users, user(id))
		}
		_, _ = io.WriteString(w, "["+strings.Join(users, ",")+"]")
	}
}

// wild answers at random: with any status, headers and body, at any time.
type wild struct {
	mu  sync.Mutex
	rnd *rand.Rand
	n   int // answers so far
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (c *wild) answer(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.n++
	rnd := c.rnd
	status := pick(rnd, 200, 200, 200, 201, 204, 301, 302, 304, 400, 401, 401, 402, 403, 403, 404, 404, 405, 408, 409, 410, 413, 414,
		418, 421, 422, 425, 426, 428, 429, 429, 429, 431, 451, 499, 500, 500, 502, 503, 503, 504, 520, 599, 100+rnd.IntN(500))
	if status < 200 { // net/http would go on after it
		status += 200
	}
	code := pick(rnd, "authentication_invalid", "clerk_key_invalid", "authorization_invalid", "resource_not_found",
		"form_param_format_invalid", "organization_not_enabled_in_instance", "too_many_requests", "internal_clerk_error", "a b", "")
	user := fmt.Sprintf(`{"id":"user_bad%d","banned":%s,"updated_at":%s}`, rnd.IntN(50), pick(rnd, "1", "{}", `"x"`, "false"), pick(rnd, "1.5", "[]", "7"))
	// Not "[]", which is a valid answer: there are no such users.
	body := pick(rnd, "", "<html>Just a moment...</html>", "{", "null", "[1]", "[null]", "["+user+"]", "["+user+","+user+"]", user, `{"total_count":"x"}`,
		`{"errors":[{"message":"m","code":"`+code+`"}]}`, `{"errors":[{"message":"m","code":"`+code+`"}]}`, strings.Repeat("x", rnd.IntN(100_000)))
	h := w.Header()
	if rnd.IntN(2) == 0 {
		h.Set("Retry-After", pick(rnd, "0", "1", "7", "60", "600", "86400", "soon", "-1", "1.5", fmt.Sprint(time.Now().Unix()+2),
			time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	}
	if rnd.IntN(3) == 0 {
		h.Set("X-RateLimit-Limit", pick(rnd, "1", "100", "x"))
		h.Set("X-RateLimit-Remaining", pick(rnd, "0", "99", "x"))
		h.Set("X-RateLimit-Reset", pick(rnd, "0", "300", "x"))
	}
	h.Set("Content-Type", pick(rnd, "application/json", "text/html"))
	h.Set("Location", "/v1/users")
	delay := pick(rnd, 0, 0, time.Duration(rnd.IntN(300))*time.Millisecond, time.Duration(rnd.IntN(300))*time.Millisecond)
	if rnd.IntN(200) == 0 {
		delay = time.Duration(rnd.IntN(13)) * time.Second
	}
	cut, abort := rnd.IntN(20) == 0, rnd.IntN(20) == 0
	c.mu.Unlock()

	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	if abort {
		panic(http.ErrAbortHandler)
	}
	if cut {
		h.Set("Content-Length", fmt.Sprint(len(body)+7))
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	if cut {
		panic(http.ErrAbortHandler)
	}
}

func (c *wild) answers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// TestNobodyElseSeesOnesTrouble: all requests that one caller has a part in, also those
// that it shares with others, get 10,000 random answers. The calls of other callers for
// healthy users go on meanwhile, and all of them are answered.
func TestNobodyElseSeesOnesTrouble(t *testing.T) {
	const seeds, each = 4, 2500
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			clerk := &wild{rnd: rand.New(rand.NewPCG(seed, 1))}
			handler := func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.String(), "bad") {
					clerk.answer(w, r)
					return
				}
				healthy(w, r)
			}
			overHTTP(t, handler, Config{Quota: quota.Config{Limit: 1000}}, func(t *testing.T, g *Gate) {
				ctx, stop := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				for i := range 20 {
					rnd := rand.New(rand.NewPCG(seed, uint64(i+2)))
					callers.Go(func() { // the one in trouble
						for ctx.Err() == nil && clerk.answers() < each {
							one, cancel := context.WithTimeout(ctx, time.Duration(1+rnd.IntN(30))*time.Second)
							o := Options{Caller: "trouble", Fresh: true, Priority: Priority(rnd.IntN(2))}
							switch rnd.IntN(4) {
							case 0:
								query := "bad"
								_, _ = g.List(one, clerkapi.ListParams{Limit: 1 + rnd.IntN(500), Filter: &clerkgatev1.UserFilter{Query: &query}}, o)
							case 1:
								query := fmt.Sprint("bad", rnd.IntN(1000))
								_, _ = g.Count(one, &clerkgatev1.UserFilter{Query: &query}, o)
							default:
								_ = g.Lookup(one, userIDs(fmt.Sprint("bad", rnd.IntN(50), "x"), 1+rnd.IntN(5)), o)
							}
							cancel()
						}
					})
				}
				answered := 0
				var mu sync.Mutex
				healthyCall := func(who string, call func(context.Context, Options) error) {
					callers.Go(func() {
						for ctx.Err() == nil {
							one, cancel := context.WithTimeout(ctx, time.Minute)
							err := call(one, Options{Caller: who, Fresh: true})
							cancel()
							if errors.Is(err, context.Canceled) {
								return
							}
							if err != nil {
								t.Errorf("%s: after %d answers: %v", who, clerk.answers(), err)
							}
							mu.Lock()
							answered++
							mu.Unlock()
							time.Sleep(50 * time.Millisecond)
						}
					})
				}
				for i := range 4 {
					who := fmt.Sprint("other", i)
					healthyCall(who, func(ctx context.Context, o Options) error {
						for _, r := range g.Lookup(ctx, userIDs("good"+who, 1+i*20), o) {
							if r.Err != nil {
								return r.Err
							}
						}
						return nil
					})
				}
				healthyCall("lister", func(ctx context.Context, o Options) error {
					_, err := g.List(ctx, clerkapi.ListParams{Limit: 5}, o)
					return err
				})
				start := time.Now()
				for clerk.answers() < each {
					time.Sleep(time.Second)
				}
				stop()
				callers.Wait()
				mu.Lock()
				defer mu.Unlock()
				t.Logf("%d random answers in %v, %d calls of others", clerk.answers(), time.Since(start), answered)
				if perSecond := float64(answered) / time.Since(start).Seconds(); perSecond < 5 {
					t.Errorf("others had %.1f calls answered a second, want 5 at least", perSecond)
				}
			})
		})
	}
}
