package quotaredis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// TestOlderDataIsNotTrusted: a failover brings back the state of some seconds ago.
func TestOlderDataIsNotTrusted(t *testing.T) {
	store := newStore(t)
	calm(t, store, quota.Config{}, func(w *world) {
		r, other := w.add([2]int{50, 0}), w.add([2]int{50, 0})
		w.run(epoch.Add(5 * time.Second))
		c := store.client
		old, err := c.Do(context.Background(), c.B().Get().Key(store.key).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		w.run(w.now.Add(5 * time.Second))
		if err := c.Do(context.Background(), c.B().Set().Key(store.key).Value(old).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		w.run(w.now.Add(time.Second))
		for _, r := range []*replica{r, other} {
			if s := r.ShareState(w.now); s.Decider != quota.DecidesLearning || s.Allowance == 0 || s.Allowance > 50 {
				t.Errorf("a second after the failover: %+v, want its share while the state learns", s)
			}
			if left := r.ShareState(w.now).Learned.Sub(w.now); left <= 0 || left > 12*time.Second {
				t.Errorf("a second after the failover the state is to learn for another %v", left)
			}
		}
		w.run(w.now.Add(12 * time.Second))
		for _, r := range []*replica{r, other} {
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
				t.Errorf("a window after the failover: %+v", s)
			}
		}
		w.check()
	})
}

// TestAStateThatCannotBeReadIsALostOne: whatever is stored there.
func TestAStateThatCannotBeReadIsALostOne(t *testing.T) {
	store := newStore(t)
	for _, there := range [][]string{
		{"SET", "rubbish"}, {"SET", ""}, {"SET", "\x80"}, {"SET", "\xc1"},
		{"SET", "\x81\xa5epoch\xa1e"}, // a map of nothing but an epoch
		{"RPUSH", "a list"}, {"SADD", "a set"}, {"HSET", "a", "hash"},
		// Of this version, but with nothing else, or with other values than there should
		// be.
		{"SET", "\x81\xa7version\x01"}, {"SET", "\x81\xa7version\x02"}, {"SET", "\x81\xa7version\x03"},
		{"SET", "\x82\xa7version\x01\xa3now\xa1x"}, {"SET", "\x83\xa7version\x01\xa3now\x01\xa8replicas\x05"},
	} {
		calm(t, store, quota.Config{}, func(w *world) {
			r := w.add([2]int{1, 0})
			w.run(epoch.Add(time.Second))
			c := store.client
			put := append([]string{there[0], store.key}, there[1:]...)
			for _, command := range [][]string{{"DEL", store.key}, put, {"SCRIPT", "FLUSH"}} {
				if err := c.Do(context.Background(), c.B().Arbitrary(command...).Build()).Error(); err != nil {
					t.Fatal(err)
				}
			}
			w.run(w.now.Add(time.Second))
			if s := r.ShareState(w.now); s.Decider != quota.DecidesLearning {
				t.Errorf("%q: a second later %+v, want a new state", there, s)
			}
			w.run(w.now.Add(14 * time.Second))
			if s := r.ShareState(w.now); s.Decider != quota.DecidesState {
				t.Errorf("%q: %+v", there, s)
			}
		})
	}
}

// TestAStateThatMayNotBeReadIsNotALostOne: the exchange fails, and nothing is changed.
func TestAStateThatMayNotBeReadIsNotALostOne(t *testing.T) {
	server := redistest.Start(t)
	store, err := New(server.URL(), "test", redislink.Access{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	calm(t, store, quota.Config{}, func(w *world) {
		r := w.add([2]int{1, 0})
		w.run(epoch.Add(time.Second))
		client := server.Client()
		get := client.B().Get().Key(store.key).Build().Pin()
		before, err := client.Do(t.Context(), get).ToString()
		if err != nil {
			t.Fatal(err)
		}
		if got := server.Ask("ACL SETUSER default -get"); got != "+OK" {
			t.Fatal(got)
		}
		if reply, err := store.Exchange(t.Context(), r.Report(w.now, r.wants)); err == nil {
			t.Errorf("the reply is %+v, want an error", reply)
		}
		if got := server.Ask("ACL SETUSER default +get"); got != "+OK" {
			t.Fatal(got)
		}
		if after, err := client.Do(t.Context(), get).ToString(); err != nil || after != before {
			t.Errorf("the state has changed, %v", err)
		}
	})
}

// TestTheStateStaysSmall: however large the quota is.
func TestTheStateStaysSmall(t *testing.T) {
	store := newStore(t)
	for _, cfg := range []quota.Config{{}, {Limit: 1000}, {Limit: 100_000, Window: time.Minute}} {
		calm(t, store, cfg, func(w *world) {
			w.add([2]int{100, 0})
			w.add([2]int{100, 0})
			w.run(epoch.Add(10 * time.Second))
			c := store.client
			size, err := c.Do(context.Background(), c.B().Strlen().Key(store.key).Build()).AsInt64()
			if err != nil || size > 32<<10 {
				t.Errorf("%d per %v: %d bytes after %d requests, %v", cfg.Limit, cfg.Window, size, w.grants, err)
			}
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, limit := range []int{100, 1000} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			store, err := New(redistest.Start(b).URL(), "test", redislink.Access{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(store.Close)
			s := quota.NewShared(quota.Config{Limit: limit}, "a", time.Now())
			for b.Loop() {
				now := time.Now()
				if p, ok, _ := s.Take(now); ok {
					s.Answered(p, now, now, now, nil)
				}
				r := s.Report(now, [2]int{10, 0})
				reply, err := store.Exchange(context.Background(), r)
				if err != nil {
					b.Fatal(err)
				}
				s.Reply(r, now, time.Now(), reply, nil)
			}
		})
	}
}
