// Package telemetry tells Prometheus how the service stands, and sends spans to
// an OpenTelemetry collector. What Prometheus is told is read from the parts
// that know it, whenever it asks.
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

// Sources are the parts that know the figures. All but Tracing, KeyFile and Unread are required, and
// are asked at every scrape, several at once if scrapes are.
type Sources struct {
	Version  string // of the build
	Gate     quotas
	Cache    lookups
	Store    store
	Webhooks events
	Server   calls
	Tracing  *Tracing // nil: nothing is traced
	// KeyFile returns why the key in the secret key's file is not used. Nil: there
	// is no such file.
	KeyFile func() error
	// Unread returns how often each field of Clerk's users could not be read. Nil:
	// nobody counts.
	Unread func() map[string]int64
}

// quotas tells how quota, queue and breaker stand. A *gate.Gate does.
type quotas interface{ Status() gate.Status }

// lookups counts answers. A *usercache.Cache does.
type lookups interface{ Totals() usercache.Totals }

// store tells what is kept. A *usercache.Store does.
type store interface{ Stats() usercache.Stats }

// events counts webhooks. A *webhook.Handler does.
type events interface {
	Stats() map[webhook.Count]int64
}

// calls counts calls that panicked, and those whose callers were refused, by reason. A
// *server.Server does.
type calls interface {
	Panics() int64
	Refusals() map[string]int64
}

// Register registers the service's metrics, and those of the Go runtime and the
// process. Its error says that one of them is registered already.
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

// collector reads all sources once a scrape, so that figures that belong
// together are of one moment.
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
	now := figures{
		version: s.Version, gate: s.Gate.Status(), lookups: s.Cache.Totals(), store: s.Store.Stats(),
		events: s.Webhooks.Stats(), panics: s.Server.Panics(), refusals: s.Server.Refusals(), spansLost: s.Tracing.Lost(),
		keyFileFails: s.KeyFile != nil && s.KeyFile() != nil,
		unread:       unreadOf(s),
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
