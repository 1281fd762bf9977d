package gate

import (
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/quota/statefile"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// Config configures a Gate. Upstream must be set; the zero value of every other field
// selects its default.
type Config struct {
	Upstream upstream
	Quota    quota.Config

	MaxInFlight      int // requests at Clerk at once; default 64
	QueueLimit       int // waiters in all; each caller of each want counts as one; default 100,000
	CallerQueueLimit int // waiters per name of a peer and priority; default 20,000

	// BreakerFailures is the number of failures in a row that open the breaker, if they
	// are of different callers' requests; those of one caller cause a probe. Default 5.
	BreakerFailures int
	BreakerOpen     time.Duration // how long the breaker stays open before a probe; default 1 s

	// Stamp returns a number to attach to each request as it leaves. It is called with
	// a lock held, so it must be quick. Nil: 0.
	Stamp func() uint64
	// Keep is called with every answer to a lookup, found or not (r.Err is then
	// clerkapi.ErrNotFound), before any waiter gets it, and even if no waiter is left.
	// Waiters get its result as Result.Kept. Nil: nothing is kept.
	Keep func(id string, r Result) any

	// Key returns Clerk's secret key as it is now. It shows when a refused key has been
	// replaced. Nil: the key never changes.
	Key func() clerkapi.Key
	// AskKey makes the first request a probe of the key. All else waits for its answer, or
	// until 3 s after the start if that takes longer.
	AskKey bool
	// StateFile keeps what is spent across restarts; Run closes it. Nil: nothing is
	// kept.
	StateFile *statefile.File
	// Shared is the state of a quota that several replicas share. Nil: this replica has
	// the quota to itself. If it is set, StateFile is not used.
	Shared exchanger
	// Place names where this replica runs, such as its host and port. A replica that
	// starts at a place takes over from one that has ended there without a goodbye.
	// Empty: no place.
	Place string

	// Callers counts what each caller uses. Default: a new one.
	Callers *usage.Callers

	Observer Observer     // default: none
	Logger   *slog.Logger // default: discards
}

// DefaultConfig returns the defaults of a Config.
func DefaultConfig() Config { return Config{}.withDefaults() }

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
	if c.Key == nil {
		c.Key = func() clerkapi.Key { return clerkapi.Key{} }
	}
	if c.Stamp == nil {
		c.Stamp = func() uint64 { return 0 }
	}
	if c.Keep == nil {
		c.Keep = func(string, Result) any { return nil }
	}
	if c.Callers == nil {
		c.Callers = usage.New()
	}
	if c.Observer == nil {
		c.Observer = noObserver{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Gate queues what callers want of Clerk behind one quota. Its methods are safe for
// concurrent use. Calls are answered only while Run runs.
type Gate struct {
	cfg        Config
	wake       chan struct{}  // has room for one: dispatch has work
	lateProbes sync.WaitGroup // probes that have timed out and whose answers are awaited

	mu     sync.Mutex // guards all that follows
	closed bool

	// The quota.
	limiter     limiter
	ledger      *ledger       // nil: nothing is kept across restarts
	needsPermit bool          // dispatch has stopped because no permit was free
	low         lowQuota      // whether most of the quota is spent
	shared      *quota.Shared // the limiter, if replicas share the quota; else nil
	decider     quota.Decider // as last logged, if shared is set
	exchanges   SharedStatus  // counts of exchanges
	exchangeDue chan struct{} // has room for one: an exchange may be due

	// What waits.
	queue     *fairqueue.Queue
	queued    map[string]*want // by user id: wants that wait in lines or for a retry
	delayed   retryQueue
	parts     map[*part]struct{} // parts of refused lookups that wait in lines
	occupancy occupancy
	recheck   recheck

	// What is under way.
	requests    map[*request]struct{}
	places      places
	asked       map[string]*want // by user id: the latest wants that requests carry
	concurrency concurrency
	lookupSize  lookupSize
	leases      leases
	forwarded   forwards

	// What Clerk's answers have shown.
	breaker       *breaker
	key           keyCheck
	probes        probes
	doubts        doubts
	senders       senders
	pausedThrough uint64 // the number of the last request that had left when the last pause became known
	retries       retryBudget
	culprits      *recentSet // queries of ids that have spoilt a lookup of several

	headers *Upstream // what the last answer's headers said
}

// New returns a Gate. It sends nothing before Run.
func New(cfg Config) *Gate {
	cfg = cfg.withDefaults()
	now := time.Now()
	g := &Gate{
		cfg:         cfg,
		wake:        make(chan struct{}, 1),
		exchangeDue: make(chan struct{}, 1),
		queue:       fairqueue.New(),
		queued:      make(map[string]*want),
		parts:       make(map[*part]struct{}),
		requests:    make(map[*request]struct{}),
		asked:       make(map[string]*want),
		concurrency: newConcurrency(cfg.MaxInFlight),
		lookupSize:  newLookupSize(),
		key:         newKeyCheck(cfg.Key, cfg.AskKey, now),
		culprits:    newRecentSet(),
		doubts:      doubts{queries: newRecentSet()},
	}
	g.occupancy = occupancy{byLine: make(map[*fairqueue.Line]int)}
	g.breaker = newBreaker(cfg.BreakerFailures, cfg.BreakerOpen, func(until time.Time) { g.probes.next = until })
	g.initLimiter(now)
	return g
}

// initLimiter makes the limiter, and restores the leases that the state file holds.
func (g *Gate) initLimiter(now time.Time) {
	switch {
	case g.cfg.Shared != nil:
		tag := rand.Text()
		g.shared = quota.NewShared(g.cfg.Quota, g.cfg.Place+"/"+tag, now)
		g.limiter, g.decider = g.shared, notLogged
		g.leases.init(tag + ".")
		g.forwarded = forwards{waiting: make(map[string]chan<- error), handled: make(map[string]string)}
	case g.cfg.StateFile != nil:
		g.ledger = newLedger(g.cfg.StateFile, g.cfg.Quota, now, g.cfg.Logger)
		g.limiter = g.ledger.limiter
		g.leases.init("")
		g.restoreLeases(now)
	default:
		g.limiter = quota.New(g.cfg.Quota, now)
		g.leases.init("")
	}
	if g.cfg.Quota.FirstWindow != quota.FullWindow {
		g.low.from = now.Add(g.limiter.Config().Window)
	}
}
