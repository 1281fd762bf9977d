package quotaredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/quotaredis"
)

// errCrashed is what a gate that has crashed meets.
var errCrashed = errors.New("crashed")

// clerk is a Clerk in virtual time that records arrivals.
type clerk struct {
	mu       sync.Mutex
	arrivals []time.Time
}

func (c *clerk) arrive(ctx context.Context) error {
	c.mu.Lock()
	c.arrivals = append(c.arrivals, time.Now())
	c.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *clerk) LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error) {
	if err := c.arrive(ctx); err != nil {
		return nil, err
	}
	l := &clerkapi.Lookup{}
	for _, id := range ids {
		l.Results = append(l.Results, clerkapi.UserResult{User: &clerkgatev1.User{Id: id}})
	}
	return l, nil
}

func (c *clerk) ListUsers(ctx context.Context, _ clerkapi.ListParams) (*clerkapi.Page, error) {
	return &clerkapi.Page{}, c.arrive(ctx)
}

func (c *clerk) CountUsers(ctx context.Context, _ *clerkgatev1.UserFilter) (*clerkapi.Count, error) {
	return &clerkapi.Count{}, c.arrive(ctx)
}

// link is a gate's way to a store. The commands run outside the bubble, so that virtual
// time stands still meanwhile.
type link struct {
	outside chan<- func()
	store   *quotaredis.Store
	news    chan struct{}
	mu      sync.Mutex
	cut     bool
}

func (l *link) News() <-chan struct{} { return l.news }

func (l *link) setCut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

func (l *link) run(do func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return errCrashed
	}
	l.outside <- do // which ends before the next is taken
	l.outside <- func() {}
	return nil
}

func (l *link) Exchange(_ context.Context, r quota.Report) (reply quota.Reply, err error) {
	now := time.Now()
	if cut := l.run(func() {
		quotaredis.SetTime(l.store, now)
		reply, err = l.store.Exchange(context.Background(), r)
	}); cut != nil {
		return reply, cut
	}
	time.Sleep(time.Millisecond)
	return reply, err
}

func (l *link) Swap(_ context.Context, name, prev, next string, keep time.Duration) (entry string, left time.Duration, err error) {
	if cut := l.run(func() { entry, left, err = l.store.Swap(context.Background(), name, prev, next, time.Hour) }); cut != nil {
		return "", 0, cut
	}
	return entry, keep, err // by virtual time no entry ends
}

// replicaGate is one gate with its link.
type replicaGate struct {
	*gate.Gate
	link *link
	stop func()
}

// TestManyCallersOfLeases drives callers that acquire at one replica, ask again at
// another, release at any, forget and crash, beside lookups and lists, with one gate and
// with three. No window at Clerk holds more than the quota, every patient read is
// answered, one request is one lease, and in the end nothing is held.
func TestManyCallersOfLeases(t *testing.T) {
	for name, replicas := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			outside := make(chan func())
			worked := make(chan struct{})
			go func() {
				defer close(worked)
				for do := range outside {
					do()
				}
			}()
			t.Cleanup(func() { close(outside); <-worked })
			stores := make([]*quotaredis.Store, 2*replicas) // each gate has one, and its successor
			url := quotaredis.StartForTest(t)
			for i := range stores {
				stores[i] = quotaredis.OpenForTest(t, url)
			}
			rapid.Check(t, func(rt *rapid.T) {
				quotaredis.EmptyForTest(rt, stores[0])
				drawn := drawLeases(rt, replicas)
				synctest.Test(t, func(t *testing.T) { drawn.run(t, outside, stores) })
			})
		})
	}
}

// borrowing is what one caller does.
type borrowing struct {
	at, patience, ttl, keeps time.Duration
	permits, used            int
	acquires, again, release int  // at which replica
	retries, releases        bool // else it forgets
}

// leaseRun is one run.
type leaseRun struct {
	cfg        quota.Config
	replicas   int
	borrowings []borrowing
	crash      time.Duration // of the last replica; 0: none
}

func drawLeases(t *rapid.T, replicas int) leaseRun {
	r := leaseRun{replicas: replicas, cfg: quota.Config{
		Limit: rapid.SampledFrom([]int{10, 20, 40}).Draw(t, "limit"), Window: time.Second, LostHold: time.Second,
		FirstWindow: quota.WaitWindow,
	}}
	ms := func(t *rapid.T, from, to int, label string) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Millisecond
	}
	at := rapid.IntRange(0, replicas-1)
	r.borrowings = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) borrowing {
		permits := rapid.IntRange(1, r.cfg.MostLent()).Draw(t, "permits")
		return borrowing{
			at: ms(t, 0, 5000, "at"), patience: ms(t, 1, 8000, "patience"), ttl: ms(t, 100, 3000, "ttl"), keeps: ms(t, 0, 3000, "keeps"),
			permits: permits, used: rapid.IntRange(0, permits).Draw(t, "used"),
			acquires: at.Draw(t, "acquires"), again: at.Draw(t, "again"), release: at.Draw(t, "release"),
			retries: rapid.Bool().Draw(t, "retries"), releases: rapid.Bool().Draw(t, "releases"),
		}
	}), 1, 10).Draw(t, "leases")
	if rapid.Bool().Draw(t, "crashes") {
		r.crash = ms(t, 1000, 6000, "crash")
	}
	return r
}

func (r leaseRun) run(t *testing.T, outside chan<- func(), stores []*quotaredis.Store) {
	clerk := &clerk{}
	var mu sync.Mutex
	var written []time.Time // what callers have sent themselves
	start := func(i int, store *quotaredis.Store) *replicaGate {
		l := &link{outside: outside, store: store, news: make(chan struct{}, 1)}
		g := gate.New(gate.Config{Upstream: clerk, Quota: r.cfg, Shared: l, Place: fmt.Sprint("replica", i)})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { _ = g.Run(ctx); close(done) }()
		return &replicaGate{g, l, func() { cancel(); <-done }}
	}
	gates := make([]*replicaGate, r.replicas)
	for i := range gates {
		gates[i] = start(i, stores[i])
	}
	at := func(i int) *replicaGate {
		mu.Lock()
		defer mu.Unlock()
		return gates[i]
	}
	time.Sleep(4 * time.Second) // the first window, and the replicas have met
	var all sync.WaitGroup
	if r.crash > 0 {
		all.Go(func() {
			time.Sleep(r.crash)
			last := r.replicas - 1
			old := at(last)
			old.link.setCut()
			old.stop()
			next := start(last, stores[r.replicas+last])
			mu.Lock()
			gates[last] = next
			mu.Unlock()
		})
	}
	for i, b := range r.borrowings {
		all.Go(func() {
			time.Sleep(b.at)
			ask := gate.LeaseRequest{Permits: b.permits, TTL: b.ttl}
			o := gate.Options{Caller: fmt.Sprint("w", i%3), Priority: gate.Priority(i % 2)}
			acquire := func(g *replicaGate) (gate.Lease, error) {
				ctx, cancel := context.WithTimeout(context.Background(), b.patience)
				defer cancel()
				return g.Acquire(ctx, ask, o)
			}
			if b.retries {
				ask.ID = fmt.Sprint("request", i)
			}
			le, err := acquire(at(b.acquires))
			if b.retries {
				again, err2 := acquire(at(b.again))
				if err == nil && err2 == nil && again.ID != le.ID && r.crash == 0 {
					t.Errorf("two leases for one request")
				}
				if err != nil {
					le, err = again, err2
				}
			}
			if err != nil {
				return
			}
			use := gate.LeaseUse{Used: b.used}
			end := time.Now().Add(min(b.keeps, time.Until(le.Expires)-time.Millisecond))
			if !b.releases {
				end, use.Used = le.Expires.Add(-time.Millisecond), b.permits // all are used at the last moment
			}
			time.Sleep(time.Until(end))
			mu.Lock()
			for range use.Used {
				written = append(written, time.Now())
			}
			mu.Unlock()
			if b.releases {
				if err := at(b.release).Release(context.Background(), le.ID, use); err != nil && r.crash == 0 && time.Until(le.Expires) > 0 {
					t.Errorf("release: %v", err)
				}
			}
		})
	}
	for i := range 2 * r.replicas {
		all.Go(func() {
			for n := range 15 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				o, g := gate.Options{Caller: fmt.Sprint("r", i)}, at(i%r.replicas)
				var err error
				if i%2 == 0 {
					_, err = g.List(ctx, clerkapi.ListParams{}, o)
				} else {
					err = g.Lookup(ctx, []string{fmt.Sprintf("user_%d_%d", i, n)}, o)[0].Err
				}
				cancel()
				if err != nil && !errors.Is(err, gate.ErrShuttingDown) {
					t.Errorf("a patient read: %v", err)
				}
			}
		})
	}
	all.Wait()
	time.Sleep(20 * time.Second) // a replica that crashed is forgotten after ten windows
	for i, g := range gates {
		if s := g.Status(); s.Held != 0 || s.Leased != 0 || s.Available != r.cfg.Limit {
			t.Errorf("replica %d: in the end %d held, %d lent, %d available of %d", i, s.Held, s.Leased, s.Available, r.cfg.Limit)
		}
	}
	for _, g := range gates {
		g.stop()
	}
	arrivals := append(clerk.arrivals, written...)
	slices.SortFunc(arrivals, time.Time.Compare)
	for i := r.cfg.Limit; i < len(arrivals); i++ {
		if span := arrivals[i].Sub(arrivals[i-r.cfg.Limit]); span <= r.cfg.Window {
			t.Errorf("%d requests within %v", r.cfg.Limit+1, span)
			return
		}
	}
}
