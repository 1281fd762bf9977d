package usercache

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

// modelUser is the expected data of a user in Redis, without expiry.
type modelUser struct {
	entry  *Entry // nil: none
	origin uint64 // the stamp that it was fetched with, 0 for a webhook's copy
	mark   uint64
	told   int64  // newest version of a webhook, or of a copy that was replaced by the absence of the user
	toldAt uint64 // highest number of a webhook
	blind  bool   // set after an invalidation of an unknown version
}

func (m *modelUser) put(e *Entry, onlyPresent bool) {
	switch {
	case m.entry != nil && m.entry.Deleted, e.Stamp < m.mark:
	case e.Stamp < m.toldAt && (e.Missing || e.UpdatedAt < m.told):
	case m.entry == nil && onlyPresent, m.entry != nil && !supersedes(e, m.entry):
	default:
		if m.entry != nil && !m.entry.Missing && e.Missing {
			m.told = max(m.told, m.entry.UpdatedAt)
		}
		m.entry, m.origin = e, e.Stamp
	}
}

func (m *modelUser) invalidate(seq uint64) {
	if m.entry != nil && m.entry.Deleted {
		return
	}
	if m.origin < seq {
		m.entry, m.origin = nil, 0
	}
	if m.entry == nil {
		m.blind = true
	}
	m.mark = max(m.mark, seq)
}

func (m *modelUser) apply(e *Entry, seq uint64) {
	switch old := m.entry; {
	case e.Deleted:
		m.entry, m.origin = e.stamped(seq), 0
	case old != nil && old.Deleted:
		return
	case old != nil && !old.Missing && old.UpdatedAt >= e.UpdatedAt:
		m.entry = old.stamped(max(seq, old.Stamp))
	case m.mark > seq, old != nil && old.Missing && old.Stamp > seq: // too late
	case (old == nil || old.Missing) && (m.blind || m.told > e.UpdatedAt):
		m.entry, m.origin = nil, 0
	default:
		m.entry, m.origin = e.stamped(seq), 0
	}
	m.told, m.toldAt = max(m.told, e.UpdatedAt), max(m.toldAt, seq)
}

func (m *modelUser) String() string {
	if m.entry == nil {
		return fmt.Sprintf("none, mark %d told %d at %d", m.mark, m.told, m.toldAt)
	}
	e := m.entry
	return fmt.Sprintf("%q %q stamp %d missing %v deleted %v, mark %d told %d at %d",
		e.public, e.private, e.Stamp, e.Missing, e.Deleted, m.mark, m.told, m.toldAt)
}

// TestRedisDecidesAsTheModel runs requests, invalidations and webhooks in any order, with
// numbers in any order, on Redis and on a model that decides like memory.
func TestRedisDecidesAsTheModel(t *testing.T) {
	s := redistest.Start(t)
	r := startRedisReplica(t, redisConfig{URL: s.URL(), Beat: time.Second})
	client := s.Client()
	ids := []string{"user_a", "user_b", "user_c"}
	kinds := make(map[string]int)
	round, moment := 0, int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		round++
		model := make(map[string]*modelUser)
		for _, id := range ids {
			model[id] = &modelUser{}
		}
		key := func(id string) string { return fmt.Sprintf("%s_%d", id, round) }
		run := func(sc redislink.Script, id string, args ...string) {
			if _, err := runScript(t.Context(), client, sc, redislink.ScriptCall{Key: r.userKey(key(id)), Args: args}); err != nil {
				rt.Fatal(err)
			}
		}
		number := rapid.Uint64Range(1, 6)
		entry := rapid.Custom(func(t *rapid.T) *Entry {
			moment++ // no two requests leave at the same time
			f := rapid.Int64Range(0, 3).Draw(t, "left")*1_000_000 + moment
			if rapid.IntRange(0, 3).Draw(t, "missing") == 0 {
				return missing(number.Draw(t, "stamp"), time.Unix(f, 0))
			}
			return copyAt(rapid.Int64Range(1, 4).Draw(t, "updated_at"), number.Draw(t, "stamp"), f)
		})
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "id")
			m := model[id]
			before := m.String()
			kind := rapid.SampledFrom([]string{"put", "put", "put", "refresh", "invalidate", "webhook", "webhook", "deletion"}).Draw(rt, "kind")
			if kind == "deletion" && rapid.IntRange(0, 4).Draw(rt, "rarely") > 0 {
				kind = "invalidate"
			}
			switch kind {
			case "put", "refresh":
				e := entry.Draw(rt, "entry")
				m.put(e, kind == "refresh")
				run(putScript, id, append(r.entryArgs(key(id), e, e.Stamp), "3600000", flag(kind == "refresh"))...)
			case "invalidate":
				seq := number.Draw(rt, "number")
				m.invalidate(seq)
				run(invalidateScript, id, strconv.FormatUint(seq, 10), "3600000")
			case "webhook", "deletion":
				e := copyAt(rapid.Int64Range(1, 4).Draw(rt, "updated_at"), 0, 0)
				if kind == "deletion" {
					e = tombstone(0, time.Unix(0, 0))
				}
				seq := number.Draw(rt, "number")
				m.apply(e, seq)
				if _, err := runOne(t.Context(), client, applyScript, redislink.ScriptCall{Key: r.userKey(key(id)), Args: append(
					r.entryArgs(key(id), e, seq), "3600000", flag(e.Deleted), "3600000", "")}); err != nil {
					rt.Fatal(err)
				}
			}
			if m.String() != before {
				kinds[kind]++
			}
			got := &modelUser{entry: r.mustGet(full, key(id))[0]}
			// A user without a mark is nil in Redis.
			field := func(name string) uint64 {
				n, _ := client.Do(t.Context(), client.B().Hget().Key(r.userKey(key(id))).Field(name).Build()).AsUint64()
				return n
			}
			got.mark, got.told, got.toldAt = field("i"), int64(field("v")), field("j")
			if got.String() != m.String() {
				rt.Fatalf("after %s\nRedis has %v\nthe model %v", kind, got, m)
			}
		}
	})
	for _, kind := range []string{"put", "refresh", "invalidate", "webhook", "deletion"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s changed anything: this test does not test it", kind)
		}
	}
}
