package usercache

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// get reads entries; an element is nil if there is none. For BASIC it does not read the
// private part. If a server of a cluster fails, it returns an error and what the others
// have.
func (r *redis) get(ctx context.Context, ids []string, view clerkgatev1.UserView) ([]*Entry, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	calls := make([]redislink.ScriptCall, len(ids))
	for i, id := range ids {
		calls[i] = redislink.ScriptCall{Key: r.userKey(id), Args: []string{flag(view == clerkgatev1.UserView_USER_VIEW_FULL)}}
	}
	ids = slices.Clone(ids) // the caller may modify its slice before a late answer
	entries, err := read(ctx, r, func(ctx context.Context, c rueidis.Client) ([]*Entry, error) {
		sent := time.Now()
		entries := make([]*Entry, len(ids))
		var first error
		for i, reply := range getScript.Run(ctx, c, calls...) {
			values, err := reply.ToArray()
			if rueidis.IsRedisNil(err) {
				continue
			}
			if err != nil {
				if first == nil {
					first = err
				}
				continue
			}
			entries[i] = r.stored(ids[i], values, sent)
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

// stored returns the entry in the reply of getScript, which was sent at the given time.
// Unreadable data counts as no entry.
func (r *redis) stored(id string, values []rueidis.RedisMessage, sent time.Time) *Entry {
	if len(values) < 3 {
		return nil
	}
	public, err := values[0].AsBytes()
	if err != nil {
		return nil
	}
	var private []byte
	if len(values) > 3 {
		if private, err = values[3].AsBytes(); err == nil && private == nil {
			private = []byte{}
		}
	}
	if public, private, err = r.unseal(id, public, private); err != nil {
		r.unreadable.Do(func() {
			r.log.Warn("redis holds values that can't be read with the keys of --cache-encryption-key-file: they are ignored", "error", err)
		})
		return nil
	}
	e, err := unmarshal(public, private)
	if err != nil {
		return nil
	}
	if e.Stamp, err = values[1].AsUint64(); err != nil {
		return nil
	}
	age, err := values[2].AsInt64()
	if err != nil || age < 0 || age > int64(math.MaxInt64/time.Microsecond) {
		return nil
	}
	e.asOf, e.fetched = sent, sent.Add(-time.Duration(age)*time.Microsecond)
	return e
}

// seal returns a user's values as they are written: encrypted or, without a key, in clear
// and without the private one. noPrivate represents a value that is not stored.
func (r *redis) seal(id string, e *Entry) (sealedPublic, sealedPrivate string) {
	public, private := e.marshal()
	switch {
	case r.cfg.Keys != nil:
		return string(r.cfg.Keys.seal(public, r.sealContext(id, "public"))), storedPrivate + string(r.cfg.Keys.seal(private, r.sealContext(id, "private")))
	case len(private) > 0:
		return string(public), noPrivate
	}
	return string(public), storedPrivate
}

// A private part in the arguments of scripts.
const (
	noPrivate     = "none"
	storedPrivate = "-" // prefix of the part itself
)

// unseal is the reverse of seal. A nil private stays nil.
func (r *redis) unseal(id string, public, private []byte) (openPublic, openPrivate []byte, err error) {
	if r.cfg.Keys == nil {
		if len(public) > 0 && public[0] == sealedVersion {
			return nil, nil, errSealed
		}
		return public, private, nil
	}
	if openPublic, err = r.cfg.Keys.open(public, r.sealContext(id, "public")); err != nil {
		return nil, nil, err
	}
	if private != nil {
		if openPrivate, err = r.cfg.Keys.open(private, r.sealContext(id, "private")); err != nil {
			return nil, nil, err
		}
		if openPrivate == nil {
			openPrivate = []byte{}
		}
	}
	return openPublic, openPrivate, nil
}

// sealContext returns the context that a value is bound to, so that it can't be used in
// another place.
func (r *redis) sealContext(id, part string) string { return r.userKey(id) + " " + part }

// put stores Clerk's answers, except those of which something newer is known: a
// tombstone, an invalidation after the request left, a copy with a newer updated_at, or
// the result of a later request. It leaves out entries that were read for BASIC only.
func (r *redis) put(ctx context.Context, items []putItem) error {
	calls := make([]redislink.ScriptCall, 0, len(items))
	for _, item := range items {
		if !item.entry.hasPrivate {
			continue
		}
		calls = append(calls, redislink.ScriptCall{Key: r.userKey(item.id), Args: append(
			r.entryArgs(item.id, item.entry, item.entry.Stamp), milliseconds(item.ttl), flag(item.onlyPresent))})
	}
	if len(calls) == 0 {
		return nil
	}
	_, err := write(ctx, r, func(ctx context.Context, c rueidis.Client) ([]int64, error) {
		return runScript(ctx, c, putScript, calls...)
	})
	return err
}

// invalidate drops copies of the ids that left before now, marks the ids so that none
// returns, notifies all replicas, and waits until they have received it. It returns the
// number of the invalidation. After an error it must be repeated, since it may be half
// done.
func (r *redis) invalidate(ctx context.Context, ids []string) (uint64, error) {
	keys := r.userKeys(ids)
	a, err := r.announce(ctx, ids, func(ctx context.Context, c rueidis.Client, seq uint64, _ bool) (applyResult, error) {
		calls := make([]redislink.ScriptCall, len(keys))
		for i, key := range keys {
			calls[i] = redislink.ScriptCall{Key: key, Args: []string{strconv.FormatUint(seq, 10), milliseconds(r.cfg.MarkFor)}}
		}
		_, err := runScript(ctx, c, invalidateScript, calls...)
		return applyResult{}, err
	})
	return a.seq, err
}

// apply stores a webhook's tombstone or copy, unless a tombstone or a copy of the same or
// a newer version is there. It draws a number, which becomes the entry's stamp, marks the
// id with it, notifies all replicas, and waits until they have received it. After an
// error it must be repeated, since it may be half done.
func (r *redis) apply(ctx context.Context, id string, e *Entry, ttl time.Duration, blind bool) (applyResult, error) {
	key := r.userKey(id)
	return r.announce(ctx, []string{id}, func(ctx context.Context, c rueidis.Client, seq uint64, young bool) (a applyResult, err error) {
		reply, err := runOne(ctx, c, applyScript, redislink.ScriptCall{Key: key, Args: append(
			r.entryArgs(id, e, seq), milliseconds(ttl), flag(e.Deleted), milliseconds(r.cfg.MarkFor), flag(blind || young))})
		if err != nil {
			return a, err
		}
		outcome, err := number(reply, 0)
		if err != nil {
			return a, err
		}
		a.outcome = applyOutcome(outcome)
		a.updatedAt, err = number(reply, 1)
		return a, err
	})
}

// number returns an integer of a reply.
func number(values []rueidis.RedisMessage, i int) (int64, error) {
	if i >= len(values) {
		return 0, errReply
	}
	return values[i].AsInt64()
}

// errReply reports that a script returned something unexpected.
var errReply = errors.New("redis: an unexpected reply")

// announce draws a number, calls do with it, notifies all replicas, and waits until they
// have received it. It notifies them last, so that a replica that reads again reads the
// new state. young means that marks from before the sequence began may be missing. do may
// still run when announce has returned, so it must not use data of the caller.
func (r *redis) announce(ctx context.Context, ids []string, do func(ctx context.Context, c rueidis.Client, seq uint64, young bool) (applyResult, error)) (applyResult, error) {
	type announcement struct {
		applyResult
		wait recipients
	}
	t, err := write(ctx, r, func(ctx context.Context, c rueidis.Client) (t announcement, err error) {
		drawn, err := runOne(ctx, c, drawScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: r.sequenceArgs()})
		if err != nil {
			return t, err
		}
		seq, err := number(drawn, 0)
		if err != nil {
			return t, err
		}
		age, err := number(drawn, 1)
		if err != nil {
			return t, err
		}
		r.highest.raise(uint64(seq))
		if t.applyResult, err = do(ctx, c, uint64(seq), time.Duration(age)*time.Millisecond < r.cfg.MarkFor); err != nil {
			return t, err
		}
		t.seq = uint64(seq)
		reply, err := runOne(ctx, c, publishScript, redislink.ScriptCall{Key: r.sequenceKey(), Args: append(
			r.sequenceArgs(), r.channel(), strconv.FormatUint(t.seq, 10), strings.Join(ids, idSeparator))})
		if err != nil {
			return t, err
		}
		if t.wait, err = r.awaited(reply); err != nil {
			return t, err
		}
		if age := time.Duration(age) * time.Millisecond; age <= r.cfg.Lease {
			// Before it lost its data, Redis had leases that this one does not know of.
			t.wait.until = time.Now().Add(r.cfg.Lease)
		}
		return t, nil
	})
	if err != nil {
		return applyResult{}, err
	}
	return t.applyResult, r.await(ctx, t.wait)
}

// sequenceArgs returns the first arguments of all scripts of the sequence.
func (r *redis) sequenceArgs() []string {
	return []string{strconv.FormatUint(r.highest.Load(), 10), rand.Text(), milliseconds(sequenceTTL)}
}

// seen reports whether a webhook's event has been recorded.
func (r *redis) seen(ctx context.Context, eventID string) (bool, error) {
	key := r.eventKey(eventID)
	return write(ctx, r, func(ctx context.Context, c rueidis.Client) (bool, error) {
		return c.Do(ctx, c.B().Exists().Key(key).Build()).AsBool()
	})
}

// record records an event for as long as Clerk may send it again.
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

// entryArgs returns a script's arguments from public to missing.
func (r *redis) entryArgs(id string, e *Entry, stamp uint64) []string {
	public, private := r.seal(id, e)
	age := max(0, time.Since(e.fetched))
	return []string{
		public, private, strconv.FormatInt(e.UpdatedAt, 10), strconv.FormatUint(stamp, 10),
		strconv.FormatInt(age.Microseconds(), 10), flag(e.Missing),
	}
}

// flag returns "1" or "".
func flag(set bool) string {
	if set {
		return "1"
	}
	return ""
}

// milliseconds returns d for Redis, at least 1.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
