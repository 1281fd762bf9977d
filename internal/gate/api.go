package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// Priority orders wants: interactive ones go first.
type Priority = fairqueue.Priority

// The priorities.
const (
	Interactive = fairqueue.Interactive
	Batch       = fairqueue.Batch
)

var priorities = [...]Priority{Interactive, Batch}

// Party is who takes turns: first a peer among peers, then a name among its names.
type Party = fairqueue.Party

// Options say on whose behalf and how urgently something is asked.
type Options struct {
	Caller   string   // name of the caller, for figures
	Party    Party    // whose turns are taken; its zero value: those of the name Caller, of this process
	Priority Priority // Interactive by default
	// Fresh lets the lookup join no request that has already left.
	Fresh bool
	// LeftSince lets the lookup join only those requests that left then or later.
	// Zero: any.
	LeftSince time.Time
}

// party is who takes turns.
func (o Options) party() Party {
	if o.Party == (Party{}) {
		return Party{Name: o.Caller}
	}
	return o.Party
}

// Result is what became of one id that was looked up: either User or Err is set.
type Result struct {
	User *clerkgatev1.User // shared: never to be changed
	// Err is clerkapi.ErrNotFound, another error of clerkapi's, an *Error of
	// this package, or the error of the caller's context.
	Err       error
	FetchTime time.Time // when the request left that brought the answer; zero if none did
	Stamp     uint64    // what Config.Stamp gave then
	Kept      any       // what Config.Keep made of the answer
}

// Page is the answer to List.
type Page struct {
	Users      []*clerkgatev1.User   // shared: never to be changed
	Unreadable []clerkapi.Unreadable // who else is on the page
	FetchTime  time.Time             // when the request left
	Stamp      uint64                // what Config.Stamp gave then
}

// Count is the answer to Count.
type Count struct {
	Users     int64
	FetchTime time.Time // when the request left
}

// Why the gate refuses or gives up a want, as errors.Is finds it in an *Error.
// Errors of Clerk's own come as *clerkapi.Error.
var (
	// ErrQueueFull: as many wait as the gate will hold.
	ErrQueueFull = errors.New("the queue is full")
	// ErrCallerQueueFull: the caller has as many waiting as one may.
	ErrCallerQueueFull = errors.New("the caller has too many wants waiting")
	// ErrDeadlineTooShort: the wait, as estimated, outlasts the deadline.
	ErrDeadlineTooShort = errors.New("the wait would outlast the deadline")
	// ErrRateLimited: a 429 holds the key for longer than the caller can wait.
	ErrRateLimited = errors.New("clerk's rate limit holds the key")
	// ErrBreakerOpen: Clerk failed so often that it is not asked.
	ErrBreakerOpen = errors.New("the circuit breaker is open")
	// ErrShuttingDown: the gate is stopping.
	ErrShuttingDown = errors.New("shutting down")
)

// Error is a refusal of the gate's own.
type Error struct {
	Kind       error         // one of the sentinels above
	RetryAfter time.Duration // when to come back; 0 if not known
	Err        error         // what led to it, such as the last error of Clerk's; may be nil
}

// Error describes the refusal.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Kind.Error() + ": " + e.Err.Error()
	}
	return e.Kind.Error()
}

// Unwrap lets errors.Is and errors.As find the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Kind, e.Err}
	}
	return []error{e.Kind}
}

// Status is how the quota, the queue and the breaker stand.
type Status struct {
	Limit          int           // requests per Window that the quota allows
	Window         time.Duration //
	Burst          int           // size of the token bucket, 0: strict window
	EffectiveLimit int           // what may be held at once now
	Available      int           // could be sent at once
	Held           int           // permits held
	InFlight       int           // requests in flight
	InFlightLimit  int           // the most that may be: Config.MaxInFlight, or fewer if Clerk bears fewer
	Leased         int           // permits held by leases
	Upstream       *Upstream     // what Clerk's headers last said, nil if none came
	PausedUntil    time.Time     // zero if not paused
	Shared         *SharedStatus // nil if the quota is not shared
	Queue          [2]QueueLevel // by Priority
	EstimatedWait  time.Duration // of an interactive list call that came now
	Breaker        BreakerStatus
	KeyRefused     bool // as in Health
	KeyTaken       bool // as in Health
	Totals         Totals
	Figures        Figures

	Callers      []CallerStatus // the busiest, the busiest first
	OtherCallers CallerStatus   // all others, with those that have been forgotten
	// FirstCallers are those that came first. They are never forgotten, so that
	// neither their sums nor those of all others ever fall.
	FirstCallers []CallerStatus
	LaterCallers CallerStatus // all others
}

// SharedStatus is how the sharing of the quota stands.
type SharedStatus struct {
	quota.ShareState
	Exchanges int64         // with the shared state, those that failed included
	Failures  int64         // exchanges that had no answer in time
	Latency   time.Duration // sum of what the exchanges took
}

// Upstream is what the X-RateLimit headers of Clerk's last answer said.
type Upstream struct {
	Limit, Remaining int
	Reset            time.Time
	Observed         time.Time
}

// QueueLevel is what waits at one priority.
type QueueLevel struct {
	Depth  int           // wants waiting; one that both priorities wait for is Interactive's
	Oldest time.Duration // how long who has waited longest has, 0 if nobody waits
}

// BreakerState is what the circuit breaker does.
type BreakerState int

// The breaker's states.
const (
	Closed BreakerState = iota
	HalfOpen
	Open
)

// BreakerStatus is how the breaker stands.
type BreakerStatus struct {
	State       BreakerState
	Since       time.Time
	TimesOpened int64
}

// Health is whether Clerk can be asked.
type Health struct {
	Breaker    BreakerState
	KeyRefused bool // Clerk refuses the key, by its last word on it
	KeyTaken   bool // it has taken a key since the start
	AskingKey  bool // Config.AskKey is set, and Clerk has not answered yet; for 3 s at most
}

// Totals are sums since the start.
type Totals struct {
	Lookups         int64   // ids answered by Clerk
	Requests        int64   // requests that were sent and have ended
	RateLimited     int64   // answers of 429
	Retries         int64   // requests that failed and were to be tried again
	Low             int64   // times that less than a tenth of the quota was left
	UsersPerRequest float64 // mean number of ids per lookup request
}

// CallerStatus is what one caller, or several, have done since the start.
type CallerStatus struct {
	Name    string
	Lookups int64   // ids asked for
	Share   float64 // requests spent on it, and permits of its leases that were used
	Queued  int     // waiting, once for each of its wants
	Refused int64   // wants refused
}
