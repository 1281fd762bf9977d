package usercache

import (
	"context"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
)

const (
	refreshBacklog = 10_000
	refreshBatch   = 100
	refreshReads   = 3 // reads in its time to live that make an entry worth refreshing
	refreshFlights = 4 // concurrent batches
)

// refreshCaller is the caller's name under which refreshes take turns in the queue.
const refreshCaller = "clerkgate/refresh"

// readAgain counts a read of an entry. An entry that is read often is refreshed shortly
// before it expires, so that its readers never wait.
func (c *Cache) readAgain(id string, e *Entry, now time.Time) {
	if e.Missing || e.reads.Add(1) < refreshReads {
		return
	}
	if _, due := c.store.fresh(e, now); !due || !e.refreshing.CompareAndSwap(false, true) {
		return
	}
	select {
	case c.refresh <- id:
	default: // too many already: this one is fetched when it is asked for
	}
}

// Run refreshes entries that are read often, until ctx ends. Call it at most once.
func (c *Cache) Run(ctx context.Context) error {
	var flights sync.WaitGroup
	defer flights.Wait()
	slots := make(chan struct{}, refreshFlights)
	for {
		var batch []string
		select {
		case <-ctx.Done():
			return nil
		case id := <-c.refresh:
			batch = gather([]string{id}, c.refresh, refreshBatch)
		}
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		flights.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, c.store.cfg.TTL)
			defer cancel()
			// Answers are stored on their way; ids that fail are fetched when they are
			// asked for.
			ids := distinct(batch)
			c.callers.Asked(refreshCaller, len(ids))
			c.source.Lookup(ctx, ids, gate.Options{Caller: refreshCaller, Priority: gate.Batch})
		})
	}
}

func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	kept := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept
}
