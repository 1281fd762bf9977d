package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	svix "github.com/svix/svix-webhooks/go"
	"go.uber.org/goleak"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret returns a signing secret of 24 equal bytes.
func secret(letter string) string {
	return secretPrefix + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 24)))
}

// recorder is a sink that records its calls.
type recorder struct {
	mu       sync.Mutex
	calls    []string // such as "updated user_1 Ada"
	at       []time.Time
	recorded map[string]bool
	fail     map[string]error // by the first word of a call
	hang     bool             // every call blocks until its context ends
}

func (r *recorder) call(ctx context.Context, at time.Time, name string, rest ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := r.fail[name]; err != nil {
		return err
	}
	r.calls = append(r.calls, strings.TrimSpace(fmt.Sprintln(append([]any{name}, rest...)...)))
	r.at = append(r.at, at)
	return nil
}

func (r *recorder) Updated(ctx context.Context, u *clerkgatev1.User, at time.Time) error {
	return r.call(ctx, at, "updated", u.Id, u.GetFirstName())
}

func (r *recorder) Deleted(ctx context.Context, id string, at time.Time) error {
	return r.call(ctx, at, "deleted", id)
}

func (r *recorder) Invalidate(ctx context.Context, ids []string) error {
	return r.call(ctx, time.Time{}, "invalidate", strings.Join(ids, " "))
}

func (r *recorder) Seen(ctx context.Context, id string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recorded[id], r.fail["seen"]
}

func (r *recorder) Record(ctx context.Context, id string) error {
	err := r.call(ctx, time.Time{}, "record", id)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.recorded == nil {
			r.recorded = map[string]bool{}
		}
		r.recorded[id] = true
	}
	return err
}

// user returns a user in an event, with all fields of Clerk's API except those in
// without.
func user(without ...string) string {
	values := map[string]string{
		"id": `"user_1"`, "object": `"user"`, "first_name": `"Ada"`,
		"email_addresses": `[]`, "phone_numbers": `[]`, "web3_wallets": `[]`, "passkeys": `[]`,
		"external_accounts": `[]`, "saml_accounts": `[]`, "enterprise_accounts": `[]`,
		"public_metadata": `{}`, "private_metadata": `{"a":1,"a":2}`, "unsafe_metadata": `{"s":"\ud800"}`,
		"created_at": `1716883200000`, "updated_at": `1716883200000`,
	}
	var fields []string
	for _, name := range always {
		value, ok := values[name]
		if !ok {
			value = "null"
		}
		fields = append(fields, fmt.Sprintf("%q:%s", name, value))
	}
	for _, name := range without {
		for i, field := range fields {
			if strings.HasPrefix(field, `"`+name+`"`) {
				fields[i] = `"` + name + `_":0`
			}
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// eventText returns an event of a kind; rest has further members of the envelope.
func eventText(kind, data, rest string) string {
	return fmt.Sprintf(`{"data":%s,"instance_id":"ins_1","object":"event","type":%q%s}`, data, kind, rest)
}

// signed returns a request with an event, signed now.
func signed(t testing.TB, key, id, body string) *http.Request {
	t.Helper()
	return signedAt(t, key, id, body, time.Now())
}

func signedAt(t testing.TB, key, id, body string, at time.Time) *http.Request {
	t.Helper()
	v, err := svix.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := v.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
	r.Header.Set("svix-id", id)
	r.Header.Set("svix-timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("svix-signature", signature)
	return r
}

func handler(s sink, secrets string) *Handler {
	return New(Config{Secret: func() string { return secrets }, Sink: s})
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantStats checks all counters.
func wantStats(t *testing.T, h *Handler, want map[Count]int64) {
	t.Helper()
	got := h.Stats()
	if !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	for count := range got {
		if !slices.Contains(Counts(), count) {
			t.Errorf("%v is none of Counts", count)
		}
	}
}

func TestEvents(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) string { return fmt.Sprintf(`,"timestamp":%d`, now.Add(-d).UnixMilli()) }
	gone := `{"object":"user","id":"user_1","deleted":true}`
	for _, tt := range []struct {
		name    string
		body    string
		want    string // calls of the sink except Record
		kind    Kind
		outcome Outcome
	}{
		{"created", eventText("user.created", user(), ago(0)), "updated user_1 Ada", userCreated, Applied},
		{"updated", eventText("user.updated", user(), ago(0)), "updated user_1 Ada", userUpdated, Applied},
		{"updated just in time", eventText("user.updated", user(), ago(50*time.Second)), "updated user_1 Ada", userUpdated, Applied},
		{"updated a while ago", eventText("user.updated", user(), ago(70*time.Second)), "invalidate user_1", userUpdated, Invalidated},
		{"updated at a time that is not told", eventText("user.updated", user(), ""), "updated user_1 Ada", userUpdated, Applied},
		{"fields of tomorrow", eventText("user.updated", `{"new":[1],`+user()[1:], ago(0)), "updated user_1 Ada", userUpdated, Applied},
		{"no private metadata", eventText("user.updated", user("private_metadata"), ago(0)), "invalidate user_1", userUpdated, Invalidated},
		{"metadata withheld", eventText("user.updated", strings.Replace(user(), `{"a":1,"a":2}`, "null", 1), ago(0)), "invalidate user_1", userUpdated, Invalidated},
		{"a field of another shape", eventText("user.updated", strings.Replace(user(), `"Ada"`, `7`, 1), ago(0)), "updated user_1 7", userUpdated, Applied},
		{"a user who can't be read", eventText("user.updated", strings.Replace(user(), `"first_name"`, `"banned":[],"first_name"`, 1), ago(0)), "invalidate user_1", userUpdated, Invalidated},
		{"deleted", eventText("user.deleted", gone, ago(0)), "deleted user_1", userDeleted, Applied},
		{"deleted a while ago", eventText("user.deleted", gone, ago(time.Hour)), "deleted user_1", userDeleted, Applied},
		{"deleted, but who", eventText("user.deleted", `{"object":"user","deleted":true}`, ago(0)), "", userDeleted, Ignored},
		{"an id of something else", eventText("user.updated", `{"id":"org_1"}`, ago(0)), "", userUpdated, Ignored},
		{"an id that walks away", eventText("user.deleted", `{"id":"user_1/../x"}`, ago(0)), "", userDeleted, Ignored},
		{"an id that is no text", eventText("user.updated", `{"id":1}`, ago(0)), "", userUpdated, Ignored},
		{"a list for a user", eventText("user.updated", `[]`, ago(0)), "", userUpdated, Ignored},
		{"no data", `{"type":"user.updated"}`, "", userUpdated, Ignored},
		{"about something else", eventText("organization.created", gone, ago(0)), "", otherKind, Ignored},
		{"our own word", eventText("other", gone, ago(0)), "", otherKind, Ignored},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &recorder{}
			h := handler(s, secret("a"))
			if w := serve(h, signed(t, secret("a"), "msg_1", tt.body)); w.Code != http.StatusNoContent {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			want := ""
			if tt.want != "" {
				want = tt.want + "; record msg_1"
			}
			if got := strings.Join(s.calls, "; "); got != want {
				t.Errorf("the sink was told %q, want %q", got, want)
			}
			wantStats(t, h, map[Count]int64{{tt.kind, tt.outcome}: 1})
		})
	}
}

// TestAllFieldsNeeded omits each field of a complete user.
func TestAllFieldsNeeded(t *testing.T) {
	for _, name := range always {
		if name == "id" {
			continue // about nobody then: see TestEvents
		}
		s := &recorder{}
		serve(handler(s, secret("a")), signed(t, secret("a"), "msg_1", eventText("user.updated", user(name), "")))
		if len(s.calls) != 2 || s.calls[0] != "invalidate user_1" {
			t.Errorf("without %s: %q", name, s.calls)
		}
	}
}

func TestHappened(t *testing.T) {
	sent := time.Unix(1_800_000_000, 0)
	now := sent.Add(1500 * time.Millisecond)
	for text, want := range map[string]time.Time{
		``:                  sent,
		`null`:              sent,
		`"1716883200"`:      sent,
		`0`:                 sent,
		`-5`:                sent,
		`1e999`:             sent,
		`1716883200`:        time.Unix(1716883200, 0),
		`1716883200.0`:      time.Unix(1716883200, 0),
		`1654012591514`:     time.UnixMilli(1654012591514),
		`1800000001400`:     time.UnixMilli(1800000001400),
		`1800000001501`:     now,
		`1800000002`:        now,
		`17168832000000000`: now,
		`1e308`:             now,
	} {
		if got := (&event{timestamp: []byte(text)}).happened(sent, now); !got.Equal(want) {
			t.Errorf("timestamp %s: %v, want %v", text, got, want)
		}
	}
}

func TestTimeReachesTheSink(t *testing.T) {
	s := &recorder{}
	h := handler(s, secret("a"))
	at := time.Now().Add(-30 * time.Second)
	serve(h, signed(t, secret("a"), "msg_1", eventText("user.updated", user(), fmt.Sprintf(`,"timestamp":%d`, at.UnixMilli()))))
	serve(h, signed(t, secret("a"), "msg_2", eventText("user.deleted", user(), fmt.Sprintf(`,"timestamp":%d`, at.Unix()))))
	if len(s.at) != 4 || s.at[0].UnixMilli() != at.UnixMilli() || s.at[2].Unix() != at.Unix() {
		t.Errorf("told %q at %v, want %v", s.calls, s.at, at)
	}
}

func TestDuplicate(t *testing.T) {
	s := &recorder{}
	h := handler(s, secret("a"))
	body := eventText("user.updated", user(), "")
	for range 3 {
		if w := serve(h, signed(t, secret("a"), "msg_1", body)); w.Code != http.StatusNoContent {
			t.Errorf("status %d", w.Code)
		}
	}
	if len(s.calls) != 2 {
		t.Errorf("the sink was told %q", s.calls)
	}
	wantStats(t, h, map[Count]int64{{userUpdated, Applied}: 1, {userUpdated, Duplicate}: 2})
}

// TestFailingSink: a failed event is not recorded, and is applied when it is sent again.
func TestFailingSink(t *testing.T) {
	gone := eventText("user.deleted", `{"id":"user_1"}`, "")
	for call, body := range map[string]string{
		"seen":       eventText("user.updated", user(), ""),
		"updated":    eventText("user.updated", user(), ""),
		"invalidate": eventText("user.updated", `{"id":"user_1"}`, ""),
		"deleted":    gone,
		"record":     gone,
	} {
		t.Run(call, func(t *testing.T) {
			s := &recorder{fail: map[string]error{call: errors.New("no Redis")}}
			h := handler(s, secret("a"))
			if w := serve(h, signed(t, secret("a"), "msg_1", body)); w.Code != http.StatusServiceUnavailable || len(s.recorded) != 0 {
				t.Errorf("status %d, recorded %v", w.Code, s.recorded)
			}
			if call == "seen" && (len(s.calls) != 1 || !strings.HasPrefix(s.calls[0], "updated")) {
				t.Errorf("it can't be asked whether the event came before: the sink was told %q, want the event", s.calls)
			}
			s.fail = nil
			if w := serve(h, signed(t, secret("a"), "msg_1", body)); w.Code != http.StatusNoContent || !s.recorded["msg_1"] {
				t.Errorf("again: status %d, recorded %v", w.Code, s.recorded)
			}
			var failed int64
			for count, n := range h.Stats() {
				if count.Outcome == Failed {
					failed += n
				}
			}
			if failed != 1 {
				t.Errorf("counted %v", h.Stats())
			}
		})
	}
}
