// Package telemetry exports metrics to Prometheus and spans to an OpenTelemetry collector.
//
// A GateObserver counts the events that the gate reports (gatestats.go) and makes their
// spans (gatespans.go). The other packages count their own events.
//
// The table in metrics.go defines all metrics except those of gRPC calls, and reads the
// counters at each scrape. To add a metric, count it where it happens, add its value to what
// that package returns, add a row to the table, and run go test ./internal/telemetry -update.
package telemetry

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
	"github.com/clerkgate/clerkgate/internal/webhook"
)

// Sources are the components that metrics are read from at every scrape. They must be safe
// for concurrent use. Those that are interfaces are required.
type Sources struct {
	Version  string // of the build
	Gate     quotas
	Requests requests
	Cache    lookups
	Store    store
	Webhooks events
	Server   calls
	Tracing  *Tracing // nil: tracing is off
	// KeyFile returns the error that keeps the key in the secret key's file from being
	// used, nil if it is used. KeyFile is nil if there is no such file.
	KeyFile func() error
	// Unread returns how often each field of Clerk's users could not be read. Unread is nil
	// if this is not counted.
	Unread func() map[string]int64
	// MaxInFlight is the configured limit of requests in flight.
	MaxInFlight int
	// HasWebhooks reports whether webhooks are received.
	HasWebhooks bool
}

// quotas returns the state of the quota, the queue and the breaker; *gate.Gate implements it.
type quotas interface{ Status() gate.Status }

// requests counts requests to Clerk; *GateObserver implements it.
type requests interface{ Stats() GateStats }

// lookups counts answers; *usercache.Cache implements it.
type lookups interface{ Totals() usercache.Totals }

// store counts entries and calls to Redis; *usercache.Store implements it.
type store interface{ Stats() usercache.Stats }

// events counts webhooks; *webhook.Handler implements it.
type events interface {
	Stats() map[webhook.Count]int64
}

// calls counts calls that panicked, calls refused because of their caller, by reason, and
// connections and calls of which there were too many, and returns the state of the files that are
// read again; *server.Server implements it.
type calls interface {
	Panics() int64
	Refusals() map[string]int64
	RefusedConnections() map[RefusedConnection]int64
	RefusedCalls() map[string]int64
	Files() Files
}

// RefusedConnection is why a listener refused a connection.
type RefusedConnection struct{ Listener, Reason string }

// Register registers the metrics of clerkgate, the Go runtime and the process. It fails if one
// of them is registered already.
func Register(r prometheus.Registerer, s Sources) error {
	var errs []error
	for _, c := range []prometheus.Collector{
		newCollector(s),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// collector reads each source once per scrape, so that its values are of one moment.
type collector struct {
	sources Sources
	descs   []*prometheus.Desc // of metrics, in their order
}

func newCollector(s Sources) *collector {
	c := &collector{sources: s}
	for _, m := range metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.sources
	now := snapshot{
		version: s.Version, gate: s.Gate.Status(), requests: s.Requests.Stats(), lookups: s.Cache.Totals(), store: s.Store.Stats(),
		events: s.Webhooks.Stats(), panics: s.Server.Panics(), refusals: s.Server.Refusals(),
		refusedConnections: s.Server.RefusedConnections(), refusedCalls: s.Server.RefusedCalls(), spansLost: s.Tracing.Lost(),
		keyFileFails: s.KeyFile != nil && s.KeyFile() != nil,
		files:        s.Server.Files(),
		unread:       unreadOf(s),
		maxInFlight:  s.MaxInFlight, hasWebhooks: s.HasWebhooks,
	}
	for i, m := range metrics {
		m.read(&now, emit{m.kind, c.descs[i], ch})
	}
}

func unreadOf(s Sources) map[string]int64 {
	if s.Unread == nil {
		return nil
	}
	return s.Unread()
}
