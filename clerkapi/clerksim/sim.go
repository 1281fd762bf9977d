// Package clerksim simulates the part of Clerk's Backend API that reads users: GET
// /v1/users/{id}, /v1/users and /v1/users/count, with Clerk's filters, orders, limits and
// errors. Use it to test a client of Clerk without an account.
//
// A simulator counts requests against a quota, answers after a latency, fails on demand in
// many ways (see Fault), and counts its requests (see Stats). It posts signed
// events about changes of its users to the receiver in Config.Webhook.
//
// Under /sim/ it serves admin requests, without a key and without counting them, so it
// should listen on a loopback address only:
//
//	GET    /sim/stats       returns Stats
//	POST   /sim/faults      adds a Fault
//	DELETE /sim/faults      removes all faults
//	POST   /sim/reset       removes all faults, zeroes the counts, and restores the quota
//	POST   /sim/users       adds a generated user and returns it
//	PATCH  /sim/users/{id}  sets the fields in the JSON object of the body and returns the user
//	DELETE /sim/users/{id}  removes a user
package clerksim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config configures a simulator. The zero value is valid.
type Config struct {
	Users     int    // number of seeded users; default 10,000, negative: none
	Seed      uint64 // seed of users, windows' phases, jitter and faults; default 1. Times of users are relative to the start
	SecretKey string // the accepted key; empty: any that begins with sk_test_ or sk_live_
	Quota     Quota  // default: no limit
	// Latency is the time from the arrival of a request, when it is counted, to its
	// answer, plus a random time up to Jitter. Default 0.
	Latency, Jitter time.Duration
	// ExtraFields is a JSON object whose fields are added to every user, to simulate new
	// fields in Clerk's API. Default none.
	ExtraFields json.RawMessage
	// KeepArrivals is the maximum of requests that Arrivals returns, counted from the
	// start or the last reset. Default 0.
	KeepArrivals int
	Webhook      Webhook // default: no events are sent
}

// Sim is a simulated Clerk. It implements http.Handler and is safe for concurrent use.
type Sim struct {
	config   Config
	users    *store
	stranger *record // a user who is not in users
	outbox   *outbox

	changing sync.Mutex // held from the change of a user until its event is queued

	mu       sync.Mutex
	rng      *rand.Rand
	seeder   *seeder // generates users created later
	meter    meter   // nil without a quota
	faults   []*activeFault
	serving  int // requests in flight, except those refused by FaultCrowded
	stats    Stats
	arrivals []Arrival
}

// Check returns the error that New would return, without generating users.
func (config Config) Check() error {
	if _, err := config.Quota.withDefaults(); err != nil {
		return err
	}
	if config.Latency < 0 || config.Jitter < 0 {
		return fmt.Errorf("latency %v and jitter %v: must not be negative", config.Latency, config.Jitter)
	}
	if _, err := config.Webhook.check(); err != nil {
		return err
	}
	_, err := checkExtra(config.ExtraFields)
	return err
}

// New returns a simulator with its users. It starts nothing.
func New(config Config) (*Sim, error) {
	err := config.Check()
	if err != nil {
		return nil, err
	}
	if config.Quota, err = config.Quota.withDefaults(); err != nil {
		return nil, err
	}
	if config.ExtraFields, err = checkExtra(config.ExtraFields); err != nil {
		return nil, err
	}
	if config.Users == 0 {
		config.Users = 10_000
	}
	if config.Seed == 0 {
		config.Seed = 1
	}
	s := &Sim{
		config: config,
		users:  newStore(config.ExtraFields),
		rng:    rand.New(rand.NewPCG(config.Seed, 2)),
		seeder: newSeeder(config.Seed, time.Now()),
	}
	if s.outbox, err = newOutbox(config.Webhook, config.Seed); err != nil {
		return nil, err
	}
	for range config.Users {
		if _, err := s.users.add(s.seeder.user()); err != nil {
			return nil, err
		}
	}
	stranger := s.seeder.user()
	text, err := stranger.encode(config.ExtraFields)
	if err != nil {
		return nil, err
	}
	s.stranger = &record{stranger, text}
	s.Reset()
	return s, nil
}

// checkExtra returns extra in compact form, empty if it has no fields.
func checkExtra(extra json.RawMessage) (json.RawMessage, error) {
	if len(extra) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	var compact bytes.Buffer
	if err := json.Unmarshal(extra, &fields); err != nil {
		return nil, fmt.Errorf("extra fields: %w", err)
	}
	if err := json.Compact(&compact, extra); err != nil || len(fields) == 0 {
		return nil, err
	}
	return compact.Bytes(), nil
}

// UserIDs returns the ids of the first n users, or of all if there are fewer. Seeded
// users are always in the same order.
func (s *Sim) UserIDs(n int) []string { return s.users.firstIDs(n) }

// User returns a copy of a user.
func (s *Sim) User(id string) (*User, bool) {
	r := s.users.get(id)
	if r == nil {
		return nil, false
	}
	return r.user.clone(), true
}

// ServeHTTP answers as Clerk would, and serves admin requests under /sim/.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPath) {
		s.serveAdmin(w, r)
		return
	}
	req := parseRequest(r)
	in := s.arrive(req, r.Header.Get("Authorization"))
	defer s.served(in)
	if !sleep(r.Context(), in.delay) {
		s.answered(req, 0)
		return
	}
	w.Header().Set("Clerk-Trace-Id", in.traceID)
	if in.fault != nil {
		s.serveFault(w, r, in)
		return
	}
	a := s.answer(in)
	s.answered(req, a.status)
	s.write(w, a)
}

// arrivedRequest is a request and the decisions at its arrival.
type arrivedRequest struct {
	*request
	traceID string
	refusal *refusal // nil: accepted
	verdict *verdict // nil: not counted against a quota
	fault   *Fault   // nil: none
	delay   time.Duration
}

// arrive counts a request and decides its fate: first the key is checked, then the quota,
// then the faults.
func (s *Sim) arrive(req *request, authorization string) *arrivedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	in := &arrivedRequest{request: req, traceID: randomHex(s.rng, 16), delay: s.config.Latency}
	if s.config.Jitter > 0 {
		in.delay += time.Duration(s.rng.Int64N(int64(s.config.Jitter)))
	}
	in.refusal = authenticate(authorization, s.config.SecretKey)
	if in.refusal == nil && s.meter != nil {
		v := s.meter.take(now)
		in.verdict = &v
		if !v.allowed {
			in.refusal = plainRefusal(http.StatusTooManyRequests)
		}
	}
	if in.refusal == nil {
		in.fault = s.drawFault(req)
	}
	if in.crowded() {
		in.delay = 0 // a limit on concurrency applies before the request is served
	} else {
		s.serving++
	}
	s.countArrival(now, in)
	return in
}

// crowded reports whether FaultCrowded refuses the request.
func (in *arrivedRequest) crowded() bool { return in.fault != nil && in.fault.Kind == FaultCrowded }

// served records the end of a request.
func (s *Sim) served(in *arrivedRequest) {
	if in.crowded() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
}

// answer returns the answer to a request without a fault.
func (s *Sim) answer(in *arrivedRequest) answer {
	refuse := in.refusal
	var body []byte
	if refuse == nil {
		body, refuse = s.body(in.request)
	}
	a := answer{status: http.StatusOK, body: body}
	if refuse != nil {
		a = refuse.answer(in.traceID)
	}
	a.verdict = in.verdict
	return a
}

// body returns the body of a successful answer.
func (s *Sim) body(req *request) ([]byte, *refusal) {
	if req.endpoint == Get {
		if r := s.users.get(req.ids[0]); r != nil {
			return r.text, nil
		}
		return nil, &refusal{status: http.StatusNotFound, code: "resource_not_found", message: "not found"}
	}
	if req.endpoint == Other {
		return nil, plainRefusal(http.StatusNotFound)
	}
	q, refuse := parseQuery(req.values)
	if refuse != nil {
		return nil, refuse
	}
	if req.endpoint == Count {
		return fmt.Appendf(nil, `{"object":"total_count","total_count":%d}`, s.users.total(q)), nil
	}
	page, refuse := s.users.page(q)
	return array(page), refuse
}

// array returns a JSON array of users.
func array(users []*record) []byte {
	size := 2
	for _, r := range users {
		size += len(r.text) + 1
	}
	text := append(make([]byte, 0, size), '[')
	for i, r := range users {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, r.text...)
	}
	return append(text, ']')
}

func (s *Sim) write(w http.ResponseWriter, a answer) {
	s.writeHeader(w, a)
	_, _ = w.Write(a.body) // the client may have left
}

// writeHeader sends an answer without its body.
func (s *Sim) writeHeader(w http.ResponseWriter, a answer) {
	a.header(w.Header(), s.config.Quota)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
}

// sleep waits for d and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
