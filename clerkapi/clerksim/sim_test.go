package clerksim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wantError checks that an answer is an error in Clerk's form.
func wantError(t *testing.T, what string, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%.60s: status %d, want %d: %.200s", what, w.Code, status, w.Body)
		return
	}
	body := decode[errorBody](t, w.Body.Bytes())
	if len(body.Errors) != 1 || body.Errors[0].Code != code || body.Errors[0].Message == "" || body.Errors[0].LongMessage == "" {
		t.Errorf("%.60s: errors %+v, want one with code %s", what, body.Errors, code)
	}
	if trace := w.Header().Get("Clerk-Trace-Id"); len(trace) != 32 || trace != body.TraceID {
		t.Errorf("%.60s: trace ids %q in the header, %q in the body", what, trace, body.TraceID)
	}
}

func TestGet(t *testing.T) {
	s := newSim(t, Config{})
	for _, id := range s.UserIDs(200) {
		w := ask(s, "/v1/users/"+id)
		own, ok := s.User(id)
		if w.Code != http.StatusOK || !ok {
			t.Fatalf("user %s: status %d", id, w.Code)
		}
		own.OrganizationIDs = nil
		if diff := cmp.Diff(*own, decode[User](t, w.Body.Bytes())); diff != "" {
			t.Errorf("user %s (-want +got):\n%s", id, diff)
		}
	}
	for _, target := range []string{"/v1/users/user_nobody", "/v1/users/..%2forganizations", "/v1/users/", "/v1/organizations", "/v1/users/a/b", "/"} {
		wantError(t, target, ask(s, target), http.StatusNotFound, "resource_not_found")
	}
	if got := s.Stats().ByEndpoint; got[Other].Requests != 4 || got[Get].Requests != 202 {
		t.Errorf("counted %+v", got)
	}
}

func TestAuthentication(t *testing.T) {
	open, closed := newSim(t, Config{Users: 1}), newSim(t, Config{Users: 1, SecretKey: "sk_live_mine"})
	for _, c := range []struct {
		sim    *Sim
		header string
		code   string // empty: accepted
	}{
		{open, "Bearer sk_test_any", ""},
		{open, "Bearer sk_live_any", ""},
		{open, "Bearer pk_test_any", "clerk_key_invalid"},
		{open, "", "authentication_invalid"},
		{open, "Bearer ", "authentication_invalid"},
		{open, "Basic sk_test_any", "authentication_invalid"},
		{closed, "Bearer sk_live_mine", ""},
		{closed, "Bearer sk_live_mine2", "clerk_key_invalid"},
		{closed, "Bearer sk_test_any", "clerk_key_invalid"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/users/count", nil)
		r.Header.Set("Authorization", c.header)
		w := httptest.NewRecorder()
		c.sim.ServeHTTP(w, r)
		if c.code != "" {
			wantError(t, c.header, w, http.StatusUnauthorized, c.code)
			if strings.Contains(w.Body.String(), "sk_") {
				t.Errorf("the answer shows a key: %s", w.Body)
			}
		} else if w.Code != http.StatusOK {
			t.Errorf("%q: status %d, want 200", c.header, w.Code)
		}
	}
}

func TestQuotaOverHTTP(t *testing.T) {
	headers := []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"}
	for _, c := range []struct {
		headers QuotaHeaders
		first   []string // headers of the allowed answer
		second  []string // headers of the refused answer
	}{
		{AllHeaders, []string{"1", "0", "10", ""}, []string{"1", "0", "8", "8"}},
		{RetryAfter, []string{"", "", "", ""}, []string{"", "", "", "8"}},
		{NoHeaders, []string{"", "", "", ""}, []string{"", "", "", ""}},
	} {
		t.Run(string(c.headers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, Config{KeepArrivals: 2, Quota: Quota{Limit: 1, Kind: FirstHit, Headers: c.headers}})
				want := func(w *httptest.ResponseRecorder, values []string) {
					t.Helper()
					for i, name := range headers {
						if got := w.Header().Get(name); got != values[i] {
							t.Errorf("%s is %q, want %q", name, got, values[i])
						}
					}
				}
				begin := time.Now()
				first := ask(s, "/v1/users/count")
				if first.Code != http.StatusOK {
					t.Fatalf("status %d", first.Code)
				}
				want(first, c.first)
				time.Sleep(2100 * time.Millisecond)
				second := ask(s, "/v1/users/count")
				wantError(t, "second", second, http.StatusTooManyRequests, "too_many_requests")
				want(second, c.second)
				time.Sleep(7900 * time.Millisecond)
				if third := ask(s, "/v1/users/count"); third.Code != http.StatusOK {
					t.Errorf("when the window was over: status %d", third.Code)
				}
				if got := s.Stats().RateLimited; got != 1 {
					t.Errorf("counted %d refused, want 1", got)
				}
				arrivals := []Arrival{{begin, Count, nil, false}, {begin.Add(2100 * time.Millisecond), Count, nil, true}}
				if diff := cmp.Diff(arrivals, s.Arrivals()); diff != "" {
					t.Errorf("arrivals (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestRefusedKeysCostNoQuota: Clerk can't count a request of an unknown instance.
func TestRefusedKeysCostNoQuota(t *testing.T) {
	s := newSim(t, Config{Users: 1, SecretKey: testKey, Quota: Quota{Limit: 1, Window: time.Hour, Kind: FirstHit}})
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/v1/users/count", nil)
		r.Header.Set("Authorization", "Bearer sk_test_wrong")
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	if w := ask(s, "/v1/users/count"); w.Code != http.StatusOK {
		t.Errorf("status %d, want 200", w.Code)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency, jitter = 20 * time.Millisecond, 10 * time.Millisecond
		s := newSim(t, Config{Latency: latency, Jitter: jitter, KeepArrivals: 50})
		took := map[time.Duration]bool{}
		for i := range 50 {
			begin := time.Now()
			ask(s, "/v1/users/count")
			if d := time.Since(begin); d < latency || d >= latency+jitter {
				t.Errorf("took %v, want %v to %v", d, latency, latency+jitter)
			} else {
				took[d] = true
			}
			if at := s.Arrivals()[i].At; !at.Equal(begin) {
				t.Errorf("arrived at %v, want %v", at, begin)
			}
		}
		if len(took) < 40 {
			t.Errorf("50 answers took only %d different times", len(took))
		}
		ctx, cancel := context.WithTimeout(t.Context(), latency/2)
		defer cancel()
		begin := time.Now()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/users", nil)
		s.ServeHTTP(httptest.NewRecorder(), r)
		if d := time.Since(begin); d != latency/2 {
			t.Errorf("a client that left after %v was served for %v", latency/2, d)
		}
		if got := s.Stats().ByEndpoint[List].ByStatus[0]; got != 1 {
			t.Errorf("counted %d requests without an answer, want 1", got)
		}
	})
}

func TestStats(t *testing.T) {
	s := newSim(t, Config{KeepArrivals: 2})
	ids := s.UserIDs(3)
	for _, target := range []string{
		"/v1/users/" + ids[0], "/v1/users/user_nobody", "/v1/users/count?user_id=" + ids[0], "/v1/users?limit=0",
		"/v1/users?user_id=" + ids[0] + "&user_id=%2B" + ids[1] + "&user_id=-" + ids[2], "/v1/users?user_id=-" + ids[2], "/v1/users",
	} {
		ask(s, target)
	}
	want := Stats{Requests: 7, IDs: 4, LookupIDs: 2, ByEndpoint: map[Endpoint]EndpointStats{
		Get:    {2, map[int]int64{200: 1, 404: 1}},
		Count:  {1, map[int]int64{200: 1}},
		List:   {3, map[int]int64{200: 2, 422: 1}},
		Lookup: {1, map[int]int64{200: 1}},
	}}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	if got := decode[Stats](t, ask(s, "/sim/stats").Body.Bytes()); !cmp.Equal(want, got) {
		t.Errorf("/sim/stats says %+v, want %+v", got, want)
	}
	if got := len(s.Arrivals()); got != 2 {
		t.Errorf("kept %d arrivals, want 2", got)
	}
	snapshot := s.Stats()
	ask(s, "/v1/users")
	if !cmp.Equal(want, snapshot) {
		t.Errorf("stats changed after they were given: %+v", snapshot)
	}
	s.Reset()
	if got := s.Stats(); got.Requests != 0 || len(got.ByEndpoint) != 0 || len(s.Arrivals()) != 0 {
		t.Errorf("after a reset: %+v", got)
	}
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Config{Users: 20})
		askIDs(t, s, "/v1/users?order_by=username") // use the order before it changes
		id := s.UserIDs(7)[6]
		before, _ := s.User(id)
		time.Sleep(time.Second)
		now := time.Now().UnixMilli()
		if err := s.Update(id, func(u *User) {
			u.ID = "user_other"
			u.Username = new("AAaa")
			u.EmailAddresses[0].EmailAddress = "new@example.com"
			u.UnsafeMetadata = json.RawMessage(`{"deep": ` + strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000) + `, "lone": "\ud800", "deep": 1e999}`)
		}); err != nil {
			t.Fatal(err)
		}
		after := decode[User](t, ask(s, "/v1/users/"+id).Body.Bytes())
		if after.ID != id || *after.Username != "AAaa" || after.UpdatedAt != now || after.CreatedAt != before.CreatedAt {
			t.Errorf("after the update: %+v", after)
		}
		if !strings.Contains(string(after.UnsafeMetadata), `"lone":"\ud800","deep":1e999`) {
			t.Errorf("metadata did not stay as it was: %s", after.UnsafeMetadata)
		}
		if got := askIDs(t, s, "/v1/users?order_by=username&limit=1"); !slices.Equal(got, []string{id}) {
			t.Errorf("first by username is %v, want %s", got, id)
		}
		if got := askIDs(t, s, "/v1/users?username=aaAA"); !slices.Equal(got, []string{id}) {
			t.Errorf("by the username in other case: %v, want %s", got, id)
		}
		if got := askIDs(t, s, "/v1/users?email_address=new@example.com"); !slices.Equal(got, []string{id}) {
			t.Errorf("by the new address: %v, want %s", got, id)
		}
		if err := s.Update(id, func(*User) {}); err != nil {
			t.Fatal(err)
		}
		if again, _ := s.User(id); again.UpdatedAt != now+1 {
			t.Errorf("updated_at is %d, want %d, past what it was", again.UpdatedAt, now+1)
		}
		if err := s.Update(id, func(u *User) {
			u.PublicMetadata = json.RawMessage(`{`)
			u.EmailAddresses[0].EmailAddress = "half@example.com"
		}); err == nil {
			t.Error("metadata that is no JSON was taken")
		}
		if got := askIDs(t, s, "/v1/users?email_address=half@example.com"); len(got) != 0 {
			t.Error("an update that failed has changed the user")
		}

		if err := s.Delete(id); err != nil {
			t.Fatal(err)
		}
		wantError(t, "deleted", ask(s, "/v1/users/"+id), http.StatusNotFound, "resource_not_found")
		if got := askIDs(t, s, "/v1/users?limit=100&user_id="+id); len(got) != 0 {
			t.Errorf("a deleted user is still found")
		}
		if got := len(askIDs(t, s, "/v1/users?limit=100")); got != 19 {
			t.Errorf("%d users are left, want 19", got)
		}
		if s.Delete(id) == nil || s.Update(id, func(*User) {}) == nil {
			t.Error("a deleted user could be changed")
		}

		u := &User{FirstName: new("Zoë")}
		if err := s.Create(u); err != nil {
			t.Fatal(err)
		}
		if len(u.ID) != len("user_")+27 || u.CreatedAt != now || u.UpdatedAt != now {
			t.Errorf("created %+v", u)
		}
		if got := askIDs(t, s, "/v1/users?limit=1"); !slices.Equal(got, []string{u.ID}) {
			t.Errorf("the latest is %v, want %s", got, u.ID)
		}
		if s.Create(&User{ID: u.ID}) == nil {
			t.Error("an id was given twice")
		}
	})
}

func TestExtraFields(t *testing.T) {
	s := newSim(t, Config{Users: 2, ExtraFields: json.RawMessage(`{"timezone": "Europe/Berlin", "future": {"a": [1]}}`)})
	for _, u := range decode[[]map[string]any](t, ask(s, "/v1/users").Body.Bytes()) {
		want := map[string]any{"timezone": "Europe/Berlin", "future": map[string]any{"a": []any{1.0}}}
		if !cmp.Equal(want["timezone"], u["timezone"]) || !cmp.Equal(want["future"], u["future"]) || u["updated_at"] == nil {
			t.Errorf("user %v", u)
		}
	}
	for _, config := range []Config{
		{ExtraFields: json.RawMessage(`[]`)},
		{Latency: -1},
		{Jitter: -1},
		{Quota: Quota{Limit: -1}},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
	empty := newSim(t, Config{Users: -1, ExtraFields: json.RawMessage(` { } `)})
	if got := ask(empty, "/v1/users").Body.String(); got != "[]" {
		t.Errorf("without users: %s", got)
	}
}

func TestAdmin(t *testing.T) {
	s := newSim(t, Config{Users: 1})
	send := func(method, path, body string) int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code
	}
	fails := func() bool { return ask(s, "/v1/users/count").Code == http.StatusBadGateway }
	for i, c := range []struct {
		method, path, body string
		status             int
		fails              bool // the next request fails
	}{
		{"POST", "/sim/faults", `{"kind":"status","status":502}`, 204, true},
		{"DELETE", "/sim/faults", "", 204, false},
		{"POST", "/sim/faults", `{"kind":"status","status":502}`, 204, true},
		{"POST", "/sim/reset", "", 204, false},
		{"POST", "/sim/faults", `{"kind":"status","stauts":502}`, 400, false},
		{"POST", "/sim/faults", `{"kind":"nonsense"}`, 400, false},
		{"POST", "/sim/faults", `{`, 400, false},
		{"GET", "/sim/faults", "", 404, false},
		{"GET", "/sim/", "", 404, false},
	} {
		if got := send(c.method, c.path, c.body); got != c.status {
			t.Errorf("order %d, %s %s: status %d, want %d", i, c.method, c.path, got, c.status)
		}
		if got := fails(); got != c.fails {
			t.Errorf("after order %d, %s %s %s: requests fail: %v, want %v", i, c.method, c.path, c.body, got, c.fails)
		}
	}
	// The reset zeroed the first three.
	if got := s.Stats().Requests; got != 6 {
		t.Errorf("counted %d requests, want 6: orders do not count", got)
	}
}

// Example shows a simulator in a test, with Clerk's development quota, in which one
// answer of ten is an outage.
func Example() {
	sim, err := New(Config{Users: 100, Quota: Quota{Limit: 100, Window: 10 * time.Second}})
	if err != nil {
		panic(err)
	}
	if err := sim.AddFault(Fault{Kind: FaultStatus, Status: http.StatusServiceUnavailable, Probability: 0.1}); err != nil {
		panic(err)
	}
	server := httptest.NewServer(sim) // pass server.URL to the client under test
	defer server.Close()
	fmt.Println(len(sim.UserIDs(100)), sim.Stats().Requests)
	// Output: 100 0
}
