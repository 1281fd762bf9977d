package gate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// MaxLeaseTTL is the longest time that a lease may last.
const MaxLeaseTTL = quota.MaxLoan

// leaseTTL is how long a lease lasts unless its request asks for another time.
const leaseTTL = 30 * time.Second

// maxRequestIDs is how many request ids are remembered, each until its lease would have
// ended by itself.
const maxRequestIDs = 10_000

// The errors of leases.
var (
	// ErrNoLease means that there is no such lease, or that it has ended.
	ErrNoLease = errors.New("no such lease")
	// ErrLeaseUse means that more permits were used than the lease had.
	ErrLeaseUse = errors.New("more permits used than the lease had")
	// ErrUnanswered means that more requests had no answer than were sent.
	ErrUnanswered = errors.New("more requests unanswered than sent")
	// ErrRequestID means that the request id was used for another number of permits or
	// another TTL.
	ErrRequestID = errors.New("the request id was used for another request")
)

// LeaseSizeError means that a request asks for less than one permit, or for more than can
// be lent at once.
type LeaseSizeError struct {
	Max int // the most
}

// Error describes how many permits a request may ask for.
func (e *LeaseSizeError) Error() string { return fmt.Sprintf("a lease has 1 to %d permits", e.Max) }

// LeaseRequest is a request for a lease.
type LeaseRequest struct {
	Permits int
	TTL     time.Duration // how long they are lent, at most MaxLeaseTTL; 0: 30 s
	// ID makes all requests of the caller with the same ID one: they get the same lease.
	// Empty: no ID.
	ID string
}

// Lease is a number of permits lent to a caller that sends requests to Clerk itself.
type Lease struct {
	ID      string
	Expires time.Time // when it ends by itself; its permits then count as lost
	// Repeated reports that an earlier call with the same request id has got the lease.
	Repeated bool
}

// AllUsed means, as LeaseUse.Used, that all permits were used.
const AllUsed = -1

// LeaseUse describes how a lease was used.
type LeaseUse struct {
	Used        int  // permits that were used; AllUsed: all
	Unanswered  int  // those of them whose requests had no answer
	RateLimited bool // Clerk has answered one of them with 429
}

// lease is a lease that waits, gathers its permits, is lent, or has ended.
type lease struct {
	Lease
	request LeaseRequest
	caller  *usage.Caller
	name    string // of the caller
	want    *want
	permits []quota.Permit // gathered so far
	limit   int            // the limit of the quota when it gathered the first of them
	loan    quota.Loan     // once it is lent
	mark    int64          // the result of Shared.Mark then
	state   leaseState
}

type leaseState int

const (
	leaseWaits leaseState = iota // in the queue, or gathering
	leaseLent                    // lent, but neither the state file nor the shared state has it yet
	leaseOut                     // the caller has it, or may have it
	leaseOver
)

// requestKey identifies a caller's request for a lease.
type requestKey struct{ caller, id string }

// leases holds the leases that wait and those that are lent.
type leases struct {
	tag         string // the prefix of the ids of this replica's leases
	byID        map[string]*lease
	byRequest   map[requestKey]*lease
	order       []*lease       // those that are lent, and those that have ended but whose request ids are remembered, by their end
	gathering   []*want        // those whose turn has come; the first of them gathers
	others      int            // requests since a lease got a permit
	released    []endedRequest // releases that the shared state does not know yet
	releasedDue chan struct{}  // has room for one: there are releases to send
	unkept      []*lease       // lent, but neither the state file nor the shared state has them yet
	limited     bool           // a lease has reported a 429, and no probe has gone since
	askedAt     time.Time      // when the last such probe left
}

func (ls *leases) init(tag string) {
	ls.tag = tag
	ls.releasedDue = make(chan struct{}, 1)
	ls.byID, ls.byRequest = make(map[string]*lease), make(map[requestKey]*lease)
}

// remember records the request id of le.
func (ls *leases) remember(key requestKey, le *lease) {
	if len(ls.byRequest) >= maxRequestIDs {
		for i, old := range ls.order { // the first that has ended
			if old.state == leaseOver {
				ls.forget(old)
				ls.order = slices.Delete(ls.order, i, i+1)
				break
			}
		}
	}
	ls.byRequest[key] = le
}

// forget forgets the request id of le.
func (ls *leases) forget(le *lease) {
	if key := (requestKey{le.name, le.request.ID}); ls.byRequest[key] == le {
		delete(ls.byRequest, key)
	}
}

// lent records that le is lent until its end.
func (ls *leases) lent(le *lease) {
	ls.byID[le.ID] = le
	i, _ := slices.BinarySearchFunc(ls.order, le, func(a, b *lease) int { return cmp.Or(a.Expires.Compare(b.Expires), -1) })
	ls.order = slices.Insert(ls.order, i, le)
}

// over records that le has ended.
func (ls *leases) over(le *lease) {
	delete(ls.byID, le.ID)
	le.state = leaseOver
	if le.request.ID == "" {
		ls.order = slices.DeleteFunc(ls.order, func(other *lease) bool { return other == le })
	}
}

// missing returns how many permits are missing to the leases whose turn has come.
func (ls *leases) missing() (n int) {
	for _, w := range ls.gathering {
		n += w.lease.request.Permits - len(w.lease.permits)
	}
	return n
}

// gathered returns how many permits have been gathered by leases that miss some.
func (ls *leases) gathered() (n int) {
	for _, w := range ls.gathering {
		n += len(w.lease.permits)
	}
	return n
}

// leased returns how many permits leases hold.
func (g *Gate) leased() (n int) {
	for _, le := range g.leases.byID {
		n += le.request.Permits
	}
	return n
}
