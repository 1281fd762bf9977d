package clerksim

import (
	"maps"
	"slices"
	"time"
)

// Stats counts requests since the start or the last reset. Requests under /sim/ are not
// counted.
type Stats struct {
	Requests    int64                      `json:"requests"`     // that have arrived
	RateLimited int64                      `json:"rate_limited"` // refused for the quota
	IDs         int64                      `json:"ids"`          // ids in gets and lookups
	LookupIDs   int64                      `json:"lookup_ids"`   // ... in lookups only
	ByEndpoint  map[Endpoint]EndpointStats `json:"by_endpoint"`  // endpoints without requests are missing
	Webhooks    WebhookStats               `json:"webhooks"`     // events; Waiting is not reset
}

// EndpointStats counts the requests of one endpoint.
type EndpointStats struct {
	Requests int64 `json:"requests"` // that have arrived
	// ByStatus counts answers by HTTP status. Requests without an answer, because of a
	// fault or because the client left, have status 0.
	ByStatus map[int]int64 `json:"by_status"`
}

// Arrival is a request that has arrived.
type Arrival struct {
	At       time.Time
	Endpoint Endpoint
	IDs      []string // requested ids; must not be modified
	Limited  bool     // refused for the quota
}

// Stats returns the current counts.
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

// Arrivals returns the first Config.KeepArrivals arrivals in order.
func (s *Sim) Arrivals() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// Reset removes all faults, zeroes Stats and Arrivals, and restores the quota.
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

// countArrival counts an arrival. s.mu must be held.
func (s *Sim) countArrival(now time.Time, in *arrivedRequest) {
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

// answered counts an answer by its status, 0 without an answer.
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
