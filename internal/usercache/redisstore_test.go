package usercache

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

const (
	basic = clerkgatev1.UserView_USER_VIEW_BASIC
	full  = clerkgatev1.UserView_USER_VIEW_FULL
)

// copyAt returns a copy with the given updated_at, whose flight left with the stamp
// at f s.
func copyAt(updatedAt int64, stamp uint64, f int64) *Entry {
	text := fmt.Sprintf("u%d f%d", updatedAt, f)
	return &Entry{
		public: []byte(text), shared: len(text), private: []byte("private " + text), hasPrivate: true,
		UpdatedAt: updatedAt, Stamp: stamp, fetched: time.Unix(f, 0), asOf: time.Unix(f, 0), Origin: clerkgatev1.Origin_ORIGIN_CLERK,
	}
}

// mustPut puts one entry.
func (r *redisReplica) mustPut(id string, e *Entry, ttl time.Duration) {
	r.t.Helper()
	if err := r.put(context.Background(), []putItem{{id: id, entry: e, ttl: ttl}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *redisReplica) mustGet(view clerkgatev1.UserView, ids ...string) []*Entry {
	r.t.Helper()
	got, err := r.get(context.Background(), ids, view)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *redisReplica) mustInvalidate(ids ...string) uint64 {
	r.t.Helper()
	seq, err := r.invalidate(context.Background(), ids)
	if err != nil {
		r.t.Fatal(err)
	}
	return seq
}

func (r *redisReplica) mustApply(id string, e *Entry) uint64 {
	r.t.Helper()
	a, err := r.apply(context.Background(), id, e, time.Hour, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return a.seq
}

func TestRedisKeepsBytes(t *testing.T) {
	r := startRedisReplica(t, redisConfig{URL: redistest.Start(t).URL(), Beat: 5 * time.Second})
	var all []byte
	for i := range 256 {
		all = append(all, byte(i), '\r', '\n')
	}
	huge := bytes.Repeat(all, 4096)
	for name, e := range map[string]*Entry{
		"binary":     {public: all, private: all, shared: 7, UpdatedAt: math.MinInt32, Stamp: 1<<53 - 1, fetched: time.Now().Add(-time.Hour)},
		"huge":       {public: huge, private: huge, shared: 7, Stamp: 1},
		"no private": {public: []byte("x"), shared: 1, UpdatedAt: 1_800_000_000_000, Stamp: 3, fetched: time.Now()},
		"webhook's":  {public: []byte("x"), shared: 1, Stamp: 3, Origin: clerkgatev1.Origin_ORIGIN_WEBHOOK},
		"missing":    {Missing: true, Stamp: 4},
	} {
		t.Run(name, func(t *testing.T) {
			e.hasPrivate = true
			if e.fetched.IsZero() {
				e.fetched = time.Now()
			}
			if e.Origin == 0 {
				e.Origin = clerkgatev1.Origin_ORIGIN_CLERK
			}
			r.mustPut(name, e, time.Hour)
			got := r.mustGet(full, name)[0]
			if got == nil || !got.Has(full) || got.Stamp != e.Stamp || got.UpdatedAt != e.UpdatedAt || !e.fetched.IsZero() && got.fetched.Sub(e.fetched).Abs() > 5*time.Second ||
				got.Origin != e.Origin || got.Missing != e.Missing || got.shared != e.shared {
				t.Fatalf("got %+v, want %+v", got, e)
			}
			if !bytes.Equal(got.public, e.public) || !bytes.Equal(got.private, e.private) {
				t.Error("other bytes")
			}
			light := r.mustGet(basic, name)[0]
			if light == nil || light.private != nil || light.Has(full) != e.Missing {
				t.Errorf("BASIC reads more than it should: %+v", light)
			}
		})
	}
	light := r.mustGet(basic, "binary")[0]
	r.mustPut("read for BASIC", light, time.Hour)
	if got := r.mustGet(basic, "read for BASIC")[0]; got != nil {
		t.Errorf("an entry without its private part was stored: %+v", got)
	}
	if got := r.mustGet(basic); len(got) != 0 {
		t.Errorf("no ids give %v", got)
	}
	if err := r.put(t.Context(), nil); err != nil {
		t.Errorf("nothing to put: %v", err)
	}
}

func TestRedisIgnoresWhatItCannotRead(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	for _, b := range []string{"", "x", "\xff\x00\x01"} {
		r.mustPut("user_a", copyAt(1, 1, 1), time.Hour)
		if err := s.Client().Do(t.Context(), s.Client().B().Hset().Key(r.userKey("user_a")).FieldValue().FieldValue("b", b).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		if got := r.mustGet(full, "user_a")[0]; got != nil {
			t.Errorf("%q is read as %+v", b, got)
		}
	}
}

// TestRedisKeysOfAnotherKind: keys that are not a copy of this version count as lost and
// are overwritten; every key has a time to live.
func TestRedisKeysOfAnotherKind(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	spoil := map[string]func(key string) string{
		"another type":         func(key string) string { return "SET " + key + " text" },
		"a list":               func(key string) string { return "RPUSH " + key + " text" },
		"another version":      func(key string) string { return "HSET " + key + " version 7" },
		"no numbers":           func(key string) string { return "HSET " + key + " b x u y s z o 1 f 1 m 1 i x" },
		"huge numbers":         func(key string) string { return "HSET " + key + " b x u 1 s 1e300 o 1 f nan m 1" },
		"a copy without marks": func(key string) string { return "HSET " + key + " b x" },
	}
	for what, command := range spoil {
		for name, do := range map[string]func(id string){
			"put":        func(id string) { r.mustPut(id, copyAt(1, 1<<50, 1), time.Hour) },
			"invalidate": func(id string) { r.mustInvalidate(id) },
			"webhook":    func(id string) { r.mustApply(id, copyAt(1, 0, 1)) },
			"deletion":   func(id string) { r.mustApply(id, tombstone(0, time.Now())) },
		} {
			id := "user_" + strings.ReplaceAll(what+"_"+name, " ", "_")
			r.mustPut("user_c", copyAt(1, 1<<50, 1), time.Hour)
			if got := s.Ask(command(r.userKey(id))); got[0] == '-' {
				t.Fatal(got)
			}
			if got := r.mustGet(full, id, "user_c"); got[0] != nil || got[1] == nil {
				t.Errorf("%s: read as %v", what, got)
			}
			do(id)
			if got := r.mustGet(full, id)[0]; (got != nil) != (name != "invalidate") {
				t.Errorf("%s, then %s: read as %+v", what, name, got)
			}
			if ms := s.Ask("PTTL " + r.userKey(id)); ms[:2] == ":-" {
				t.Errorf("%s, then %s: PTTL is %s", what, name, ms)
			}
		}
		if what == "another version" {
			continue // of the sequence, every hash of its fields is one
		}
		for s.Ask("DEL " + r.sequenceKey()); s.Ask(command(r.sequenceKey()))[0] == '-'; { // a heartbeat came between them
			s.Ask("DEL " + r.sequenceKey())
		}
		r.mustInvalidate("user_d")
		r.wait(len(r.heard()), isAlive)
		r.age()
		if ms := s.Ask("PTTL " + r.sequenceKey()); ms[:2] == ":-" {
			t.Errorf("%s: PTTL of the sequence is %s", what, ms)
		}
	}
	if err := r.record(t.Context(), "msg_1"); err != nil {
		t.Fatal(err)
	}
	keys, err := s.Client().Do(t.Context(), s.Client().B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if ms := s.Ask("PTTL " + key); ms[:2] == ":-" {
			t.Errorf("%s is kept for ever", key)
		}
	}
}

func TestRedisExpiry(t *testing.T) {
	s := redistest.Start(t)
	const mark = 30 * time.Minute
	r := startRedisReplica(t, redisConfig{URL: s.URL(), MarkFor: mark})
	for name, c := range map[string]struct {
		do   func(id string)
		want time.Duration
	}{
		"a copy": {func(id string) { r.mustPut(id, copyAt(1, 0, 0), 24*time.Hour) }, 24 * time.Hour},
		"a shorter one after it": {func(id string) {
			r.mustPut(id, copyAt(1, 0, 0), 24*time.Hour)
			r.mustPut(id, copyAt(2, 0, 0), time.Minute)
		}, time.Minute},
		"a mark":                    {func(id string) { r.mustInvalidate(id) }, mark},
		"a mark in place of a copy": {func(id string) { r.mustPut(id, copyAt(1, 0, 0), 24*time.Hour); r.mustInvalidate(id) }, mark},
		"a copy beside a mark": {func(id string) {
			seq := r.mustInvalidate(id)
			r.mustPut(id, missing(seq, time.Now()), time.Second)
		}, mark},
		"a copy beside a mark, for longer": {func(id string) {
			seq := r.mustInvalidate(id)
			r.mustPut(id, copyAt(1, seq, 0), 24*time.Hour)
		}, 24 * time.Hour},
		"a copy by webhook": {func(id string) { r.mustApply(id, copyAt(1, 0, 0)) }, time.Hour},
		"a copy that a webhook confirms": {func(id string) {
			r.mustPut(id, copyAt(1, 0, 0), 24*time.Hour)
			r.mustApply(id, copyAt(1, 0, 0))
		}, 24 * time.Hour},
		"a copy that a webhook confirms, about to end": {func(id string) {
			r.mustPut(id, copyAt(1, 0, 0), 10*time.Minute)
			r.mustApply(id, copyAt(1, 0, 0))
		}, mark},
		"a tombstone": {func(id string) {
			if _, err := r.apply(t.Context(), id, tombstone(0, time.Now()), tombstoneTTL, false); err != nil {
				t.Fatal(err)
			}
			r.mustInvalidate(id)
		}, 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(name, " ", "_")
			c.do(id)
			checkExpiry(t, s, r.userKey(id), c.want)
		})
	}
	if err := r.record(t.Context(), "msg_1"); err != nil {
		t.Fatal(err)
	}
	checkExpiry(t, s, r.eventKey("msg_1"), 48*time.Hour)
}

// checkExpiry checks that a key ends within a minute before want.
func checkExpiry(t *testing.T, s *redistest.Server, key string, want time.Duration) {
	t.Helper()
	ms, err := strconv.Atoi(strings.TrimPrefix(s.Ask("PTTL "+key), ":"))
	if left := time.Duration(ms) * time.Millisecond; err != nil || left > want || left < want-time.Minute {
		t.Errorf("%s is kept for %v (%v), want %v", key, left, err, want)
	}
}

func TestRedisEvents(t *testing.T) {
	r := startRedisReplica(t, redisConfig{URL: redistest.Start(t).URL()})
	for i, want := range []bool{false, true, true} {
		if got, err := r.seen(t.Context(), "msg_1"); err != nil || got != want {
			t.Errorf("%d: seen gives %v, %v", i, got, err)
		}
		if err := r.record(t.Context(), "msg_1"); err != nil {
			t.Error(err)
		}
	}
	if got, err := r.seen(t.Context(), "msg_2"); err != nil || got {
		t.Errorf("seen gives %v, %v for an event that was not recorded", got, err)
	}
}

func TestRedisInstancesNeverMix(t *testing.T) {
	s := redistest.Start(t)
	instances := []string{"live", "test", "live:cache1:user", "{live}", "", "a b/ü"}
	var replicas []*redisReplica
	prefixes := make(map[string]bool)
	for _, name := range instances {
		r := startRedisReplica(t, redisConfig{URL: s.URL(), Instance: name + "!"})
		r.mustPut("user_a", copyAt(int64(len(name)), 0, 0), time.Hour)
		replicas = append(replicas, r)
		if strings.ContainsAny(r.prefix, "{} ") || strings.Count(r.prefix, ":") != 3 {
			t.Errorf("prefix %q of instance %q", r.prefix, name)
		}
		prefixes[r.prefix] = true
	}
	if len(prefixes) != len(instances) {
		t.Errorf("instances share prefixes: %v", prefixes)
	}
	seq := replicas[0].mustInvalidate("user_a")
	if err := replicas[0].record(t.Context(), "msg_1"); err != nil {
		t.Fatal(err)
	}
	replicas[0].wait(0, func(e told) bool { return e.what == "invalidated" && e.seq == seq })
	for i, r := range replicas[1:] {
		if e := r.mustGet(full, "user_a")[0]; e == nil || e.UpdatedAt != int64(len(instances[i+1])) {
			t.Errorf("instance %q has %+v", instances[i+1], e)
		}
		if seen, err := r.seen(t.Context(), "msg_1"); err != nil || seen {
			t.Errorf("instance %q has another's event (%v)", instances[i+1], err)
		}
		own := r.mustInvalidate("user_b")
		r.wait(0, func(e told) bool { return e.what == "invalidated" && e.seq == own })
		if n := r.count("invalidated"); n != 1 {
			t.Errorf("instance %q was told of %d invalidations, want its own", instances[i+1], n)
		}
	}
	keys, err := s.Client().Do(t.Context(), s.Client().B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "clerkgate:") {
			t.Errorf("key %q", key)
		}
	}
}

func TestRedisScriptsLost(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	items := []putItem{{id: "user_a", entry: copyAt(1, 1, 1), ttl: time.Hour}, {id: "user_b", entry: copyAt(2, 1, 1), ttl: time.Hour}}
	for range 2 {
		if got := s.Ask("SCRIPT FLUSH"); got != "+OK" {
			t.Fatal(got)
		}
		if err := r.put(t.Context(), items); err != nil {
			t.Fatal(err)
		}
	}
	got := r.mustGet(basic, "user_a", "user_c", "user_b")
	var texts []string
	for _, e := range got {
		if e != nil {
			texts = append(texts, string(e.public))
		} else {
			texts = append(texts, "none")
		}
	}
	if diff := cmp.Diff([]string{"u1 f1", "none", "u2 f1"}, texts); diff != "" {
		t.Error(diff)
	}
	stats := r.snapshot()
	if stats.Hits != 2 || stats.Misses != 1 || stats.Calls != 3 || sum(stats.Errors) != 0 || stats.Refused != 0 || stats.Latency <= 0 || !stats.Connected {
		t.Errorf("%+v", stats)
	}
}
