package clerksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/clerk/clerk-sdk-go/v2"
	"github.com/clerk/clerk-sdk-go/v2/user"
	"github.com/google/go-cmp/cmp"
)

// goSDK returns a client of Clerk's official Go SDK.
func goSDK(url string, client *http.Client, key string) *user.Client {
	return user.NewClient(&clerk.ClientConfig{BackendConfig: clerk.BackendConfig{HTTPClient: client, URL: new(url + "/v1"), Key: &key}})
}

func TestGoSDKReadsUsers(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			s := newSim(t, Config{SecretKey: testKey})
			url, client := serve(t, s, p.tls)
			client.Transport = wantProto{t, client.Transport, p.proto}
			sdk := goSDK(url, client, testKey)

			full := s.UserIDs(1)[0]
			got, err := sdk.Get(t.Context(), full)
			if err != nil {
				t.Fatal(err)
			}
			wantSameUser(t, got, full, s)

			asked := s.UserIDs(100)
			list, err := sdk.List(t.Context(), &user.ListParams{ListParams: clerk.ListParams{Limit: new(int64(100))}, UserIDs: asked})
			if err != nil {
				t.Fatal(err)
			}
			if list.TotalCount != 100 || len(list.Users) != 100 {
				t.Fatalf("got %d users of %d, want 100 of 100", len(list.Users), list.TotalCount)
			}
			for _, u := range list.Users {
				if !slices.Contains(asked, u.ID) {
					t.Errorf("got %s, who was not asked for", u.ID)
				}
				wantSameUser(t, u, u.ID, s)
			}

			var walked []string
			for offset := int64(0); ; offset += 70 {
				page, err := sdk.List(t.Context(), &user.ListParams{
					ListParams: clerk.ListParams{Limit: new(int64(70)), Offset: &offset}, OrderBy: new("+email_address"),
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range page.Users {
					walked = append(walked, u.ID)
				}
				if len(page.Users) < 70 {
					break
				}
			}
			slices.Sort(walked)
			if all := slices.Sorted(slices.Values(s.UserIDs(1000))); !slices.Equal(walked, all) {
				t.Errorf("pages gave %d users, want each of %d once", len(walked), len(all))
			}
		})
	}
}

// wantSameUser compares the SDK's user with the simulator's. The SDK's types have fewer
// fields, so it compares the JSON of both, for the fields of the SDK.
func wantSameUser(t *testing.T, got *clerk.User, id string, s *Sim) {
	t.Helper()
	own, ok := s.User(id)
	if !ok {
		t.Fatalf("the simulator has no %s", id)
	}
	want, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	var expected clerk.User
	if err := json.Unmarshal(want, &expected); err != nil {
		t.Fatal(err)
	}
	got.Response = nil
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("user %s (-want +got):\n%s", id, diff)
	}
	if got.ID != own.ID || *got.PrimaryEmailAddressID != *own.PrimaryEmailAddressID || got.CreatedAt != own.CreatedAt || got.UpdatedAt != own.UpdatedAt ||
		got.EmailAddresses[0].EmailAddress != own.EmailAddresses[0].EmailAddress || string(got.PrivateMetadata) != string(own.PrivateMetadata) {
		t.Errorf("user %s was read as %+v, want %+v", id, got, own)
	}
}

func TestGoSDKSeesErrors(t *testing.T) {
	s := newSim(t, Config{SecretKey: testKey})
	url, client := serve(t, s, false)
	spent := newSim(t, Config{Quota: Quota{Limit: 1, Window: time.Hour, Kind: FirstHit}})
	spentURL, spentClient := serve(t, spent, false)
	sdk, spentSDK := goSDK(url, client, testKey), goSDK(spentURL, spentClient, testKey)
	if _, err := spentSDK.Count(t.Context(), &user.ListParams{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		call   func() error
		status int
		code   string
	}{
		{"no such user", func() error { _, err := sdk.Get(t.Context(), "user_nobody"); return err }, 404, "resource_not_found"},
		{"wrong key", func() error {
			_, err := goSDK(url, client, "sk_test_wrong").Get(t.Context(), "user_nobody")
			return err
		}, 401, "clerk_key_invalid"},
		{"no key", func() error { _, err := goSDK(url, client, "").Get(t.Context(), "user_nobody"); return err }, 401, "authentication_invalid"},
		{"bad order", func() error {
			_, err := sdk.List(t.Context(), &user.ListParams{OrderBy: new("shoe_size")})
			return err
		}, 422, "form_param_value_invalid"},
		{"quota spent", func() error { _, err := spentSDK.Count(t.Context(), &user.ListParams{}); return err }, 429, "too_many_requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *clerk.APIErrorResponse
			if err := c.call(); !errors.As(err, &got) {
				t.Fatalf("got %v, want an error of Clerk's", err)
			}
			if got.HTTPStatusCode != c.status || len(got.Errors) != 1 || got.Errors[0].Code != c.code {
				t.Errorf("got %d %v, want %d %s", got.HTTPStatusCode, got.Errors, c.status, c.code)
			}
			if len(got.TraceID) != 32 || got.TraceID != got.Response.TraceID {
				t.Errorf("trace ids %q in the body, %q in the header: want the same 32 digits", got.TraceID, got.Response.TraceID)
			}
			if retry := got.Response.Header.Get("Retry-After"); (retry == "3600") != (c.status == 429) {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}

// wantProto fails the test if an answer uses another protocol.
type wantProto struct {
	t     *testing.T
	next  http.RoundTripper
	proto string
}

func (w wantProto) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.Proto != w.proto {
		w.t.Errorf("%s came over %s, want %s", fmt.Sprint(r.URL), resp.Proto, w.proto)
	}
	return resp, nil
}
