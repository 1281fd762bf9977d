package clerkapi_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

const people = 250 // users of a simulator

// newSim returns a simulator and a client of it, over HTTP/1.1 or HTTP/2 with TLS.
func newSim(t *testing.T, http2 bool) (*clerksim.Sim, *clerkapi.Client) {
	t.Helper()
	sim, err := clerksim.New(clerksim.Config{Users: people, ExtraFields: []byte(`{"later":{"b":1,"a":2.0}}`)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(sim)
	roots := x509.NewCertPool()
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
		roots.AddCert(server.Certificate())
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	client, err := clerkapi.New(clerkapi.Config{
		BaseURL: server.URL, RootCAs: roots, MaxBodyBytes: 1 << 20, Timeout: time.Minute,
		Key: func() string { return "sk_test_sim" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return sim, client
}

// TestSimulator reads all users of a simulator in every way.
func TestSimulator(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		sim, client := newSim(t, http2)
		count, err := client.CountUsers(t.Context(), nil)
		if err != nil || count.Total != people {
			t.Fatalf("count %v, %v", count, err)
		}
		var users []*clerkgatev1.User
		params := clerkapi.ListParams{Limit: 100, OrderBy: "+created_at"}
		for {
			page, err := client.ListUsers(t.Context(), params)
			if err != nil {
				t.Fatal(err)
			}
			users = append(users, page.Users...)
			if len(page.Users) < params.Limit {
				break
			}
			params.StartingAfter = page.Users[len(page.Users)-1].Id
		}
		if len(users) != people {
			t.Fatalf("%d users in all pages", len(users))
		}
		seen := map[string]*clerkgatev1.User{}
		for _, u := range users {
			seen[u.Id] = u
			compare(t, sim, u)
		}
		ids := append(sim.UserIDs(99), "user_nobody")
		lookup, err := client.LookupUsers(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range lookup.Results[:99] {
			if r.Err != nil || !proto.Equal(r.User, seen[ids[i]]) {
				t.Errorf("%s: lookup differs from list: %v", ids[i], r.Err)
			}
		}
		if err := lookup.Results[99].Err; !errors.Is(err, clerkapi.ErrNotFound) {
			t.Errorf("somebody unknown: %v", err)
		}
		for _, id := range ids[98:] {
			lookup, err := client.LookupUsers(t.Context(), []string{id})
			if err != nil {
				t.Fatal(err)
			}
			if r := lookup.Results[0]; !proto.Equal(r.User, seen[id]) || (r.User == nil) != errors.Is(r.Err, clerkapi.ErrNotFound) {
				t.Errorf("%s: lookup differs from list: %v", id, r.Err)
			}
		}
	}
}

// compare checks u against the simulator's user.
func compare(t *testing.T, sim *clerksim.Sim, u *clerkgatev1.User) {
	t.Helper()
	model, ok := sim.User(u.Id)
	if !ok {
		t.Fatalf("%s is nobody", u.Id)
	}
	text, err := json.Marshal(model)
	if err != nil {
		t.Fatal(err)
	}
	want, err := clerkapi.DecodeUser(text)
	if err != nil {
		t.Fatal(err)
	}
	if want.ExtraJson != nil {
		t.Errorf("%s: fields that the contract lacks: %s", u.Id, want.GetExtraJson())
	}
	want.ExtraJson = proto.String(`{"later":{"a":2.0,"b":1}}`)
	if !proto.Equal(u, want) {
		t.Errorf("%s: got %v, want %v", u.Id, u, want)
	}
}

// TestSimulatorFaults checks the error of each fault.
func TestSimulatorFaults(t *testing.T) {
	tests := []struct {
		fault        clerksim.Fault
		lookup, list error // nil if the call succeeds
	}{
		{clerksim.Fault{Kind: clerksim.FaultStatus, Status: 429, RetryAfter: "7"}, clerkapi.ErrRateLimited, clerkapi.ErrRateLimited},
		{clerksim.Fault{Kind: clerksim.FaultStatus, Status: 401}, clerkapi.ErrKeyRejected, clerkapi.ErrKeyRejected},
		{clerksim.Fault{Kind: clerksim.FaultStatus, Status: 402}, clerkapi.ErrPlanLimit, clerkapi.ErrPlanLimit},
		{clerksim.Fault{Kind: clerksim.FaultReset}, clerkapi.ErrUnavailable, clerkapi.ErrUnavailable},
		{clerksim.Fault{Kind: clerksim.FaultTruncated}, clerkapi.ErrBadAnswer, clerkapi.ErrBadAnswer},
		{clerksim.Fault{Kind: clerksim.FaultGarbage}, clerkapi.ErrBadAnswer, clerkapi.ErrBadAnswer},
		{clerksim.Fault{Kind: clerksim.FaultHTML}, clerkapi.ErrUnavailable, clerkapi.ErrUnavailable},
		{clerksim.Fault{Kind: clerksim.FaultHTML, Status: 404}, clerkapi.ErrRefused, clerkapi.ErrRefused},
		{clerksim.Fault{Kind: clerksim.FaultHuge}, clerkapi.ErrTooLarge, clerkapi.ErrTooLarge},
		{clerksim.Fault{Kind: clerksim.FaultWrongUser}, clerkapi.ErrBadAnswer, nil},
		{clerksim.Fault{Kind: clerksim.FaultTooManyIDs, MaxIDs: 1}, clerkapi.ErrRejected, nil},
	}
	for _, http2 := range []bool{false, true} {
		sim, client := newSim(t, http2)
		for _, test := range tests {
			name := string(test.fault.Kind) + " over HTTP/1.1"
			if http2 {
				name = string(test.fault.Kind) + " over HTTP/2"
			}
			t.Run(name, func(t *testing.T) {
				sim.Reset()
				if err := sim.AddFault(test.fault); err != nil {
					t.Fatal(err)
				}
				_, err := client.LookupUsers(t.Context(), sim.UserIDs(3))
				if !errors.Is(err, test.lookup) {
					t.Errorf("lookup: got %v, want %v", err, test.lookup)
				}
				if _, err := client.ListUsers(t.Context(), clerkapi.ListParams{Limit: 3}); !errors.Is(err, test.list) {
					t.Errorf("list: got %v, want %v", err, test.list)
				}
				if n := sim.Stats().Requests; n != 2 {
					t.Errorf("%d arrivals of 2 requests", n)
				}
			})
		}
	}
}
