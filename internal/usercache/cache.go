package usercache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// source is where users come from that are not in the cache. A *gate.Gate is
// one; it must have the Store's Stamp and Keep.
type source interface {
	Lookup(ctx context.Context, ids []string, o gate.Options) []gate.Result
	List(ctx context.Context, p clerkapi.ListParams, o gate.Options) (*gate.Page, error)
	Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error)
	// Asked counts ids that a caller has asked for. It must be quick.
	Asked(caller string, ids int)
}

// Cache answers from a Store what it can and asks a source for the rest. Its
// methods may be called at once.
type Cache struct {
	store   *Store
	source  source
	refresh chan string
	totals  [clerkgatev1.ServedFrom_SERVED_FROM_REDIS + 1]atomic.Int64 // answers, by where they came from
	stale   atomic.Int64
}

// New makes a Cache over a store and a source.
func New(store *Store, src source) *Cache {
	return &Cache{store: store, source: src, refresh: make(chan string, refreshBacklog)}
}

// Options say on whose behalf users are wanted, and how.
type Options struct {
	gate.Options
	View clerkgatev1.UserView
	// MaxAge is the age of the oldest copy that will do, found or not. Nil: the
	// time to live. 0: Clerk is asked, by a request that has not left yet.
	MaxAge *time.Duration
}

// Result is what became of one id: either Entry or Err is set.
type Result struct {
	Entry *Entry // of a user, or, beside ErrNotFound, of there being none
	// Err is clerkapi.ErrNotFound, another error of the gate's, or the error of
	// the caller's context.
	Err        error
	ServedFrom clerkgatev1.ServedFrom // where the answer came from
	Stale      bool                   // older than the time to live, since Clerk is away
}

// Lookup reads users. The ids must be valid and different. It returns one
// result per id, in their order, once all are there or ctx has ended; ids that
// have no answer by then have ctx's error, unless a copy can stand in.
func (c *Cache) Lookup(ctx context.Context, ids []string, o Options) []Result {
	c.source.Asked(o.Caller, len(ids))
	results := make([]Result, len(ids))
	now := time.Now()
	fromClerk := o.MaxAge != nil && *o.MaxAge == 0
	var missing []int
	for i, id := range ids {
		if e := c.store.inMemory(id); !fromClerk && e != nil && c.good(e, o, now) && c.store.trusted(e, now) {
			c.readAgain(id, e, now)
			results[i] = c.result(e, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY)
			continue
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return results
	}
	if !fromClerk {
		missing = c.fromRedis(ctx, ids, missing, o, results)
	}
	if len(missing) > 0 {
		c.fromSource(ctx, ids, missing, o, results)
	}
	return results
}

// good says whether an entry is what the caller wants.
func (c *Cache) good(e *Entry, o Options, now time.Time) bool {
	if !e.Has(o.View) {
		return false
	}
	if o.MaxAge != nil {
		return e.Deleted || now.Sub(e.FetchTime()) <= *o.MaxAge
	}
	fresh, _ := c.store.fresh(e, now)
	return fresh
}

// result makes a result of an entry that came from a level of the cache.
func (c *Cache) result(e *Entry, level clerkgatev1.ServedFrom) Result {
	r := Result{Entry: e, ServedFrom: level}
	if e.Missing {
		r.Err = clerkapi.ErrNotFound
	}
	c.totals[r.ServedFrom].Add(1)
	return r
}

// fromRedis answers from Redis what it can of the missing, and gives the rest.
func (c *Cache) fromRedis(ctx context.Context, ids []string, missing []int, o Options, results []Result) []int {
	if c.store.redis == nil {
		return missing
	}
	asked := pick(ids, missing)
	now := time.Now()
	rest := missing[:0]
	for j, e := range c.store.inRedis(ctx, asked, o.View) {
		i := missing[j]
		if e != nil && c.good(e, o, now) {
			results[i] = c.result(e, clerkgatev1.ServedFrom_SERVED_FROM_REDIS)
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// fromSource asks Clerk for the missing. Where it is away, copies that are too
// old stand in for those callers who say nothing of their age.
func (c *Cache) fromSource(ctx context.Context, ids []string, missing []int, o Options, results []Result) {
	asked := pick(ids, missing)
	old := make([]*Entry, len(missing))
	have := false
	if o.MaxAge == nil {
		for j, id := range asked {
			if e := c.store.inMemory(id); e != nil && !e.Missing && e.Has(o.View) {
				old[j], have = e, true
			}
		}
	}
	early := ctx
	if deadline, ok := ctx.Deadline(); ok && have {
		// While Clerk hangs there must be time left to answer with the copy.
		var cancel context.CancelFunc
		early, cancel = context.WithDeadline(ctx, deadline.Add(-min(standInTime, time.Until(deadline)/10)))
		defer cancel()
	}
	o.Fresh = o.Fresh || o.MaxAge != nil && *o.MaxAge == 0
	for j, r := range c.lookup(early, asked, o.Options) {
		results[missing[j]] = c.answer(asked[j], r, old[j])
	}
}

// lookup asks the source. It may answer by a request that had left before an
// invalidation which this read must heed: then it is asked again, for one that
// has not.
func (c *Cache) lookup(ctx context.Context, ids []string, o gate.Options) []gate.Result {
	required := make([]requirement, len(ids))
	for j, id := range ids {
		required[j] = c.store.order.since(id)
	}
	results := c.source.Lookup(ctx, ids, o)
	var again []int
	for j, r := range results {
		if r.Kept != nil && !required[j].met(r.Stamp, r.FetchTime) {
			again = append(again, j)
		}
	}
	if len(again) > 0 {
		o.Fresh = true
		for k, r := range c.source.Lookup(ctx, pick(ids, again), o) {
			results[again[k]] = r
		}
	}
	return results
}

// standInTime is how long before a deadline an old copy stands in for an answer
// that does not come, or a tenth of the time left if that is less.
const standInTime = 100 * time.Millisecond

// answer makes a result of what the source gave.
func (c *Cache) answer(id string, r gate.Result, old *Entry) Result {
	e, _ := r.Kept.(*Entry)
	switch {
	case r.Err == nil && e == nil:
		return Result{Err: errEntry}
	case r.Err == nil, e != nil:
		c.totals[clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM].Add(1)
		return Result{Entry: e, Err: r.Err, ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM}
	}
	// What an invalidation has made old while Clerk was asked is no stand-in.
	if old != nil && clerkIsAway(r.Err) && c.store.inMemory(id) == old {
		s := c.result(old, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY)
		if fresh, _ := c.store.fresh(old, time.Now()); !fresh {
			s.Stale = true
			c.stale.Add(1)
		}
		return s
	}
	return Result{Err: r.Err}
}

// clerkIsAway says whether err is a reason to make do with an old copy.
func clerkIsAway(err error) bool {
	for _, is := range []error{
		clerkapi.ErrUnavailable, clerkapi.ErrBadAnswer, clerkapi.ErrKeyRejected, clerkapi.ErrPlanLimit, clerkapi.ErrRateLimited,
		clerkapi.ErrRefused, clerkapi.ErrTooLarge,
		gate.ErrBreakerOpen, gate.ErrRateLimited, context.DeadlineExceeded,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func pick(ids []string, which []int) []string {
	some := make([]string, len(which))
	for j, i := range which {
		some[j] = ids[i]
	}
	return some
}

// List reads a page of users from Clerk, and keeps them; those of a walk only
// where there are copies already, so that a walk through everybody does not
// drive out those who are read often.
func (c *Cache) List(ctx context.Context, p clerkapi.ListParams, walk bool, o gate.Options) (*gate.Page, error) {
	page, err := c.source.List(ctx, p, o)
	if err != nil {
		return nil, err
	}
	c.store.KeepPage(page, walk)
	return page, nil
}

// Count counts users. Nothing of it is kept.
func (c *Cache) Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error) {
	return c.source.Count(ctx, f, o)
}

// Invalidate drops all copies of the ids; see Store.Invalidate.
func (c *Cache) Invalidate(ctx context.Context, ids []string) error {
	return c.store.Invalidate(ctx, ids)
}

// Totals are sums since the start.
type Totals struct {
	Lookups map[clerkgatev1.ServedFrom]int64 // ids answered, by where the answers came from
	Stale   int64                            // ... of those, by copies older than the time to live
}

// Totals tells where answers came from.
func (c *Cache) Totals() Totals {
	t := Totals{Lookups: make(map[clerkgatev1.ServedFrom]int64), Stale: c.stale.Load()}
	for i := range c.totals {
		if n := c.totals[i].Load(); n > 0 {
			t.Lookups[clerkgatev1.ServedFrom(i)] = n
		}
	}
	return t
}
