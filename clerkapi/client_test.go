package clerkapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const testKey = "sk_test_abcdefgh"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client of a server with the given handler.
func newClient(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return clientOf(t, Config{BaseURL: server.URL, Version: "1.2.3"})
}

func clientOf(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Key = func() string { return testKey }
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// body answers every request with status 200 and text.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// wantError checks that err is an *Error of one kind only, sent or not, and that its text
// shows no key.
func wantError(t *testing.T, err, kind error, notSent bool) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	for _, k := range []error{ErrNotFound, ErrRejected, ErrRateLimited, ErrKeyRejected, ErrPlanLimit, ErrUnavailable, ErrBadAnswer, ErrAbandoned, ErrRefused, ErrTooLarge, ErrUnreadable} {
		if errors.Is(err, k) != (k == kind) {
			t.Errorf("got %v, want %v alone", err, kind)
		}
	}
	if errors.Is(err, ErrNotSent) != notSent {
		t.Errorf("%v: not sent %v, want %v", err, !notSent, notSent)
	}
	if timedOut := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled); timedOut != (kind == ErrAbandoned) {
		t.Errorf("%v: passes for the end of a context: %v", err, timedOut)
	}
	if text := e.Error() + e.Message; strings.Contains(text, "abcdefgh") {
		t.Errorf("the error shows a key: %s", text)
	}
	return e
}

func TestNew(t *testing.T) {
	key := func() string { return testKey }
	tests := []struct {
		name string
		cfg  Config
		base string // "" if New must fail
	}{
		{"defaults", Config{Key: key}, "https://api.clerk.com/v1"},
		{"slash", Config{Key: key, BaseURL: "http://127.0.0.1:1/"}, "http://127.0.0.1:1/v1"},
		{"path", Config{Key: key, BaseURL: "https://x.example/clerk"}, "https://x.example/clerk/v1"},
		{"with /v1", Config{Key: key, BaseURL: "https://x.example/v1/"}, ""},
		{"no key", Config{}, ""},
		{"no scheme", Config{Key: key, BaseURL: "x.example"}, ""},
		{"other scheme", Config{Key: key, BaseURL: "ftp://x.example"}, ""},
		{"password", Config{Key: key, BaseURL: "https://a:hidden@x.example"}, ""},
		{"query", Config{Key: key, BaseURL: "https://x.example?hidden"}, ""},
		{"unreadable", Config{Key: key, BaseURL: "https://hidden\x00"}, ""},
		{"negative timeout", Config{Key: key, Timeout: -1}, ""},
		{"negative size", Config{Key: key, MaxBodyBytes: -1}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := New(test.cfg)
			if test.base == "" {
				if err == nil || strings.Contains(err.Error(), "hidden") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if client.base != test.base || client.userAgent != "clerkgate/dev" || client.timeout != 10*time.Second || client.maxBody != 32<<20 {
				t.Errorf("got %+v", client)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	var got *http.Request
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Clerk-Trace-Id", "trace1")
		w.Header().Set("X-RateLimit-Limit", "100")
		w.Header().Set("X-RateLimit-Remaining", "42")
		w.Header().Set("X-RateLimit-Reset", "3")
		switch r.URL.Path {
		case "/v1/users/count":
			_, _ = io.WriteString(w, `{"object":"total_count","total_count":7}`)
		case "/v1/users/user_a":
			_, _ = io.WriteString(w, `{"id":"user_a"}`)
		default:
			_, _ = io.WriteString(w, `[{"id":"user_b"},{"id":"user_a"}]`)
		}
	})
	var ids []string
	tests := []struct {
		name string
		call func(context.Context) (Meta, error)
		url  string
		ids  string
	}{
		{"one", func(ctx context.Context) (Meta, error) {
			l, err := client.LookupUsers(ctx, []string{"user_a"})
			if err != nil {
				return Meta{}, err
			}
			ids = found(l)
			return l.Meta, nil
		}, "/v1/users/user_a", "user_a"},
		{"many", func(ctx context.Context) (Meta, error) {
			l, err := client.LookupUsers(ctx, []string{"user_a", "user_b", "user_c"})
			if err != nil {
				return Meta{}, err
			}
			ids = found(l)
			return l.Meta, nil
		}, "/v1/users?limit=100&user_id=user_a&user_id=user_b&user_id=user_c", "user_a user_b none"},
		{"list", func(ctx context.Context) (Meta, error) {
			p, err := client.ListUsers(ctx, ListParams{Limit: 2, OrderBy: "+created_at", StartingAfter: "user_z"})
			if err != nil {
				return Meta{}, err
			}
			ids = []string{p.Users[0].Id, p.Users[1].Id}
			return p.Meta, nil
		}, "/v1/users?limit=2&order_by=%2Bcreated_at&starting_after=user_z", "user_b user_a"},
		{"count", func(ctx context.Context) (Meta, error) {
			n, err := client.CountUsers(ctx, &clerkgatev1.UserFilter{ExcludedUserIds: list("user_a")})
			if err != nil {
				return Meta{}, err
			}
			ids = []string{fmt.Sprint(n.Total)}
			return n.Meta, nil
		}, "/v1/users/count?user_id=-user_a", "7"},
		{"count of all", func(ctx context.Context) (Meta, error) {
			n, err := client.CountUsers(ctx, nil)
			if err != nil {
				return Meta{}, err
			}
			ids = []string{fmt.Sprint(n.Total)}
			return n.Meta, nil
		}, "/v1/users/count", "7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			meta, err := test.call(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if meta.Answered.Before(begin) || meta.Answered.After(time.Now()) {
				t.Errorf("answered at %v, asked at %v", meta.Answered, begin)
			}
			meta.Answered = time.Time{}
			if want := (Meta{TraceID: "trace1", RateLimit: RateLimit{true, 100, 42, 3 * time.Second}}); meta != want {
				t.Errorf("got %+v, want %+v", meta, want)
			}
			if got.RequestURI != test.url {
				t.Errorf("got  %s\nwant %s", got.RequestURI, test.url)
			}
			if s := strings.Join(ids, " "); s != test.ids {
				t.Errorf("got %s, want %s", s, test.ids)
			}
			want := http.Header{
				"Authorization": {"Bearer " + testKey}, "Clerk-Api-Version": {"2026-05-12"},
				"User-Agent": {"clerkgate/1.2.3"}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"},
			}
			if diff := cmp.Diff(want, got.Header); diff != "" {
				t.Errorf("headers (-want +got)\n%s", diff)
			}
			if got.Method != http.MethodGet || got.ContentLength != 0 || got.TransferEncoding != nil {
				t.Errorf("%s with a body of %d, %v", got.Method, got.ContentLength, got.TransferEncoding)
			}
		})
	}
}

// found returns the ids of a lookup's users, and "none" or "bad" for others.
func found(l *Lookup) []string {
	var ids []string
	for _, r := range l.Results {
		switch {
		case r.User != nil && r.Err == nil:
			ids = append(ids, r.User.Id)
		case r.User == nil && errors.Is(r.Err, ErrNotFound):
			ids = append(ids, "none")
		case r.User == nil && errors.Is(r.Err, ErrBadAnswer):
			ids = append(ids, "bad")
		case r.User == nil && errors.Is(r.Err, ErrUnreadable):
			ids = append(ids, "unreadable")
		default:
			ids = append(ids, fmt.Sprintf("%+v", r))
		}
	}
	return ids
}

func TestParametersNeverLeave(t *testing.T) {
	client := newClient(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.RequestURI) })
	tooMany := make([]string, MaxLookup+1)
	for i := range tooMany {
		tooMany[i] = fmt.Sprintf("user_%d", i)
	}
	lookups := []struct {
		ids   []string
		field string
	}{
		{nil, "ids"},
		{tooMany, "ids"},
		{[]string{"-user_x"}, "ids[0]"},
		{[]string{"+user_x"}, "ids[0]"},
		{[]string{"../organizations"}, "ids[0]"},
		{[]string{"user_a", "-user_x"}, "ids[1]"},
		{[]string{"user_a", ""}, "ids[1]"},
		{[]string{"user_a", "user_b", "user_a"}, "ids[2]"},
	}
	for _, test := range lookups {
		_, err := client.LookupUsers(t.Context(), test.ids)
		wantField(t, err, test.field)
	}
	_, err := client.ListUsers(t.Context(), ListParams{Limit: 501})
	wantField(t, err, "limit")
	_, err = client.CountUsers(t.Context(), &clerkgatev1.UserFilter{UserIds: list()})
	wantField(t, err, "filter.user_ids.values")
}

func TestLookupAnswers(t *testing.T) {
	const a, b, c = `{"id":"user_a"}`, `{"id":"user_b"}`, `{"id":"user_c"}`
	tests := []struct {
		name   string
		ids    string
		answer string
		want   string // "" if the whole answer is bad
	}{
		{"all", "user_a user_b user_c", `[` + c + `,` + a + `,` + b + `]`, "user_a user_b user_c"},
		{"one missing", "user_a user_b", `[` + b + `]`, "none user_b"},
		{"none", "user_a user_b", ` [ ] `, "none none"},
		{"somebody else", "user_a user_b", `[` + a + `,` + c + `]`, ""},
		{"the same twice", "user_a user_b", `[` + a + `,` + a + `]`, ""},
		{"one of wrong shape", "user_a user_b", `[` + a + `,{"id":"user_b","scim":[]}]`, "user_a user_b"},
		{"one that can't be read", "user_a user_b", `[` + a + `,{"id":"user_b","banned":{}}]`, "user_a unreadable"},
		{"one too wild", "user_a user_b", `[{"updated_at":{},"id":"user_a"},` + b + `]`, "unreadable user_b"},
		{"somebody else who can't be read", "user_a user_b", `[` + a + `,{"id":"user_c","locked":[]}]`, ""},
		{"one without an id", "user_a user_b user_c", `[` + a + `,{"name":"x"},` + c + `]`, "user_a bad user_c"},
		{"null among them", "user_a user_b", `[` + a + `,null]`, "user_a bad"},
		{"cut off after a user", "user_a user_b", `[` + a, ""},
		{"cut off in a user", "user_a user_b", `[` + a + `,{"id":"user_b"`, ""},
		{"no comma", "user_a user_b", `[` + a + b + `]`, ""},
		{"an object", "user_a user_b", `{"data":[` + a + `]}`, ""},
		{"null", "user_a user_b", `null`, ""},
		{"nothing", "user_a user_b", ``, ""},
		{"HTML", "user_a user_b", `<html></html>`, ""},
		{"trailing rubbish", "user_a user_b", `[` + a + `]]`, ""},
		{"a second value", "user_a user_b", `[` + a + `] []`, ""},
		{"lone", "user_a", a, "user_a"},
		{"lone, somebody else", "user_a", b, ""},
		{"lone, a list", "user_a", `[` + a + `]`, ""},
		{"lone, wrong shape", "user_a", `{"id":"user_a","scim":[]}`, "user_a"},
		{"lone, can't be read", "user_a", `{"id":"user_a","deprovisioned":"perhaps"}`, "unreadable"},
		{"lone, without an id", "user_a", `{}`, ""},
		{"lone, cut off", "user_a", `{"id":"user_a"`, ""},
		{"lone, trailing rubbish", "user_a", a + `}`, ""},
		{"lone, nothing", "user_a", ``, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := newClient(t, body(test.answer))
			l, err := client.LookupUsers(t.Context(), strings.Fields(test.ids))
			if test.want == "" {
				if e := wantError(t, err, ErrBadAnswer, false); e.Status != 200 {
					t.Errorf("status %d", e.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(found(l), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestListAnswers(t *testing.T) {
	tests := []struct {
		name, answer, want string // want: ids, or "!" and a part of the error
	}{
		{"two", `[{"id":"user_a"},{"id":"user_b"}]`, "user_a user_b"},
		{"none", `[]`, ""},
		{"too many", `[{"id":"user_a"},{"id":"user_b"},{"id":"user_c"}]`, "!3 users, more than the 2"},
		{"one can't be read", `[{"id":"user_a"},{"id":"user_b","banned":[]}]`, "user_a (user_b)"},
		{"one has no id", `[null,{"id":"user_a"}]`, "() user_a"},
		{"none can be read", `[{"id":"user_a","locked":{}},{"id":"user_b","banned":[]}]`, "(user_a) (user_b)"},
		{"none has an id", `[{"name":"a"},{}]`, "!none of the 2 entries"},
		{"cut off", `[{"id":"user_a"},`, "!not complete JSON"},
		{"an object", `{}`, "!not a JSON array"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := newClient(t, body(test.answer))
			page, err := client.ListUsers(t.Context(), ListParams{Limit: 2})
			if part, bad := strings.CutPrefix(test.want, "!"); bad {
				wantError(t, err, ErrBadAnswer, false)
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %s", err, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			missing := page.Unreadable
			for i := 0; i <= len(page.Users); i++ {
				for ; len(missing) > 0 && missing[0].After == i; missing = missing[1:] {
					ids = append(ids, "("+missing[0].ID+")")
				}
				if i < len(page.Users) {
					ids = append(ids, page.Users[i].Id)
				}
			}
			if n := page.Entries(); n != len(ids) {
				t.Errorf("%d entries, want %d", n, len(ids))
			}
			if !slices.Equal(ids, strings.Fields(test.want)) {
				t.Errorf("got %v, want %s", ids, test.want)
			}
		})
	}
}

func TestCountAnswers(t *testing.T) {
	tests := []struct {
		answer string
		want   int64 // -1 if the answer is bad
	}{
		{`{"object":"total_count","total_count":0}`, 0},
		{`{"total_count":9007199254740993}`, 9007199254740993},
		{`{"total_count":-1}`, -1},
		{`{"total_count":null}`, -1},
		{`{"total_count":"7"}`, -1},
		{`{"object":"total_count"}`, -1},
		{`7`, -1},
		{``, -1},
		{`{"total_count":7}}`, -1},
	}
	for _, test := range tests {
		t.Run(test.answer, func(t *testing.T) {
			client := newClient(t, body(test.answer))
			count, err := client.CountUsers(t.Context(), nil)
			if test.want < 0 {
				wantError(t, err, ErrBadAnswer, false)
			} else if err != nil || count.Total != test.want {
				t.Errorf("got %v, %v", count, err)
			}
		})
	}
}
