package clerksim

import (
	"fmt"
	"net/http"
	"slices"
)

// FaultKind is a kind of fault.
type FaultKind string

// The kinds of fault.
const (
	FaultStatus     FaultKind = "status"       // answers Status with an error in Clerk's form, Code and RetryAfter
	FaultHang       FaultKind = "hang"         // never answers
	FaultReset      FaultKind = "reset"        // resets the connection (HTTP/1.1) or the stream (HTTP/2)
	FaultTruncated  FaultKind = "truncated"    // cuts off the right answer in the middle
	FaultGarbage    FaultKind = "garbage"      // answers 200 with a body that is not JSON
	FaultHTML       FaultKind = "html"         // answers Status (default 502) with a page, as a CDN does
	FaultSlow       FaultKind = "slow"         // sends the right answer slowly, 64 bytes every IntervalMS
	FaultHuge       FaultKind = "huge"         // answers without an end
	FaultWrongUser  FaultKind = "wrong-user"   // answers gets and lookups with a user who was not requested; lists, if Endpoint selects them, with only that user
	FaultTooManyIDs FaultKind = "too-many-ids" // refuses requests with more than MaxIDs ids with Status (default 413)
	FaultLongURL    FaultKind = "long-url"     // refuses requests with more than MaxURL bytes of path and query with Status (default 414)
	FaultCrowded    FaultKind = "crowded"      // refuses requests while MaxAtOnce others are in flight with Status (default 429)
	FaultPoisonID   FaultKind = "poison-id"    // refuses requests with one of IDs with Status (default 400)
)

// Fault is a kind of fault and the requests that meet it. If several apply to a request,
// the first one added is used.
type Fault struct {
	Kind        FaultKind `json:"kind"`
	Endpoint    Endpoint  `json:"endpoint,omitempty"`    // the requests that can meet it; default all
	Probability float64   `json:"probability,omitempty"` // probability of a request meeting it, at most 1; default 1
	Count       int       `json:"count,omitempty"`       // the number of requests that meet it before it ends; default unlimited
	Status      int       `json:"status,omitempty"`      // 200 to 599; default 500 for FaultStatus
	Code        string    `json:"code,omitempty"`        // Clerk's error code; default: by Status
	RetryAfter  string    `json:"retry_after,omitempty"` // the header verbatim, valid or not; default none
	IntervalMS  int       `json:"interval_ms,omitempty"` // ms; default 100
	MaxIDs      int       `json:"max_ids,omitempty"`
	MaxAtOnce   int       `json:"max_at_once,omitempty"` // requests
	MaxURL      int       `json:"max_url,omitempty"`     // bytes
	IDs         []string  `json:"ids,omitempty"`
}

// activeFault is an active fault.
type activeFault struct {
	Fault
	met int // number of requests that have met it
}

// AddFault adds a fault to the active ones. It fails if the fault could never occur, or
// not as specified.
func (s *Sim) AddFault(f Fault) error {
	if err := f.complete(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &activeFault{Fault: f})
	return nil
}

// ClearFaults removes all faults. Requests that have met one keep it.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// complete sets defaults and checks the other fields.
func (f *Fault) complete() error {
	status, ok := map[FaultKind]int{
		FaultStatus:     http.StatusInternalServerError,
		FaultHang:       0,
		FaultReset:      0,
		FaultTruncated:  0,
		FaultGarbage:    0,
		FaultHTML:       http.StatusBadGateway,
		FaultSlow:       0,
		FaultHuge:       0,
		FaultWrongUser:  0,
		FaultTooManyIDs: http.StatusRequestEntityTooLarge,
		FaultLongURL:    http.StatusRequestURITooLong,
		FaultCrowded:    http.StatusTooManyRequests,
		FaultPoisonID:   http.StatusBadRequest,
	}[f.Kind]
	switch {
	case !ok:
		return fmt.Errorf("fault kind %q: there is no such kind", f.Kind)
	case !slices.Contains([]Endpoint{"", Get, Lookup, List, Count, Other}, f.Endpoint):
		return fmt.Errorf("fault endpoint %q: there is no such endpoint", f.Endpoint)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("fault probability %v: want 0 to 1", f.Probability)
	case f.Count < 0 || f.IntervalMS < 0:
		return fmt.Errorf("fault count %d, interval %d ms: must not be negative", f.Count, f.IntervalMS)
	case f.Status != 0 && (status == 0 || f.Status < 200 || f.Status > 599):
		return fmt.Errorf("fault %s: can't have status %d", f.Kind, f.Status)
	case f.Kind == FaultTooManyIDs && f.MaxIDs < 1:
		return fmt.Errorf("fault %s: needs max_ids", f.Kind)
	case f.Kind == FaultLongURL && f.MaxURL < 1:
		return fmt.Errorf("fault %s: needs max_url", f.Kind)
	case f.Kind == FaultCrowded && f.MaxAtOnce < 1:
		return fmt.Errorf("fault %s: needs max_at_once", f.Kind)
	case f.Kind == FaultPoisonID && len(f.IDs) == 0:
		return fmt.Errorf("fault %s: needs ids", f.Kind)
	}
	if f.Status == 0 {
		f.Status = status
	}
	if f.Probability == 0 {
		f.Probability = 1
	}
	if f.IntervalMS == 0 {
		f.IntervalMS = 100
	}
	return nil
}

// drawFault returns the fault that a request meets, or nil. s.mu must be held.
func (s *Sim) drawFault(req *request) *Fault {
	for i, f := range s.faults {
		if !f.concerns(req) || f.Kind == FaultCrowded && s.serving < f.MaxAtOnce || f.Probability < 1 && s.rng.Float64() >= f.Probability {
			continue
		}
		f.met++
		if f.met == f.Count {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return &f.Fault
	}
	return nil
}

// concerns reports whether a request can meet the fault.
func (f *Fault) concerns(req *request) bool {
	if f.Endpoint != "" && f.Endpoint != req.endpoint {
		return false
	}
	switch f.Kind {
	case FaultWrongUser:
		return req.endpoint == Get || req.endpoint == Lookup || req.endpoint == List && f.Endpoint == List
	case FaultTooManyIDs:
		return len(req.ids) > f.MaxIDs
	case FaultLongURL:
		return req.urlLength > f.MaxURL
	case FaultPoisonID:
		return slices.ContainsFunc(req.ids, func(id string) bool { return slices.Contains(f.IDs, id) })
	}
	return true
}
