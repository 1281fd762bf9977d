package gate

import (
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/usage"
)

// kind is a kind of use of a permit.
type kind int

const (
	noRequest          kind = iota
	lookupRequest           // users by their ids
	listOrCountRequest      // one list or count
	probeRequest            // a small list that no caller has asked for
	partRequest             // users: a part of a refused lookup
	leasePermit             // no request: a permit for a lease
)

// turn is the use of the next permit.
type turn struct {
	kind     kind           // whether it is a lookup, a list or count, or a part is known only once it is loaded
	next     fairqueue.Turn // whose wants; not for probes and leases
	asksHang bool           // a probe: it asks whether Clerk hangs
}

// bounded reports whether the turn counts toward the requests in flight.
func (t turn) bounded() bool { return t.kind != probeRequest && t.kind != leasePermit }

// request is one request to Clerk. It is built by dispatch and does not change while
// it is under way, but for overtaken.
type request struct {
	kind    kind
	part    *part             // of a partRequest, else nil
	wants   []*want           // none for a probe
	turns   []fairqueue.Taken // what the lines were charged, in the order of wants; none for a part
	payers  []*usage.Caller   // who pays for it, in the order of wants
	parties []Party           // who these are
	permit  quota.Permit
	sentAt  time.Time
	stamp   uint64
	number  uint64       // counts all requests that have left
	beside  int          // how many were under way when it left, itself included
	done    func(error)  // reports its end to the breaker
	trace   RequestTrace // nil if nothing is traced

	asksHang  bool   // a probe: it asks whether Clerk hangs
	cancel    func() // ends it; nil for a probe
	overtaken bool   // it takes no place in flight; guarded by Gate.mu
}

// add adds a want for which x pays. MaxInFlight bounds those who pay, so the occupancy
// does not count them.
func (r *request) add(w *want, x *waiter) {
	r.wants = append(r.wants, w)
	r.payers = append(r.payers, x.call.caller)
	r.parties = append(r.parties, x.call.party)
	x.count(false)
}

// forUsers reports whether r asks for users by their ids.
func (r *request) forUsers() bool { return r.kind == lookupRequest || r.kind == partRequest }

// alone reports whether other ids must not join r.
func (r *request) alone() bool { return r.kind == partRequest || len(r.wants) > 0 && r.wants[0].alone }

// severalCallers reports whether the wants of r are those of several callers.
func (r *request) severalCallers() bool {
	return slices.ContainsFunc(r.parties, func(p Party) bool { return p != r.parties[0] })
}

// callers returns the proven identities of those who asked for the wants of r: a caller
// that uses several names is one caller.
func (r *request) callers() []string {
	var all []string
	for _, p := range r.parties {
		who := "peer " + p.Peer
		if p.Peer == "" {
			who = "name " + p.Name
		}
		if !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return all
}

// sameCaller reports whether a and b are one caller, as callers counts them.
func sameCaller(a, b Party) bool { return a.Peer == b.Peer && (a.Peer != "" || a.Name == b.Name) }

// failedBefore reports whether a want of r has failed before.
func (r *request) failedBefore() bool {
	return slices.ContainsFunc(r.wants, func(w *want) bool { return w.tries > 0 })
}

// queries returns the queries of the wants of r.
func (r *request) queries() []uint64 {
	queries := make([]uint64, len(r.wants))
	for i, w := range r.wants {
		queries[i] = w.query
	}
	return queries
}

// endpoint returns the name of r's endpoint, as in SentRequest.
func (r *request) endpoint() string {
	switch r.kind {
	case probeRequest:
		return "probe"
	case listOrCountRequest:
		return r.wants[0].listOrCount.endpoint
	}
	return "lookup"
}

// answer is the answer to a request, or its failure.
type answer struct {
	results []Result // to a lookup
	unclear []bool   // to a lookup of several ids: by id, whether only a request for it alone can answer
	value   any      // to a list or count
	meta    clerkapi.Meta
	err     error
}
