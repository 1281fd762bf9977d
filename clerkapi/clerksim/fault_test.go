package clerksim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestFaultsOnTheWire checks every fault with a client over sockets.
func TestFaultsOnTheWire(t *testing.T) {
	type outcome struct {
		resp *http.Response
		body []byte
		err  error
	}
	for _, p := range protocols {
		s := newSim(t, Config{})
		url, client := serve(t, s, p.tls)
		ids := s.UserIDs(3)
		get, lookup := "/v1/users/"+ids[0], "/v1/users?limit=100&user_id="+ids[0]+"&user_id="+ids[1]
		whole := ask(s, lookup).Body.String()
		for _, c := range []struct {
			name   string
			fault  Fault
			target string
			check  func(*testing.T, outcome)
		}{
			{"status", Fault{Kind: FaultStatus, Status: 503, RetryAfter: "soon"}, get, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 503, "service_unavailable")
				if got := o.resp.Header.Get("Retry-After"); got != "soon" {
					t.Errorf("Retry-After is %q", got)
				}
			}},
			{"status with a code", Fault{Kind: FaultStatus, Status: 429, Code: "rate_limit_exceeded"}, get, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 429, "rate_limit_exceeded")
			}},
			{"status that Clerk never sends", Fault{Kind: FaultStatus, Status: 418}, get, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 418, "unexpected_error")
			}},
			{"reset", Fault{Kind: FaultReset}, get, func(t *testing.T, o outcome) {
				if p.tls && (o.err == nil || !strings.Contains(o.err.Error(), "INTERNAL_ERROR")) || !p.tls && !errors.Is(o.err, syscall.ECONNRESET) {
					t.Errorf("got %v, want a reset", o.err)
				}
			}},
			{"truncated", Fault{Kind: FaultTruncated}, lookup, func(t *testing.T, o outcome) {
				if o.resp == nil || o.resp.ContentLength != int64(len(whole)) || len(o.body) == 0 || len(o.body) >= len(whole) {
					t.Fatalf("got %d bytes of %d", len(o.body), len(whole))
				}
				if !p.tls && !errors.Is(o.err, io.ErrUnexpectedEOF) || p.tls && o.err == nil {
					t.Errorf("the answer ended with %v", o.err)
				}
			}},
			{"garbage", Fault{Kind: FaultGarbage}, get, func(t *testing.T, o outcome) {
				if o.err != nil || o.resp.StatusCode != 200 || json.Valid(o.body) || o.resp.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %v, %q", o.err, o.body)
				}
			}},
			{"html", Fault{Kind: FaultHTML}, get, func(t *testing.T, o outcome) { wantPage(t, o.resp, o.body, 502) }},
			{"html as if all were well", Fault{Kind: FaultHTML, Status: 200}, get, func(t *testing.T, o outcome) { wantPage(t, o.resp, o.body, 200) }},
			{"slow", Fault{Kind: FaultSlow, IntervalMS: 1}, get, func(t *testing.T, o outcome) {
				if o.err != nil || string(o.body) != ask(s, get).Body.String() {
					t.Errorf("got %v, %d bytes", o.err, len(o.body))
				}
			}},
			{"wrong user for a get", Fault{Kind: FaultWrongUser}, get, func(t *testing.T, o outcome) {
				if id := decode[User](t, o.body).ID; o.resp.StatusCode != 200 || !strings.HasPrefix(id, "user_") || id == ids[0] {
					t.Errorf("got %s", id)
				}
			}},
			{"wrong user for a lookup", Fault{Kind: FaultWrongUser}, lookup, func(t *testing.T, o outcome) {
				users := decode[[]User](t, o.body)
				if len(users) != 2 || users[0].ID == ids[0] || users[0].ID == ids[1] || users[1].ID != ids[1] {
					t.Errorf("got %d users, of them %s and %s", len(users), users[0].ID, users[1].ID)
				}
			}},
			{"wrong user for a list", Fault{Kind: FaultWrongUser, Endpoint: List}, "/v1/users?limit=2", func(t *testing.T, o outcome) {
				if users := decode[[]User](t, o.body); len(users) != 1 || slices.Contains(s.UserIDs(s.config.Users), users[0].ID) {
					t.Errorf("got %d users", len(users))
				}
			}},
			{"too many ids", Fault{Kind: FaultTooManyIDs, MaxIDs: 1}, lookup, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 413, "request_body_too_large")
			}},
			{"long URL", Fault{Kind: FaultLongURL, MaxURL: len(lookup) - 1}, lookup, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 414, "unexpected_error")
			}},
			{"poison id", Fault{Kind: FaultPoisonID, IDs: ids[:1]}, get, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 400, "bad_request")
			}},
			{"poison id of another status", Fault{Kind: FaultPoisonID, IDs: []string{ids[2], ids[1]}, Status: 422}, lookup, func(t *testing.T, o outcome) {
				wantFailure(t, o.resp, o.body, 422, "form_param_value_invalid")
			}},
		} {
			t.Run(p.name+"/"+c.name, func(t *testing.T) {
				c.fault.Count = 1
				// On a reused connection net/http would resend the request.
				client.CloseIdleConnections()
				addFault(t, s, c.fault)
				resp, body, err := fetch(t.Context(), client, url+c.target)
				if err != nil && c.name != "reset" && c.name != "truncated" {
					t.Fatal(err)
				}
				c.check(t, outcome{resp, body, err})
				if resp, _, err := fetch(t.Context(), client, url+c.target); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("the fault has not ended: %v", err)
				}
			})
		}
	}
}

// TestFaultsThatLast checks answers that do not end by themselves.
func TestFaultsThatLast(t *testing.T) {
	for _, p := range protocols {
		for _, kind := range []FaultKind{FaultHang, FaultHuge} {
			t.Run(p.name+"/"+string(kind), func(t *testing.T) {
				s := newSim(t, Config{Users: 1})
				url, client := serve(t, s, p.tls)
				addFault(t, s, Fault{Kind: kind})
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/users/count", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+testKey)
				if kind == FaultHang {
					failed := make(chan error, 1)
					go func() {
						resp, err := client.Do(r)
						if err == nil {
							err = errors.Join(errors.New("it was answered"), resp.Body.Close())
						}
						failed <- err
					}()
					for s.Stats().ByEndpoint[Count].ByStatus[0] == 0 {
						select {
						case err := <-failed:
							t.Fatal(err)
						default:
						}
					}
					leave()
					if err := <-failed; !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
					return
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				const enough = 4 << 20
				if n, err := io.CopyN(io.Discard, resp.Body, enough); n != enough || err != nil {
					t.Errorf("it ended after %d bytes: %v", n, err)
				}
				leave()
				_ = resp.Body.Close() // it was cut off
			})
		}
	}
}

func TestFaultsAreDrawn(t *testing.T) {
	s := newSim(t, Config{})
	id := s.UserIDs(1)[0]
	targets := map[Endpoint]string{Get: "/v1/users/" + id, Lookup: "/v1/users?user_id=" + id, List: "/v1/users", Count: "/v1/users/count", Other: "/v1/other"}
	fine := map[Endpoint]int{Get: 200, Lookup: 200, List: 200, Count: 200, Other: 404}
	for chosen := range targets {
		addFault(t, s, Fault{Kind: FaultStatus, Endpoint: chosen})
		for endpoint, target := range targets {
			want := fine[endpoint]
			if endpoint == chosen {
				want = 500
			}
			if got := ask(s, target).Code; got != want {
				t.Errorf("fault of %s: %s answers %d, want %d", chosen, endpoint, got, want)
			}
		}
		s.ClearFaults()
	}

	addFault(t, s, Fault{Kind: FaultStatus, Status: 503, Probability: 0.25})
	failed := 0
	for range 1000 {
		if ask(s, "/v1/users/count").Code == 503 {
			failed++
		}
	}
	if failed < 200 || failed > 300 {
		t.Errorf("%d of 1000 requests met a fault of probability 0.25", failed)
	}
	s.ClearFaults()

	addFault(t, s, Fault{Kind: FaultStatus, Status: 503, Count: 2})
	addFault(t, s, Fault{Kind: FaultStatus, Status: 504, Count: 1})
	for i, want := range []int{503, 503, 504, 200} {
		if got := ask(s, "/v1/users/count").Code; got != want {
			t.Errorf("request %d answers %d, want %d", i, got, want)
		}
	}

	addFault(t, s, Fault{Kind: FaultStatus, Count: 1})
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/users", nil)) // without a key
	if got := ask(s, "/v1/users").Code; got != 500 {
		t.Errorf("status %d: a request that was refused has met the fault", got)
	}

	addFault(t, s, Fault{Kind: FaultWrongUser})
	addFault(t, s, Fault{Kind: FaultTooManyIDs, MaxIDs: 1})
	addFault(t, s, Fault{Kind: FaultPoisonID, IDs: []string{"user_other"}})
	if got := ask(s, "/v1/users").Code; got != 200 {
		t.Errorf("faults that concern other requests: status %d", got)
	}
}

// TestSlowDrips checks the pace in virtual time.
func TestSlowDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Config{Users: 1})
		addFault(t, s, Fault{Kind: FaultSlow})
		begin := time.Now()
		size := ask(s, "/v1/users").Body.Len()
		pieces := (size + dripSize - 1) / dripSize
		if got, want := time.Since(begin), time.Duration(pieces)*100*time.Millisecond; got != want {
			t.Errorf("%d bytes took %v, want %v", size, got, want)
		}
	})
}

func TestBadFaults(t *testing.T) {
	s := newSim(t, Config{Users: 1})
	for _, f := range []Fault{
		{},
		{Kind: "nonsense"},
		{Kind: FaultHang, Endpoint: "post"},
		{Kind: FaultHang, Probability: 1.1},
		{Kind: FaultHang, Probability: -0.1},
		{Kind: FaultHang, Count: -1},
		{Kind: FaultSlow, IntervalMS: -1},
		{Kind: FaultHang, Status: 500},
		{Kind: FaultStatus, Status: 199},
		{Kind: FaultStatus, Status: 600},
		{Kind: FaultTooManyIDs},
		{Kind: FaultLongURL},
		{Kind: FaultPoisonID},
		{Kind: FaultCrowded},
	} {
		if s.AddFault(f) == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if w := ask(s, "/v1/users/count"); w.Code != http.StatusOK {
		t.Errorf("a fault that was refused is on: status %d", w.Code)
	}
}

// TestCrowded: of twelve concurrent requests two are refused at once, and do not count as
// in flight.
func TestCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Config{Latency: 300 * time.Millisecond})
		addFault(t, s, Fault{Kind: FaultCrowded, MaxAtOnce: 10})
		for round := range 3 {
			statuses := make(chan int)
			start := time.Now()
			for range 12 {
				go func() { statuses <- ask(s, "/v1/users/count").Code }()
			}
			for i := range 12 {
				status, took := <-statuses, time.Since(start)
				if want := map[bool]int{true: 429, false: 200}[i < 2]; status != want || (took == 0) != (i < 2) {
					t.Errorf("round %d: answer %d is %d after %v, want %d", round, i, status, took, want)
				}
			}
			synctest.Wait()
		}
	})
}

func addFault(t *testing.T, s *Sim, f Fault) {
	t.Helper()
	if err := s.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// wantFailure checks that an answer is an error in Clerk's form.
func wantFailure(t *testing.T, resp *http.Response, body []byte, status int, code string) {
	t.Helper()
	w := httptest.NewRecorder()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body) // a recorder accepts everything
	wantError(t, resp.Request.URL.Path, w, status, code)
}

func wantPage(t *testing.T, resp *http.Response, body []byte, status int) {
	t.Helper()
	if resp.StatusCode != status || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.HasPrefix(string(body), "<!DOCTYPE html>") {
		t.Errorf("got %d %s: %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
}
