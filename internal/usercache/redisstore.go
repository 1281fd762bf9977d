package usercache

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// get reads entries: nil where there is none. For BASIC it does not read what
// only FULL shows. Where a server of a cluster fails, there is an error and what
// the others have.
func (r *redis) get(ctx context.Context, ids []string, view clerkgatev1.UserView) ([]*Entry, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	fields := []string{"b", "s"}
	if view == clerkgatev1.UserView_USER_VIEW_FULL {
		fields = append(fields, "p")
	}
	keys := r.userKeys(ids)
	entries, err := read(ctx, r, func(ctx context.Context, c rueidis.Client) ([]*Entry, error) {
		commands := make(rueidis.Commands, len(keys))
		for i, key := range keys {
			commands[i] = c.B().Hmget().Key(key).Field(fields...).Build()
		}
		entries := make([]*Entry, len(keys))
		var first error
		for i, reply := range c.DoMulti(ctx, commands...) {
			values, err := reply.ToArray()
			if err != nil {
				if first == nil {
					first = err
				}
				continue
			}
			entries[i] = stored(values)
		}
		return entries, first
	})
	if entries == nil {
		return make([]*Entry, len(ids)), err
	}
	for _, e := range entries {
		if e != nil {
			r.stats.hits.Add(1)
		} else {
			r.stats.misses.Add(1)
		}
	}
	return entries, err
}

// stored makes an entry of the fields b, s and, for FULL, p. What another
// version may have stored there counts as nothing.
func stored(values []rueidis.RedisMessage) *Entry {
	public, err := values[0].AsBytes()
	if err != nil {
		return nil
	}
	var private []byte
	if len(values) > 2 {
		if private, err = values[2].AsBytes(); err == nil && private == nil {
			private = []byte{}
		}
	}
	e, err := unmarshal(public, private)
	if err != nil {
		return nil
	}
	if e.Stamp, err = values[1].AsUint64(); err != nil {
		return nil
	}
	return e
}

// put stores copies that Clerk gave, each unless something newer is known: a
// tombstone, an invalidation after the flight left, a copy with a newer
// updated_at, or a copy or the lack of one that a later flight has told of.
// Entries that were read for BASIC only are left out.
func (r *redis) put(ctx context.Context, items []putItem) error {
	calls := make([]redislink.ScriptCall, 0, len(items))
	for _, item := range items {
		if !item.entry.hasPrivate {
			continue
		}
		calls = append(calls, redislink.ScriptCall{Key: r.userKey(item.id), Args: append(
			entryArgs(item.entry, item.entry.Stamp), milliseconds(item.ttl), flag(item.onlyPresent))})
	}
	if len(calls) == 0 {
		return nil
	}
	_, err := write(ctx, r, func(ctx context.Context, c rueidis.Client) ([]int64, error) {
		return runScript(ctx, c, putScript, calls...)
	})
	return err
}

// invalidate drops copies of the ids that left before now, marks the ids so that
// none is put back, tells all replicas, and gives the number of the invalidation.
// After an error it must be repeated: it may be half done.
func (r *redis) invalidate(ctx context.Context, ids []string) (uint64, error) {
	keys := r.userKeys(ids)
	return write(ctx, r, func(ctx context.Context, c rueidis.Client) (uint64, error) {
		return r.announce(ctx, c, ids, func(seq uint64) error {
			calls := make([]redislink.ScriptCall, len(keys))
			for i, key := range keys {
				calls[i] = redislink.ScriptCall{Key: key, Args: []string{strconv.FormatUint(seq, 10), milliseconds(r.cfg.MarkFor)}}
			}
			_, err := runScript(ctx, c, invalidateScript, calls...)
			return err
		})
	})
}

// apply stores what a webhook told: a copy, unless a tombstone is there or a
// copy that has what it tells, or a tombstone. The entry's stamp is the number
// that apply draws and returns; it marks the id with it and tells all replicas.
// After an error it must be repeated: it may be half done.
func (r *redis) apply(ctx context.Context, id string, e *Entry, ttl time.Duration) (uint64, error) {
	key := r.userKey(id)
	return write(ctx, r, func(ctx context.Context, c rueidis.Client) (uint64, error) {
		return r.announce(ctx, c, []string{id}, func(seq uint64) error {
			_, err := runScript(ctx, c, applyScript, redislink.ScriptCall{Key: key, Args: append(
				entryArgs(e, seq), milliseconds(ttl), flag(e.Deleted), milliseconds(r.cfg.MarkFor))})
			return err
		})
	})
}

// announce draws a number, does with it what is to be done, and tells all
// replicas. They are told last, so that one which reads again then reads what is new.
func (r *redis) announce(ctx context.Context, c rueidis.Client, ids []string, do func(seq uint64) error) (uint64, error) {
	drawn, err := runScript(ctx, c, drawScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: []string{r.highestText(), rand.Text()}})
	if err != nil {
		return 0, err
	}
	seq := uint64(drawn[0])
	r.highest.raise(seq)
	if err := do(seq); err != nil {
		return 0, err
	}
	_, err = runScript(ctx, c, publishScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: []string{
		r.highestText(), rand.Text(), r.channel(), strconv.FormatUint(seq, 10), strings.Join(ids, idSeparator)}})
	return seq, err
}

// seen says whether a webhook's event has been recorded.
func (r *redis) seen(ctx context.Context, eventID string) (bool, error) {
	key := r.eventKey(eventID)
	return write(ctx, r, func(ctx context.Context, c rueidis.Client) (bool, error) {
		return c.Do(ctx, c.B().Exists().Key(key).Build()).AsBool()
	})
}

// record notes an event, for as long as Clerk may send it again.
func (r *redis) record(ctx context.Context, eventID string) error {
	key := r.eventKey(eventID)
	_, err := write(ctx, r, func(ctx context.Context, c rueidis.Client) (struct{}, error) {
		return struct{}{}, c.Do(ctx, c.B().Set().Key(key).Value("").Px(tombstoneTTL).Build()).Error()
	})
	return err
}

func (r *redis) userKey(id string) string     { return r.prefix + "user:" + id }
func (r *redis) eventKey(event string) string { return r.prefix + "event:" + event }
func (r *redis) sequenceKey() string          { return r.prefix + "sequence" }
func (r *redis) channel() string              { return r.prefix + "told" }

func (r *redis) userKeys(ids []string) []string {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = r.userKey(id)
	}
	return keys
}

// entryArgs are a script's arguments from public to missing.
func entryArgs(e *Entry, stamp uint64) []string {
	public, private := e.marshal()
	return []string{
		string(public), string(private), strconv.FormatInt(e.UpdatedAt, 10), strconv.FormatUint(stamp, 10),
		fmt.Sprintf("%019d", max(0, e.fetched)), flag(e.Missing),
	}
}

// flag is "1" or empty.
func flag(set bool) string {
	if set {
		return "1"
	}
	return ""
}

// milliseconds is a time for Redis, which takes none below 1.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
