package usercache

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink"
	"github.com/clerkgate/clerkgate/internal/redislink/redistest"
)

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
		"invalidated, missing, then a webhook":      {[]step{invalidate, putMissing(1, 0), webhook(5)}, "none"},
		"missing, then an older webhook":            {[]step{webhook(6), putMissing(2, 0), webhook(5)}, "none"},
		"missing, then one older than was fetched":  {[]step{put(6, 0, 0), putMissing(0, 1), webhook(5)}, "none"},
		"missing, then one newer than was fetched":  {[]step{put(6, 0, 0), putMissing(0, 1), webhook(7)}, "u7 f0 +1"},
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
