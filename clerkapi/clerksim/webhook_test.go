package clerksim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	svix "github.com/svix/svix-webhooks/go"
)

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key of twenty-four byt"))

// received is a received event.
type received struct {
	at     time.Time
	id     string
	body   []byte
	event  webhookEvent
	forged bool
}

// receiver is a transport that receives events and verifies signatures with Svix's own
// library.
type receiver struct {
	verifier *svix.Webhook
	answer   func(received) int // the status; nil: 200

	mu  sync.Mutex
	got []received
}

func (rc *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	in := received{at: time.Now(), id: r.Header.Get("Svix-Id"), body: body}
	in.forged = rc.verifier.Verify(body, r.Header) != nil
	if err := json.Unmarshal(body, &in.event); err != nil {
		return nil, err
	}
	rc.mu.Lock()
	rc.got = append(rc.got, in)
	rc.mu.Unlock()
	status := http.StatusOK
	if rc.answer != nil {
		status = rc.answer(in)
	}
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	header := http.Header{"Location": {"http://elsewhere.example/"}}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
}

// sending runs test in a bubble with a simulator that sends its events to a receiver.
func sending(t *testing.T, config Webhook, answer func(received) int, test func(t *testing.T, s *Sim, rc *receiver)) {
	t.Helper()
	verifier, err := svix.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	config.URL, config.Secret = "http://receiver.example/webhooks/clerk", webhookSecret
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Config{Users: 5, Webhook: config})
		rc := &receiver{verifier: verifier, answer: answer}
		s.outbox.transport = rc
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.SendWebhooks(ctx)
		test(t, s, rc)
	})
}

// pass advances the time in a bubble and waits for everything that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// rename changes a user.
func rename(t *testing.T, s *Sim, id, name string) {
	t.Helper()
	if err := s.Update(id, func(u *User) { u.FirstName = &name }); err != nil {
		t.Fatal(err)
	}
}

// renames changes one user n times.
func renames(t *testing.T, s *Sim, n int) {
	t.Helper()
	for range n {
		rename(t, s, s.UserIDs(1)[0], "Ada")
	}
}

// wantWebhooks checks all counters.
func wantWebhooks(t *testing.T, s *Sim, want WebhookStats) {
	t.Helper()
	if got := s.Stats().Webhooks; got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestWebhookEvents(t *testing.T) {
	sending(t, Webhook{}, nil, func(t *testing.T, s *Sim, rc *receiver) {
		id := s.UserIDs(1)[0]
		made := &User{FirstName: new("Grace")}
		if err := s.Create(made); err != nil {
			t.Fatal(err)
		}
		rename(t, s, id, "Ada <&>")
		truth := s.users.get(id).text
		if err := s.Delete(id); err != nil {
			t.Fatal(err)
		}
		if s.Create(&User{ID: made.ID}) == nil || s.Update(id, func(*User) {}) == nil || s.Delete(id) == nil {
			t.Error("changes that can't be were made")
		}
		synctest.Wait()
		var kinds []string
		ids := map[string]bool{}
		for _, in := range rc.got {
			kinds = append(kinds, in.event.Type)
			ids[in.id] = true
			if in.forged || in.event.Object != "event" || in.event.Timestamp != time.Now().UnixMilli() || !strings.HasPrefix(in.event.InstanceID, "ins_") || !strings.HasPrefix(in.id, "msg_") {
				t.Errorf("got %+v", in)
			}
		}
		if !slices.Equal(kinds, []string{"user.created", "user.updated", "user.deleted"}) || len(ids) != 3 {
			t.Fatalf("got %v as %v", kinds, ids)
		}
		if u := decode[User](t, rc.got[0].event.Data); u.ID != made.ID || *u.FirstName != "Grace" {
			t.Errorf("created: %+v", u)
		}
		var got, want any = decode[map[string]any](t, rc.got[1].event.Data), decode[map[string]any](t, truth)
		if !equalJSON(t, got, want) {
			t.Errorf("updated: %v, want what the API gives: %v", got, want)
		}
		if got, want := string(rc.got[2].event.Data), `{"deleted":true,"id":"`+id+`","object":"user"}`; got != want {
			t.Errorf("deleted: %s, want %s", got, want)
		}
		wantWebhooks(t, s, WebhookStats{Events: 3, Acknowledged: 3})
		s.Reset()
		wantWebhooks(t, s, WebhookStats{})
	})
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	texts := [2]string{}
	for i, v := range []any{a, b} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0] == texts[1]
}

func TestWebhookDelay(t *testing.T) {
	sending(t, Webhook{Delay: 3 * time.Second}, nil, func(t *testing.T, s *Sim, rc *receiver) {
		began := time.Now()
		renames(t, s, 2)
		pass(time.Second)
		renames(t, s, 1)
		wantWebhooks(t, s, WebhookStats{Events: 3, Waiting: 3})
		pass(time.Minute)
		for i, want := range []time.Duration{3 * time.Second, 3 * time.Second, 4 * time.Second} {
			if at := rc.got[i].at.Sub(began); at != want {
				t.Errorf("event %d came after %v, want %v", i, at, want)
			}
		}
		wantWebhooks(t, s, WebhookStats{Events: 3, Acknowledged: 3})
	})
}

// inOrder reports whether events came in the order of their changes.
func inOrder(t *testing.T, got []received) bool {
	t.Helper()
	return slices.IsSortedFunc(got, func(a, b received) int {
		return int(decode[User](t, a.event.Data).UpdatedAt - decode[User](t, b.event.Data).UpdatedAt)
	})
}

func TestWebhookOrder(t *testing.T) {
	for _, tt := range []struct {
		reorder time.Duration
		ordered bool
	}{{0, true}, {time.Second, false}} {
		sending(t, Webhook{Delay: time.Second, Reorder: tt.reorder}, nil, func(t *testing.T, s *Sim, rc *receiver) {
			began := time.Now()
			renames(t, s, 20)
			pass(time.Minute)
			if len(rc.got) != 20 || inOrder(t, rc.got) != tt.ordered {
				t.Errorf("reorder %v: %d events, in order %v", tt.reorder, len(rc.got), !tt.ordered)
			}
			for _, in := range rc.got {
				if took := in.at.Sub(began); took < time.Second || took > time.Second+tt.reorder {
					t.Errorf("reorder %v: one after %v", tt.reorder, took)
				}
			}
		})
	}
}

func TestWebhookRepeat(t *testing.T) {
	refusals := 1
	answer := func(received) int {
		if refusals--; refusals >= 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	}
	sending(t, Webhook{Repeat: 2}, answer, func(t *testing.T, s *Sim, rc *receiver) {
		renames(t, s, 1)
		pass(time.Minute)
		if len(rc.got) != 4 {
			t.Fatalf("%d deliveries", len(rc.got))
		}
		for _, in := range rc.got {
			if in.id != rc.got[0].id || string(in.body) != string(rc.got[0].body) || in.forged {
				t.Errorf("got %+v, want what came first: %+v", in, rc.got[0])
			}
		}
		wantWebhooks(t, s, WebhookStats{Events: 1, Acknowledged: 3, Refused: 1})
	})
}

// TestWebhookRetries: a refused event is sent again a few times with a new signature;
// others do not wait for it.
func TestWebhookRetries(t *testing.T) {
	for _, status := range []int{0, http.StatusTemporaryRedirect, http.StatusBadRequest, http.StatusServiceUnavailable} {
		bad := true
		answer := func(in received) int {
			if bad && in.event.Type == "user.updated" {
				return status
			}
			return http.StatusNoContent
		}
		sending(t, Webhook{Repeat: 1}, answer, func(t *testing.T, s *Sim, rc *receiver) {
			began := time.Now()
			renames(t, s, 1)
			if err := s.Delete(s.UserIDs(1)[0]); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour)
			var after []time.Duration
			for _, in := range rc.got {
				if in.event.Type == "user.updated" {
					after = append(after, in.at.Sub(began))
				} else if !in.at.Equal(began) {
					t.Errorf("status %d: another event came after %v", status, in.at.Sub(began))
				}
				if in.forged {
					t.Errorf("status %d: signed too long ago", status)
				}
			}
			want := []time.Duration{0, 200 * time.Millisecond, 1200 * time.Millisecond, 6200 * time.Millisecond, 36200 * time.Millisecond}
			if !slices.Equal(after, want) {
				t.Errorf("status %d: sent after %v, want %v", status, after, want)
			}
			wantWebhooks(t, s, WebhookStats{Events: 2, Acknowledged: 2, Refused: 5, GivenUp: 1})
		})
	}
}

// TestWebhookRepeatRefused: a refused repetition is not sent again.
func TestWebhookRepeatRefused(t *testing.T) {
	first := true
	answer := func(received) int {
		defer func() { first = false }()
		if first {
			return http.StatusNoContent
		}
		return http.StatusServiceUnavailable
	}
	sending(t, Webhook{Repeat: 3}, answer, func(t *testing.T, s *Sim, _ *receiver) {
		renames(t, s, 1)
		pass(time.Hour)
		wantWebhooks(t, s, WebhookStats{Events: 1, Acknowledged: 1, Refused: 3})
	})
}

func TestWebhookForge(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusOK} {
		answer := func(in received) int {
			if in.forged {
				return status
			}
			return http.StatusOK
		}
		sending(t, Webhook{Forge: 1}, answer, func(t *testing.T, s *Sim, rc *receiver) {
			renames(t, s, 3)
			pass(time.Hour)
			for i, in := range rc.got {
				kind := map[bool]string{true: "user.deleted", false: "user.updated"}[i%2 == 0]
				if in.forged != (i%2 == 0) || in.event.Type != kind || in.id != rc.got[i/2*2].id {
					t.Errorf("delivery %d: %+v", i, in)
				}
			}
			want := WebhookStats{Events: 3, Acknowledged: 3, Forged: 3}
			if status == http.StatusOK {
				want.ForgedAccepted = 3
			}
			wantWebhooks(t, s, want)
		})
	}
}

// TestWebhookShares: random fractions of events are dropped or forged.
func TestWebhookShares(t *testing.T) {
	sending(t, Webhook{Drop: 0.5, Forge: 0.2}, nil, func(t *testing.T, s *Sim, _ *receiver) {
		renames(t, s, 400)
		pass(time.Hour)
		got := s.Stats().Webhooks
		if got.Dropped < 150 || got.Dropped > 250 || got.Acknowledged != 400-got.Dropped || got.Forged < 20 || got.Forged > 70 {
			t.Errorf("counted %+v", got)
		}
	})
}

// TestWebhookStopped: events that were not answered when sending stopped are sent by the
// next SendWebhooks.
func TestWebhookStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Config{Users: 5, Webhook: Webhook{URL: "http://receiver.example/", Secret: webhookSecret, Delay: time.Second}})
		ids := map[string]int{}
		ctx, stop := context.WithCancel(t.Context())
		s.outbox.transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			ids[r.Header.Get("Svix-Id")]++
			stop()
			return nil, context.Cause(r.Context())
		})
		renames(t, s, 2)
		s.SendWebhooks(ctx)
		wantWebhooks(t, s, WebhookStats{Events: 2, Waiting: 2})
		ctx, stop = context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		s.outbox.transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			ids[r.Header.Get("Svix-Id")]++
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		s.SendWebhooks(ctx)
		wantWebhooks(t, s, WebhookStats{Events: 2, Acknowledged: 2})
		if len(ids) != 2 {
			t.Errorf("sent %v", ids)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWebhookServed: Serve sends events over the network.
func TestWebhookServed(t *testing.T) {
	got := make(chan string, 1)
	taker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Content-Type")
	}))
	defer taker.Close()
	s := newSim(t, Config{Users: 5, Webhook: Webhook{URL: taker.URL, Secret: webhookSecret}})
	serve(t, s, false)
	for range 3 {
		renames(t, s, 1)
		if kind := <-got; kind != "application/json" {
			t.Errorf("a body of %q", kind)
		}
	}
}

func TestWebhookNowhere(t *testing.T) {
	s := newSim(t, Config{Users: 5})
	renames(t, s, 3)
	wantWebhooks(t, s, WebhookStats{})
}

func TestWebhookConfig(t *testing.T) {
	good := Webhook{URL: "https://receiver.example/hook", Secret: webhookSecret}
	for name, tt := range map[string]struct {
		change func(*Webhook)
		want   string // part of the error; empty: none
	}{
		"good":              {func(*Webhook) {}, ""},
		"all of all":        {func(w *Webhook) { w.Drop, w.Forge = 1, 1 }, ""},
		"off":               {func(w *Webhook) { *w = Webhook{} }, ""},
		"no URL":            {func(w *Webhook) { w.URL = "receiver.example" }, "URL"},
		"another scheme":    {func(w *Webhook) { w.URL = "ftp://receiver.example" }, "URL"},
		"no secret":         {func(w *Webhook) { w.Secret = "" }, "secret"},
		"empty secret":      {func(w *Webhook) { w.Secret = "whsec_" }, "secret"},
		"no base64":         {func(w *Webhook) { w.Secret = "whsec_!" }, "secret"},
		"negative delay":    {func(w *Webhook) { w.Delay = -1 }, "delay"},
		"negative reorder":  {func(w *Webhook) { w.Reorder = -1 }, "reorder"},
		"negative repeat":   {func(w *Webhook) { w.Repeat = -1 }, "repeat"},
		"more than all":     {func(w *Webhook) { w.Forge = 1.1 }, "share"},
		"less than nothing": {func(w *Webhook) { w.Drop = -0.1 }, "share"},
	} {
		config := good
		tt.change(&config)
		_, err := New(Config{Users: -1, Webhook: config})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if len(config.Secret) > len("whsec_") && err != nil && strings.Contains(err.Error(), config.Secret) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
}
