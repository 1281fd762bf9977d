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
	"github.com/clerkgate/clerkgate/internal/redislink"
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

func TestRedisRules(t *testing.T) {
	r := startRedisReplica(t, redisConfig{URL: redistest.Start(t).URL()})
	ctx := context.Background()
	// The stamps of each case are relative to its first number.
	var base uint64
	type step = func(t *testing.T, id string)
	put := func(u int64, stamp uint64, f int64) step {
		return func(_ *testing.T, id string) { r.mustPut(id, copyAt(u, base+stamp, f), time.Hour) }
	}
	putMissing := func(stamp uint64, f int64) step {
		return func(_ *testing.T, id string) { r.mustPut(id, missing(base+stamp, time.Unix(f, 0)), time.Hour) }
	}
	refresh := func(u int64, stamp uint64, f int64) step {
		return func(t *testing.T, id string) {
			if err := r.put(ctx, []putItem{{id: id, entry: copyAt(u, base+stamp, f), ttl: time.Hour, onlyPresent: true}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	invalidate := func(_ *testing.T, id string) { r.mustInvalidate(id) }
	webhook := func(u int64) step {
		return func(_ *testing.T, id string) { r.mustApply(id, copyAt(u, 0, 0)) }
	}
	deleted := func(_ *testing.T, id string) { r.mustApply(id, tombstone(0, time.Unix(0, 0))) }

	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"nothing":                                   {nil, "none"},
		"a copy":                                    {[]step{put(5, 0, 0)}, "u5 f0 +0"},
		"newer updated_at wins":                     {[]step{put(5, 0, 0), put(6, 0, 0)}, "u6 f0 +0"},
		"... though it left before":                 {[]step{put(5, 1, 1), put(6, 0, 0)}, "u6 f0 +0"},
		"older updated_at loses":                    {[]step{put(6, 0, 0), put(5, 0, 0)}, "u6 f0 +0"},
		"... though it left later":                  {[]step{put(6, 0, 0), put(5, 1, 1)}, "u6 f0 +0"},
		"same updated_at, higher stamp":             {[]step{put(5, 0, 9), put(5, 1, 1)}, "u5 f1 +1"},
		"same updated_at, lower stamp":              {[]step{put(5, 1, 1), put(5, 0, 9)}, "u5 f1 +1"},
		"same stamp, left later":                    {[]step{put(5, 0, 1), put(5, 0, 2)}, "u5 f2 +0"},
		"same stamp, left earlier":                  {[]step{put(5, 0, 2), put(5, 0, 1)}, "u5 f2 +0"},
		"left at 10 after 9":                        {[]step{put(5, 0, 10), put(5, 0, 9)}, "u5 f10 +0"},
		"missing":                                   {[]step{putMissing(0, 0)}, "missing +0"},
		"missing after a copy":                      {[]step{put(5, 0, 0), putMissing(0, 1)}, "missing +0"},
		"missing never beats a later flight's copy": {[]step{put(5, 0, 1), putMissing(0, 0)}, "u5 f1 +0"},
		"... nor one with a higher stamp":           {[]step{put(5, 1, 0), putMissing(0, 1)}, "u5 f0 +1"},
		"a copy after missing":                      {[]step{putMissing(0, 0), put(5, 0, 1)}, "u5 f1 +0"},
		"a copy that left before missing":           {[]step{putMissing(0, 1), put(5, 0, 0)}, "missing +0"},
		"missing twice":                             {[]step{putMissing(0, 0), putMissing(1, 0)}, "missing +1"},
		"refresh of nothing":                        {[]step{refresh(5, 0, 0)}, "none"},
		"refresh of a mark":                         {[]step{invalidate, refresh(5, 1, 0)}, "none"},
		"refresh of a copy":                         {[]step{put(5, 0, 0), refresh(6, 0, 0)}, "u6 f0 +0"},
		"refresh of missing":                        {[]step{putMissing(0, 0), refresh(6, 0, 1)}, "u6 f1 +0"},
		"invalidated":                               {[]step{put(5, 0, 0), invalidate}, "none"},
		"invalidated while it was fetched":          {[]step{invalidate, put(5, 0, 0)}, "none"},
		"... and fetched again":                     {[]step{invalidate, put(4, 1, 0)}, "u4 f0 +1"},
		"... though the latter returned first":      {[]step{put(5, 0, 0), invalidate, put(4, 1, 0), put(6, 0, 0)}, "u4 f0 +1"},
		"missing while it was invalidated":          {[]step{invalidate, putMissing(0, 9)}, "none"},
		"invalidated twice":                         {[]step{invalidate, invalidate, put(5, 1, 0)}, "none"},
		"webhook":                                   {[]step{webhook(5)}, "u5 f0 +1"},
		"webhook with something newer":              {[]step{put(5, 0, 0), webhook(6)}, "u6 f0 +1"},
		"webhook with something older":              {[]step{put(5, 0, 7), webhook(4)}, "u5 f7 +1"},
		"webhook with what is known":                {[]step{put(5, 0, 7), webhook(5)}, "u5 f7 +1"},
		"webhook after missing":                     {[]step{putMissing(0, 0), webhook(5)}, "u5 f0 +1"},
		"webhook before a newer fetch returned":     {[]step{webhook(5), put(6, 0, 9)}, "u6 f9 +0"},
		"webhook before a fetch of the same":        {[]step{webhook(5), put(5, 0, 9)}, "u5 f0 +1"},
		"webhook before an older fetch returned":    {[]step{webhook(5), put(4, 0, 9)}, "u5 f0 +1"},
		"webhook before a fetch found nobody":       {[]step{webhook(5), putMissing(0, 9)}, "u5 f0 +1"},
		"webhook before a later fetch":              {[]step{webhook(5), put(5, 1, 9)}, "u5 f9 +1"},
		"webhook before a later, older fetch":       {[]step{webhook(5), put(4, 2, 9)}, "u5 f0 +1"},
		"known by webhook, invalidated":             {[]step{put(5, 0, 7), webhook(5), invalidate}, "none"},
		"webhooks in the wrong order":               {[]step{webhook(6), webhook(5)}, "u6 f0 +2"},
		"invalidated, then a webhook":               {[]step{invalidate, webhook(5)}, "none"},
		"invalidated, fetched, then a webhook":      {[]step{invalidate, put(5, 1, 7), webhook(6)}, "u6 f0 +2"},
		"invalidated, then two webhooks":            {[]step{invalidate, webhook(5), webhook(6)}, "none"},
		"webhook, then invalidated":                 {[]step{webhook(5), invalidate}, "none"},
		"deleted":                                   {[]step{put(5, 0, 0), deleted}, "deleted +1"},
		"deleted, then fetched":                     {[]step{deleted, put(9, 9, 9)}, "deleted +1"},
		"deleted, then missing":                     {[]step{deleted, putMissing(9, 9)}, "deleted +1"},
		"deleted, then a webhook":                   {[]step{deleted, webhook(9)}, "deleted +1"},
		"deleted, then invalidated":                 {[]step{deleted, invalidate, put(9, 9, 9)}, "deleted +1"},
		"deleted twice":                             {[]step{deleted, deleted}, "deleted +2"},
	} {
		t.Run(name, func(t *testing.T) {
			id := "user_" + strings.ReplaceAll(name, " ", "_")
			base = r.mustInvalidate("user_other")
			for _, step := range c.steps {
				step(t, id)
			}
			got := "none"
			if e := r.mustGet(full, id)[0]; e != nil {
				got = string(e.public)
				switch {
				case e.Deleted:
					got = "deleted"
				case e.Missing:
					got = "missing"
				case string(e.private) != "private "+got:
					t.Errorf("halves of two versions: %q %q", e.public, e.private)
				}
				got += fmt.Sprintf(" +%d", e.Stamp-base)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// The result of a script must not depend on whether scripts with lower numbers ran
// before: a replica may be slow between drawing a number and using it.
func TestRedisLateScripts(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL()})
	c := s.Client()
	run := func(sc redislink.Script, id string, args ...string) {
		t.Helper()
		if _, err := runScript(t.Context(), c, sc, redislink.ScriptCall{Key: r.userKey(id), Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	invalidate := func(id string, seq string) { t.Helper(); run(invalidateScript, id, seq, "60000") }
	apply := func(id string, e *Entry, seq uint64) {
		t.Helper()
		if _, err := runOne(t.Context(), c, applyScript, redislink.ScriptCall{Key: r.userKey(id), Args: append(
			r.entryArgs(id, e, seq), "60000", flag(e.Deleted), "60000", "")}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(id string)
		want string // public, or "none"
	}{
		"an invalidation after a copy that left later": {func(id string) {
			r.mustPut(id, copyAt(5, 10, 0), time.Hour)
			invalidate(id, "9")
		}, "u5 f0"},
		"a lower number lowers no mark": {func(id string) {
			invalidate(id, "10")
			invalidate(id, "9")
			r.mustPut(id, copyAt(5, 9, 0), time.Hour)
		}, "none"},
		"a webhook under a number below an invalidation": {func(id string) {
			invalidate(id, "10")
			apply(id, copyAt(5, 0, 0), 9)
		}, "none"},
		"a webhook does not confirm what an invalidation was drawn for": {func(id string) {
			r.mustPut(id, copyAt(5, 8, 0), time.Hour)
			apply(id, copyAt(5, 0, 0), 10)
			invalidate(id, "9")
		}, "none"},
		"a webhook under a number above a late invalidation": {func(id string) {
			apply(id, copyAt(5, 0, 0), 10)
			invalidate(id, "9")
		}, "none"},
		"missing, told by a flight after the webhook": {func(id string) {
			r.mustPut(id, missing(10, time.Unix(0, 0)), time.Hour)
			apply(id, copyAt(5, 0, 0), 9)
		}, ""},
		"a tombstone below an invalidation": {func(id string) {
			invalidate(id, "10")
			apply(id, tombstone(0, time.Unix(0, 0)), 9)
			r.mustPut(id, copyAt(5, 11, 0), time.Hour)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := "user_" + strings.ReplaceAll(name, " ", "_")
			c.do(id)
			got := "none"
			if e := r.mustGet(basic, id)[0]; e != nil {
				got = string(e.public)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
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
