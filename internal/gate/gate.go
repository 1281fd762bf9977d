package gate

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
)

// Config says what a gate guards and how. Upstream must be set; the zero value
// of every other field is its default.
type Config struct {
	Upstream upstream
	Quota    quota.Config

	MaxInFlight      int // requests at Clerk at once; default 64
	QueueLimit       int // who may wait in all, each counted once for each of its wants; default 100,000
	CallerQueueLimit int // ... per name of a peer and priority; default 20,000

	// BreakerFailures is how many failures in a row open the breaker, if they are of
	// different callers' requests; those of one caller cause a probe. Default 5.
	BreakerFailures int
	BreakerOpen     time.Duration // how long it stays open before a probe; default 1 s
	// ProbeTimeout is how long a probe may take before it counts as failed; it is
	// heard to its end all the same, and a slow Clerk makes it longer. Default 0.75 s.
	ProbeTimeout time.Duration

	LeaseTTL time.Duration // how long permits are lent; default 30 s

	// Stamp is asked for a number whenever a request leaves, under a lock: it
	// must be quick. Nil: 0.
	Stamp func() uint64
	// Keep is told every answer to a lookup, found or not (r.Err is then
	// clerkapi.ErrNotFound), before any waiter, and even if none is left. What
	// it gives is handed to all waiters as Result.Kept. Nil: nothing is kept.
	Keep func(id string, r Result) any

	// Key gives Clerk's secret key as it is now, to tell when a refused one has
	// been replaced. Nil: it never is.
	Key func() clerkapi.Key
	// AskKey has the first request be a probe of the key, for which all else waits.
	AskKey bool
	// StateFile keeps what is spent across restarts; Run closes it. Nil: nothing is
	// kept.
	StateFile *statefile.File
	// Shared is the state of the quota that this replica shares with others. Nil:
	// it has the quota for itself. A StateFile is of no use then.
	Shared exchanger
	// Place names where this replica runs, such as its host and port. One that starts
	// there takes over from one that has ended there without saying so. Empty: it has
	// none.
	Place string

	// Weight is the share that a name has of its peer's turns, relative to the peer's
	// other names; nil, or a result below 1: 1.
	Weight func(name string) int
	// Tracer makes spans: of the time that wants of sampled calls wait, and of the
	// requests that serve them. Nil: there are none.
	Tracer trace.Tracer
	Logger *slog.Logger // default: discards
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.MaxInFlight, 64)
	def(&c.QueueLimit, 100_000)
	def(&c.CallerQueueLimit, 20_000)
	def(&c.BreakerFailures, 5)
	if c.BreakerOpen <= 0 {
		c.BreakerOpen = time.Second
	}
	if c.ProbeTimeout <= 0 {
		c.ProbeTimeout = 750 * time.Millisecond
	}
	if c.LeaseTTL <= 0 {
		c.LeaseTTL = 30 * time.Second
	}
	if c.Key == nil {
		c.Key = func() clerkapi.Key { return clerkapi.Key{} }
	}
	if c.Stamp == nil {
		c.Stamp = func() uint64 { return 0 }
	}
	if c.Keep == nil {
		c.Keep = func(string, Result) any { return nil }
	}
	if c.Weight == nil {
		c.Weight = func(string) int { return 1 }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Gate queues wishes for Clerk behind one quota. Its methods may be called at
// once by any number of goroutines; answers come only while Run runs.
type Gate struct {
	cfg  Config
	wake chan struct{} // has room for one: something may be sent

	mu        sync.Mutex
	closed    bool
	limiter   limiter
	shared    *quota.Shared // the limiter, if it is shared
	decider   quota.Decider // as last told to the log, if the limiter is shared
	sharing   SharedStatus  // sums of exchanges
	pause     time.Time     // the end of it that what waits was last compared with
	starved   bool          // something may go but for a permit
	share     chan struct{} // has room for one: an exchange may be due
	queue     *fairqueue.Queue
	queued    map[string]*want // users in lines or delayed
	flying    map[string]*want // users in flight, by the latest
	delayed   delayed
	groups    map[*group]struct{} // parts of refused batches that wait
	flights   map[*flight]struct{}
	retries   retryBudget
	batch     batchSize
	bears     concurrency // requests in flight that Clerk bears
	culprits  *memory     // ids, by their queries, that have spoilt a batch
	shut      shut
	paused    uint64         // requests up to this one left before the last pause was known
	late      sync.WaitGroup // probes that are still heard
	probeTook time.Duration  // the last that was answered
	leases    leases
	handedOn  handedOn
	ledger    *ledger   // nil: nothing is kept across restarts
	low       bool      // less than a tenth of the quota was left lately
	lowFrom   time.Time // from when that is judged, if all of it is known: first, some is held back for what may have been spent before
	callers   callers
	crowd     crowd
	recheck   recheck
	totals    totals
	figures   Figures
}

// New makes a Gate. It sends nothing before Run.
func New(cfg Config) *Gate {
	cfg = cfg.withDefaults()
	g := &Gate{
		cfg:      cfg,
		wake:     make(chan struct{}, 1),
		share:    make(chan struct{}, 1),
		queue:    fairqueue.New(),
		queued:   make(map[string]*want),
		flying:   make(map[string]*want),
		flights:  make(map[*flight]struct{}),
		groups:   make(map[*group]struct{}),
		batch:    newBatchSize(),
		bears:    newConcurrency(cfg.MaxInFlight),
		culprits: newMemory(),
		figures:  newFigures(),
	}
	now := time.Now()
	g.callers.init()
	switch {
	case cfg.Shared != nil:
		tag := rand.Text()
		g.shared = quota.NewShared(cfg.Quota, cfg.Place+"/"+tag, now)
		g.limiter, g.decider = g.shared, undecided
		g.leases.init(tag + ".")
		g.handedOn = handedOn{waiting: make(map[string]chan<- error), handled: make(map[string]string)}
	case cfg.StateFile != nil:
		g.ledger = newLedger(cfg.StateFile, cfg.Quota, now, cfg.Logger)
		g.limiter = g.ledger.limiter
		g.leases.init("")
		g.restoreLeases(now)
	default:
		g.limiter = quota.New(cfg.Quota, now)
		g.leases.init("")
	}
	if cfg.Quota.FirstWindow != quota.FullWindow {
		g.lowFrom = now.Add(g.limiter.Config().Window)
	}
	g.crowd = crowd{byLine: make(map[*fairqueue.Line]int), callers: &g.callers}
	g.shut.init(cfg)
	return g
}

// Run sends what waits until ctx ends, then answers everything that is still
// waiting or in flight with ErrShuttingDown, and returns when all that it
// started has ended. It must be called once at most, and always returns nil.
func (g *Gate) Run(ctx context.Context) error {
	var flights, keepers sync.WaitGroup
	stop := make(chan struct{})
	if g.ledger != nil {
		keepers.Go(func() { g.keepLedger(stop) })
	}
	if g.shared != nil {
		keepers.Go(func() { g.keepSharing(stop) })
	}
	defer func() { // once the last flight has ended
		close(stop)
		keepers.Wait()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			g.close()
			flights.Wait()
			g.late.Wait()
			return nil
		case <-g.wake:
		case <-timer.C:
		}
		next := g.dispatch(func(f *flight) {
			flights.Go(func() { g.fly(ctx, f) })
		})
		if g.recheckSome() {
			g.poke()
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// poke makes Run look again.
func (g *Gate) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// close refuses what comes and answers what waits. Flights end by their context.
func (g *Gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.failAll(&Error{Kind: ErrShuttingDown})
}

// failAll answers all that is not in flight with err.
func (g *Gate) failAll(err error) {
	for _, p := range priorities {
		for it := g.queue.First(p); it != nil; it = g.queue.First(p) {
			if gr, ok := it.Value.(*group); ok {
				g.unpark(gr)
				for _, w := range gr.wants {
					g.fail(w, err)
				}
				continue
			}
			g.fail(wantOf(it), err)
		}
	}
	for _, w := range g.apart() {
		g.fail(w, err)
	}
	g.delayed.heap = nil
	for _, d := range g.shut.takeDoubted() {
		g.settleDoubt(d, time.Now())
		g.failFlight(d.flight, err)
	}
}

// apart gives the wants that wait for their next try, or gather the permits of a
// lease. All who waited for one may have left.
func (g *Gate) apart() []*want {
	var all []*want
	for _, d := range g.delayed.heap {
		all = append(all, d.want)
	}
	return append(all, g.leases.gathering...)
}

// fail answers w with err and forgets it.
func (g *Gate) fail(w *want, err error) {
	for _, x := range w.waiters {
		g.refused(x.pending.caller, w.permits(), err)
	}
	g.finish(w, Result{Err: err}, nil)
}

// finish answers w and forgets it.
func (g *Gate) finish(w *want, r Result, value any) {
	g.drop(w)
	w.answer(r, value)
}

// drop forgets w, wherever it is.
func (g *Gate) drop(w *want) {
	g.queue.Remove(&w.item)
	if w.lease != nil {
		g.dropLease(w.lease, time.Now())
	}
	if w.id == "" {
		return
	}
	if g.queued[w.id] == w {
		delete(g.queued, w.id)
	}
	if g.flying[w.id] == w {
		delete(g.flying, w.id)
	}
}
