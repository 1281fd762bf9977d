package clerksim

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// npmCall is a call of Clerk's official Node SDK.
type npmCall struct {
	URL    string `json:"url"`
	Key    string `json:"key"`
	Method string `json:"method"`
	Args   []any  `json:"args,omitempty"`
}

// npmResult is its result.
type npmResult struct {
	Value json.RawMessage
	Error *struct {
		Message    string
		Status     int
		Errors     []struct{ Code string }
		TraceID    string `json:"clerkTraceId"`
		RetryAfter int
	}
}

// npmUser is a user decoded by the SDK.
type npmUser struct {
	ID             string
	FirstName      *string
	CreatedAt      int64
	EmailAddresses []struct{ EmailAddress string }
	Raw            any `json:"_raw"` // the undecoded user
}

// callNPM makes the calls one after the other. It installs the SDK if necessary.
func callNPM(t *testing.T, calls ...npmCall) []npmResult {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not there: install Node.js 20.9 or later with npm", tool)
		}
	}
	dir := filepath.Join("testdata", "clerk-backend")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@clerk", "backend")); errors.Is(err, os.ErrNotExist) {
		install := exec.CommandContext(t.Context(), "npm", "ci")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
		}
	}
	script, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "conformance.mjs", string(script))
	node.Dir = dir
	out, err := node.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = exit.Stderr
		}
		t.Fatalf("node conformance.mjs: %v\n%s", err, out)
	}
	return decode[[]npmResult](t, out)
}

func TestNodeSDKReadsUsers(t *testing.T) {
	s := newSim(t, Config{SecretKey: testKey})
	url, _ := serve(t, s, false)
	call := func(method string, args ...any) npmCall { return npmCall{url, testKey, method, args} }
	full, asked := s.UserIDs(1)[0], s.UserIDs(100)
	results := callNPM(t,
		call("getUser", full),
		call("getUserList", map[string]any{"userId": asked, "limit": 100}),
		call("getUserList", map[string]any{"orderBy": "+created_at", "limit": 120}),
		call("getUserList", map[string]any{"orderBy": "+created_at", "limit": 120, "offset": 120}),
		call("getCount"),
	)
	for i, r := range results {
		if r.Error != nil {
			t.Fatalf("call %d: %+v", i, *r.Error)
		}
	}

	one := decode[npmUser](t, results[0].Value)
	wantNPMUser(t, s, one)
	if one.ID != full {
		t.Errorf("got %s, want %s", one.ID, full)
	}
	type list struct {
		Data       []npmUser
		TotalCount int
	}
	looked := decode[list](t, results[1].Value)
	if len(looked.Data) != 100 || looked.TotalCount != 100 {
		t.Errorf("got %d users of %d, want 100 of 100", len(looked.Data), looked.TotalCount)
	}
	for _, u := range looked.Data {
		wantNPMUser(t, s, u)
	}

	var walked []string
	last := int64(0)
	for _, r := range results[2:4] {
		for _, u := range decode[list](t, r.Value).Data {
			if u.CreatedAt < last {
				t.Errorf("%s, created at %d, comes after one created at %d", u.ID, u.CreatedAt, last)
			}
			last = u.CreatedAt
			walked = append(walked, u.ID)
		}
	}
	slices.Sort(walked)
	if all := slices.Sorted(slices.Values(s.UserIDs(1000))); !slices.Equal(walked, all) {
		t.Errorf("pages gave %d users, want each of %d once", len(walked), len(all))
	}
	if count := decode[int](t, results[4].Value); count != 200 {
		t.Errorf("counted %d users, want 200", count)
	}
}

func wantNPMUser(t *testing.T, s *Sim, got npmUser) {
	t.Helper()
	own, ok := s.User(got.ID)
	if !ok {
		t.Fatalf("the simulator has no %q", got.ID)
	}
	text, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode[any](t, text), got.Raw); diff != "" {
		t.Errorf("user %s (-want +got):\n%s", got.ID, diff)
	}
	if deref(got.FirstName) != deref(own.FirstName) || got.CreatedAt != own.CreatedAt || got.EmailAddresses[0].EmailAddress != own.EmailAddresses[0].EmailAddress {
		t.Errorf("user %s was read as %+v, want %+v", got.ID, got, own)
	}
}

func TestNodeSDKSeesErrors(t *testing.T) {
	s := newSim(t, Config{SecretKey: testKey})
	url, _ := serve(t, s, false)
	spent := newSim(t, Config{Quota: Quota{Limit: 1, Window: time.Hour, Kind: FirstHit}})
	spentURL, _ := serve(t, spent, false)
	results := callNPM(t,
		npmCall{url, testKey, "getUser", []any{"user_nobody"}},
		npmCall{url, "sk_test_wrong", "getUser", []any{"user_nobody"}},
		npmCall{url, testKey, "getUserList", []any{map[string]any{"limit": 501}}},
		npmCall{spentURL, testKey, "getCount", nil},
		npmCall{spentURL, testKey, "getCount", nil},
	)
	if results[3].Error != nil {
		t.Errorf("the first request of the quota failed: %+v", *results[3].Error)
	}
	results = slices.Delete(results, 3, 4)
	for i, want := range []struct {
		status, retryAfter int
		code               string
	}{{404, 0, "resource_not_found"}, {401, 0, "clerk_key_invalid"}, {422, 0, "form_param_value_invalid"}, {429, 3600, "too_many_requests"}} {
		got := results[i].Error
		if got == nil {
			t.Errorf("got %s, want status %d", results[i].Value, want.status)
			continue
		}
		if got.Status != want.status || got.RetryAfter != want.retryAfter || len(got.TraceID) != 32 || len(got.Errors) != 1 || got.Errors[0].Code != want.code {
			t.Errorf("got %+v, want %+v", *got, want)
		}
	}
}
