package clerksim

import (
	"maps"
	"slices"
	"time"
)

// Stats is what a simulator was asked since its start or the last reset.
// Requests under /sim/ count nowhere.
type Stats struct {
	Requests    int64                      `json:"requests"`     // that have arrived
	RateLimited int64                      `json:"rate_limited"` // refused for the quota
	IDs         int64                      `json:"ids"`          // users asked for by name in gets and lookups
	LookupIDs   int64                      `json:"lookup_ids"`   // of these, in lookups
	ByEndpoint  map[Endpoint]EndpointStats `json:"by_endpoint"`  // only endpoints that were asked
	Webhooks    WebhookStats               `json:"webhooks"`     // what became of events; what waits now outlasts a reset
}

// EndpointStats is what one endpoint was asked.
type EndpointStats struct {
	Requests int64 `json:"requests"` // that have arrived
	// ByStatus counts the answers by HTTP status. Status 0 are requests that got
	// none, be it for a fault or because the client left.
	ByStatus map[int]int64 `json:"by_status"`
}

// Arrival is a request as it arrived.
type Arrival struct {
	At       time.Time
	Endpoint Endpoint
	IDs      []string // users asked for by name; must not be changed
	Limited  bool     // refused for the quota
}

// Stats says what was asked so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := s.stats
	copied.ByEndpoint = maps.Clone(copied.ByEndpoint)
	for endpoint, e := range copied.ByEndpoint {
		e.ByStatus = maps.Clone(e.ByStatus)
		copied.ByEndpoint[endpoint] = e
	}
	copied.Webhooks = s.outbox.snapshot()
	return copied
}

// Arrivals gives the first arrivals, in their order, at most
// Config.KeepArrivals of them.
func (s *Sim) Arrivals() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// Reset ends all faults, zeroes Stats and Arrivals, and begins the quota anew.
func (s *Sim) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.stats = Stats{ByEndpoint: map[Endpoint]EndpointStats{}}
	s.arrivals = nil
	s.outbox.zero()
	if s.config.Quota.Limit > 0 {
		s.meter = s.config.Quota.newMeter(time.Now(), s.rng)
	}
}

// countArrival counts a request that has come. The caller holds mu.
func (s *Sim) countArrival(now time.Time, in *incoming) {
	limited := in.verdict != nil && !in.verdict.allowed
	s.stats.Requests++
	if limited {
		s.stats.RateLimited++
	}
	if in.endpoint == Get || in.endpoint == Lookup {
		s.stats.IDs += int64(len(in.ids))
	}
	if in.endpoint == Lookup {
		s.stats.LookupIDs += int64(len(in.ids))
	}
	e := s.stats.ByEndpoint[in.endpoint]
	e.Requests++
	s.stats.ByEndpoint[in.endpoint] = e
	if len(s.arrivals) < s.config.KeepArrivals {
		s.arrivals = append(s.arrivals, Arrival{now, in.endpoint, in.ids, limited})
	}
}

// answered counts the answer to a request by its status, 0 if it gets none.
func (s *Sim) answered(req *request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.stats.ByEndpoint[req.endpoint]
	if e.ByStatus == nil {
		e.ByStatus = map[int]int64{}
	}
	e.ByStatus[status]++
	s.stats.ByEndpoint[req.endpoint] = e
}
