package usercache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// source returns the users that are not in the cache. *gate.Gate implements it; it must
// be configured with the Store's Stamp and Keep.
type source interface {
	Lookup(ctx context.Context, ids []string, o gate.Options) []gate.Result
	List(ctx context.Context, p clerkapi.ListParams, o gate.Options) (*gate.Page, error)
	Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error)
}

// callers counts what each caller uses; *usage.Callers implements it.
type callers interface {
	// Asked counts ids that a caller has asked for. It must not block.
	Asked(caller string, ids int)
}

// Cache answers lookups from a Store, and asks a source for the rest. It is safe for
// concurrent use.
type Cache struct {
	store   *Store
	source  source
	callers callers
	refresh chan string
	totals  [clerkgatev1.ServedFrom_SERVED_FROM_REDIS + 1]atomic.Int64 // answers by source
	stale   atomic.Int64
}

// New returns a Cache over a store and a source. c counts the ids that each
// caller asks for.
func New(store *Store, src source, c callers) *Cache {
	return &Cache{store: store, source: src, callers: c, refresh: make(chan string, refreshBacklog)}
}

// Options are the options of a lookup.
type Options struct {
	gate.Options
	View clerkgatev1.UserView
	// MaxAge is the maximum age of an acceptable copy, found or not. Nil means the time
	// to live. 0 means an answer of Clerk, from a request that has not left yet.
	MaxAge *time.Duration
	// MinUpdatedAt is the minimum updated_at of an acceptable version, to the
	// millisecond. Zero means any.
	MinUpdatedAt time.Time
}

// ErrTooOld reports that Clerk's own answer is older than Options.MinUpdatedAt.
var ErrTooOld = errors.New("clerk's answer is older than the caller knows the user to be")

// Result is the result for one id. Either Entry or Err is set.
type Result struct {
	Entry *Entry // the user or, with ErrNotFound, the fact that there is none
	// Err is clerkapi.ErrNotFound, ErrTooOld, another error of the gate, or that of the
	// caller's context.
	Err        error
	ServedFrom clerkgatev1.ServedFrom // the source of the answer
	Stale      bool                   // older than its time to live, because Clerk is unavailable
}

// Lookup reads users. The ids must be valid and different. It returns one result per id,
// in order, when all are known or ctx has ended. Ids without an answer then have ctx's
// error, unless a stale copy can be used.
func (c *Cache) Lookup(ctx context.Context, ids []string, o Options) []Result {
	c.callers.Asked(o.Caller, len(ids))
	results := make([]Result, len(ids))
	call := lookup{Options: o, began: time.Now()}
	fromClerk := o.MaxAge != nil && *o.MaxAge == 0
	var missing []int
	for i, id := range ids {
		if e := c.store.inMemory(id); !fromClerk && e != nil && c.good(e, call) && c.store.trusted(e, call.began) {
			c.readAgain(id, e, call.began)
			results[i] = c.result(e, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY)
			continue
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return results
	}
	if !fromClerk {
		missing = c.fromRedis(ctx, ids, missing, call, results)
	}
	if len(missing) > 0 {
		c.fromSource(ctx, ids, missing, call, results)
	}
	return results
}

// lookup is one call of Lookup. Its start decides which copies may answer it.
type lookup struct {
	Options
	began time.Time
}

// tooOld reports whether a copy is older than Options.MinUpdatedAt.
func (o lookup) tooOld(e *Entry) bool {
	return !e.Missing && !o.MinUpdatedAt.IsZero() && e.UpdatedAt < o.MinUpdatedAt.UnixMilli()
}

// good reports whether an entry satisfies the options.
func (c *Cache) good(e *Entry, o lookup) bool {
	if !e.Has(o.View) || o.tooOld(e) || e.Missing && !e.Deleted && !o.MinUpdatedAt.IsZero() {
		return false
	}
	if o.MaxAge != nil {
		return e.Deleted || o.began.Sub(e.fetched) <= *o.MaxAge
	}
	fresh, _ := c.store.fresh(e, o.began)
	return fresh
}

// result returns the Result of an entry from a level of the cache.
func (c *Cache) result(e *Entry, level clerkgatev1.ServedFrom) Result {
	r := Result{Entry: e, ServedFrom: level}
	if e.Missing {
		r.Err = clerkapi.ErrNotFound
	}
	c.totals[r.ServedFrom].Add(1)
	return r
}

// fromRedis answers the missing ids that Redis has, and returns the others.
func (c *Cache) fromRedis(ctx context.Context, ids []string, missing []int, o lookup, results []Result) []int {
	if c.store.redis == nil {
		return missing
	}
	asked := pick(ids, missing)
	rest := missing[:0]
	for j, e := range c.store.inRedis(ctx, asked, o.View) {
		i := missing[j]
		if e != nil && c.good(e, o) {
			results[i] = c.result(e, clerkgatev1.ServedFrom_SERVED_FROM_REDIS)
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// fromSource asks the source for the missing ids. While Clerk is unavailable, stale
// copies answer calls without a MaxAge.
func (c *Cache) fromSource(ctx context.Context, ids []string, missing []int, o lookup, results []Result) {
	asked := pick(ids, missing)
	early := ctx
	if deadline, ok := ctx.Deadline(); ok && c.anyStandIn(asked, o) {
		// If Clerk hangs, there must be time to answer with a stale copy.
		var cancel context.CancelFunc
		early, cancel = context.WithDeadline(ctx, deadline.Add(-min(standInTime, time.Until(deadline)/10)))
		defer cancel()
	}
	for j, r := range c.ask(early, asked, o) {
		results[missing[j]] = c.answer(asked[j], r, o)
	}
}

// maxAsks is the maximum of attempts to ask the source. Each but the first requires a
// later request, so more than two are rarely needed.
const maxAsks = 4

// ask asks the source. The answer may come from a request that left before an
// invalidation that this read must respect, or may be older than a version that was
// received meanwhile for BASIC only. Then it asks again, for a request that has not left
// yet.
func (c *Cache) ask(ctx context.Context, ids []string, o lookup) []gate.Result {
	options := o.Options.Options
	options.LeftSince, options.Fresh = c.leftSince(o)
	required := make([]requirement, len(ids))
	open := make([]int, len(ids))
	for j, id := range ids {
		required[j] = c.store.order.require(id, o.began)
		open[j] = j
	}
	results := make([]gate.Result, len(ids))
	for range maxAsks {
		var again []int
		for k, r := range c.source.Lookup(ctx, pick(ids, open), options) {
			j := open[k]
			results[j] = r
			e, _ := r.Kept.(*Entry)
			switch {
			case e == nil:
			case !e.Has(o.View), !required[j].met(e, r.Stamp, r.FetchTime), r.FetchTime.Before(options.LeftSince),
				!o.MinUpdatedAt.IsZero() && r.FetchTime.Before(o.began) && (o.tooOld(e) || e.Missing && !e.Deleted):
				again = append(again, j)
			}
		}
		if open = again; len(open) == 0 {
			break
		}
		options.Fresh = true
	}
	return results
}

// leftSince returns the earliest departure of a request that may answer the call. fresh
// means that it must not have left yet.
func (c *Cache) leftSince(o lookup) (t time.Time, fresh bool) {
	switch {
	case o.MaxAge != nil && *o.MaxAge == 0, !c.store.hears(o.began) && !c.store.cfg.AvailableWithoutRedis:
		return o.began, true // another replica may have acknowledged an invalidation until then
	case o.MaxAge != nil:
		return o.began.Add(-*o.MaxAge), false
	}
	return o.began.Add(-c.store.cfg.TTL), false
}

// errClerkLags reports that the newest copy lacks fields of the view, and Clerk's own
// answer is older.
var errClerkLags = fmt.Errorf("%w: it is older than a copy that was served before", clerkapi.ErrBadAnswer)

// standInTime is how long before a deadline a stale copy is used instead of waiting for an
// answer, or a tenth of the remaining time if that is less.
const standInTime = 100 * time.Millisecond

// answer returns the Result of the source's answer.
func (c *Cache) answer(id string, r gate.Result, o lookup) Result {
	e, _ := r.Kept.(*Entry)
	switch {
	case e == nil && r.Err == nil:
		return Result{Err: errEntry}
	case e != nil && !e.Has(o.View):
		// Clerk returned an older version than one received for BASIC.
		return Result{Err: errClerkLags}
	case e != nil && o.tooOld(e):
		return Result{Err: ErrTooOld}
	case e != nil:
		c.totals[clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM].Add(1)
		s := Result{Entry: e, ServedFrom: clerkgatev1.ServedFrom_SERVED_FROM_UPSTREAM}
		if e.Missing {
			s.Err = clerkapi.ErrNotFound
		}
		return s
	}
	if clerkIsAway(r.Err) {
		if old := c.standIn(id, o, time.Now()); old != nil {
			s := c.result(old, clerkgatev1.ServedFrom_SERVED_FROM_MEMORY)
			if fresh, _ := c.store.fresh(old, time.Now()); !fresh {
				s.Stale = true
				c.stale.Add(1)
			}
			return s
		}
	}
	return Result{Err: r.Err}
}

// standIn returns the stale copy to use instead of Clerk's answer, or nil. This replica must
// know that no invalidation has made it old.
func (c *Cache) standIn(id string, o lookup, now time.Time) *Entry {
	if o.MaxAge != nil {
		return nil
	}
	e := c.store.inMemory(id)
	if e == nil || e.Missing || !e.Has(o.View) || o.tooOld(e) {
		return nil
	}
	if !c.store.hears(now) && e.asOf.Before(o.began) && !c.store.cfg.AvailableWithoutRedis {
		return nil
	}
	return e
}

func (c *Cache) anyStandIn(ids []string, o lookup) bool {
	for _, id := range ids {
		if c.standIn(id, o, o.began) != nil {
			return true
		}
	}
	return false
}

// clerkIsAway reports whether err allows a stale copy.
func clerkIsAway(err error) bool {
	for _, is := range []error{
		clerkapi.ErrUnavailable, clerkapi.ErrBadAnswer, clerkapi.ErrKeyRejected, clerkapi.ErrPlanLimit, clerkapi.ErrRateLimited,
		clerkapi.ErrRefused, clerkapi.ErrTooLarge, clerkapi.ErrUnreadable,
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

// List reads a page of users from Clerk and stores them. The users of a walk only replace
// existing copies, so a walk through all users evicts nobody.
func (c *Cache) List(ctx context.Context, p clerkapi.ListParams, walk bool, o gate.Options) (*gate.Page, error) {
	page, err := c.source.List(ctx, p, o)
	if err != nil {
		return nil, err
	}
	c.store.KeepPage(page, walk)
	return page, nil
}

// Count counts users. The result is not cached.
func (c *Cache) Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error) {
	return c.source.Count(ctx, f, o)
}

// Invalidate drops all copies of the ids; see Store.Invalidate.
func (c *Cache) Invalidate(ctx context.Context, ids []string) error {
	return c.store.Invalidate(ctx, ids)
}

// Totals counts answers since the start.
type Totals struct {
	Lookups map[clerkgatev1.ServedFrom]int64 // ids answered, by source
	Stale   int64                            // ... of those, with copies older than their time to live
}

// Totals returns the counts of answers.
func (c *Cache) Totals() Totals {
	t := Totals{Lookups: make(map[clerkgatev1.ServedFrom]int64), Stale: c.stale.Load()}
	for i := range c.totals {
		if n := c.totals[i].Load(); n > 0 {
			t.Lookups[clerkgatev1.ServedFrom(i)] = n
		}
	}
	return t
}
