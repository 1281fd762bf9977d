package webhook_test

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// mirror is a sink that applies what it receives: the newer copy wins, and a deletion is
// final.
type mirror struct {
	mu          sync.Mutex
	users       map[string]*clerkgatev1.User // nil: deleted
	invalidated []string
	seen        map[string]bool
	applied     int
}

func (m *mirror) Updated(_ context.Context, u *clerkgatev1.User, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied++
	old, ok := m.users[u.Id]
	if !ok || old != nil && u.UpdatedAt.AsTime().After(old.UpdatedAt.AsTime()) {
		m.users[u.Id] = u
	}
	return nil
}

func (m *mirror) Deleted(_ context.Context, id string, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied++
	m.users[id] = nil
	return nil
}

func (m *mirror) Invalidate(_ context.Context, ids []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invalidated = append(m.invalidated, ids...)
	return nil
}

func (m *mirror) Seen(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[id], nil
}

func (m *mirror) Record(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[id] = true
	return nil
}

// TestSimulator has the simulator send events in every unreliable way, and expects the
// sink's users to equal the simulator's in the end.
func TestSimulator(t *testing.T) {
	const users, changes, repeat = 8, 40, 2
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key of twenty-four byt"))
	m := &mirror{users: map[string]*clerkgatev1.User{}, seen: map[string]bool{}}
	h := webhook.New(webhook.Config{Secret: func() string { return secret }, Sink: m})
	answered := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		answered <- struct{}{}
	}))
	defer receiver.Close()
	sim, err := clerksim.New(clerksim.Config{Users: users, Webhook: clerksim.Webhook{
		URL: receiver.URL + webhook.Path, Secret: secret, Reorder: 20 * time.Millisecond, Repeat: repeat, Forge: 1,
	}})
	if err != nil {
		t.Fatal(err)
	}
	ids := sim.UserIDs(users)
	created := &clerksim.User{}
	events := changes + 2
	if err := sim.Create(created); err != nil {
		t.Fatal(err)
	}
	for i := range changes {
		id := ids[i%users]
		if err := sim.Update(id, func(u *clerksim.User) { u.FirstName = new(string(rune('A' + i))) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := sim.Delete(ids[0]); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { sim.SendWebhooks(ctx) })
	for range events * (1 + repeat + 1) {
		<-answered
	}
	stop()
	sending.Wait()

	want := map[webhook.Count]int64{
		{Kind: "user.created", Outcome: webhook.Invalidated}: 1, // a bare user without metadata
		{Kind: "user.created", Outcome: webhook.Duplicate}:   repeat,
		{Kind: "user.updated", Outcome: webhook.Applied}:     changes,
		{Kind: "user.updated", Outcome: webhook.Duplicate}:   changes * repeat,
		{Kind: "user.deleted", Outcome: webhook.Applied}:     1,
		{Kind: "user.deleted", Outcome: webhook.Duplicate}:   repeat,
		{Kind: "other", Outcome: webhook.Forged}:             int64(events),
	}
	if got := h.Stats(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if n := sim.Stats().Webhooks.ForgedAccepted; n != 0 {
		t.Errorf("%d forged events were taken", n)
	}
	for _, id := range ids {
		got := m.users[id]
		truth, ok := sim.User(id)
		switch {
		case !ok:
			if got != nil {
				t.Errorf("%s is deleted, yet known", id)
			}
		case got.GetFirstName() != *truth.FirstName || got.GetUpdatedAt().AsTime().UnixMilli() != truth.UpdatedAt:
			t.Errorf("%s: got %s of %v, want %s", id, got.GetFirstName(), got.GetUpdatedAt().AsTime(), *truth.FirstName)
		}
	}
}
