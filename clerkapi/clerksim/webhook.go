package clerksim

import (
	"container/heap"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Webhook configures the events user.created, user.updated and user.deleted, which are
// signed like Clerk's, and how unreliably they are delivered. The zero value sends none.
type Webhook struct {
	URL    string // the receiver; default: no events
	Secret string // the signing secret: "whsec_" and base64; required with URL
	// Delay is the time from a change to its event, plus a random time up to Reorder, so
	// that events can overtake each other. Default 0: at once, and in the order of the
	// changes unless one has to be resent.
	Delay, Reorder time.Duration
	// Repeat is how often an acknowledged event is sent again, each time up to Reorder
	// later. Default 0.
	Repeat int
	// Drop is the fraction of events that are never sent, from 0 to 1. Default 0.
	Drop float64
	// Forge is the fraction of events, from 0 to 1, that are preceded by a forged one:
	// with the same id, about the deletion of the user, and signed with another key.
	// Default 0.
	Forge float64
}

// check returns the signing key, or an error if the configuration is invalid.
func (w Webhook) check() ([]byte, error) {
	if w.Delay < 0 || w.Reorder < 0 || w.Repeat < 0 {
		return nil, fmt.Errorf("webhook delay %v, reorder %v, repeat %d: must not be negative", w.Delay, w.Reorder, w.Repeat)
	}
	for _, share := range []float64{w.Drop, w.Forge} {
		if !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("webhook share %v: want 0 to 1", share)
		}
	}
	if w.URL == "" {
		return nil, nil
	}
	if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("webhook URL: want http:// or https:// and a host")
	}
	encoded, ok := strings.CutPrefix(w.Secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) == 0 {
		return nil, errors.New("webhook secret: want whsec_ and then base64")
	}
	return key, nil
}

// WebhookStats counts events since the start or the last reset.
type WebhookStats struct {
	Events       int64 `json:"events"`       // changes with an event
	Dropped      int64 `json:"dropped"`      // ... that are never sent
	Acknowledged int64 `json:"acknowledged"` // deliveries answered 2xx, including repeated ones
	Refused      int64 `json:"refused"`      // deliveries answered otherwise or not at all; most are sent again
	GivenUp      int64 `json:"given_up"`     // events refused too often to be sent again
	// Forged counts forged events that were answered, and ForgedAccepted those answered
	// 2xx, which should be none.
	Forged         int64 `json:"forged"`
	ForgedAccepted int64 `json:"forged_accepted"`
	Waiting        int   `json:"waiting"` // deliveries that wait for their time or answer
}

// outbox holds the events to send. It is safe for concurrent use.
type outbox struct {
	config    Webhook
	key       []byte
	instance  string
	transport http.RoundTripper // nil: a new one for each SendWebhooks

	ready chan struct{} // holds a token if the queue has changed

	mu      sync.Mutex
	rng     *rand.Rand
	queue   deliveries
	pushed  int // all deliveries
	leaving int // deliveries that wait for an answer
	stats   WebhookStats
}

func newOutbox(config Webhook, seed uint64) (*outbox, error) {
	key, err := config.check()
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	return &outbox{config: config, key: key, instance: randomID(rng, "ins"), ready: make(chan struct{}, 1), rng: rng}, nil
}

// webhookEvent is an event in Clerk's form.
type webhookEvent struct {
	Data       json.RawMessage `json:"data"`
	InstanceID string          `json:"instance_id"`
	Object     string          `json:"object"`
	Timestamp  int64           `json:"timestamp"` // Unix ms
	Type       string          `json:"type"`
}

// announce queues an event about the user encoded in text.
func (o *outbox) announce(kind, id string, text []byte) {
	if o.config.URL == "" {
		return
	}
	now := time.Now()
	gone := fmt.Appendf(nil, `{"deleted":true,"id":%q,"object":"user"}`, id)
	if text == nil {
		text = gone
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.Events++
	if o.rng.Float64() < o.config.Drop {
		o.stats.Dropped++
		return
	}
	d := delivery{due: now.Add(o.config.Delay + o.stray()), id: randomID(o.rng, "msg"), body: o.body(kind, text, now)}
	if o.rng.Float64() < o.config.Forge {
		forged := d
		forged.manner, forged.body = forgery, o.body("user.deleted", gone, now)
		o.push(forged)
	}
	o.push(d)
}

func (o *outbox) body(kind string, text []byte, when time.Time) []byte {
	body, err := json.Marshal(webhookEvent{text, o.instance, "event", when.UnixMilli(), kind})
	if err != nil {
		panic(err) // the user was encoded before
	}
	return body
}

// stray returns a random time up to Reorder. o.mu must be held.
func (o *outbox) stray() time.Duration {
	if o.config.Reorder == 0 {
		return 0
	}
	return time.Duration(o.rng.Int64N(int64(o.config.Reorder)))
}

// push queues a delivery. o.mu must be held.
func (o *outbox) push(d delivery) {
	d.seq = o.pushed
	o.pushed++
	heap.Push(&o.queue, d)
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// next removes and returns the first delivery if it is due. Otherwise it returns when it
// will be due, or the zero time if there is none.
func (o *outbox) next(now time.Time) (d delivery, due time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return d, due, false
	}
	if due = o.queue[0].due; due.After(now) {
		return d, due, false
	}
	o.leaving++
	return heap.Pop(&o.queue).(delivery), due, true
}

// snapshot returns the current counts.
func (o *outbox) snapshot() WebhookStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	stats := o.stats
	stats.Waiting = len(o.queue) + o.leaving
	return stats
}

// zero zeroes the counts. Queued deliveries are still sent.
func (o *outbox) zero() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats = WebhookStats{}
}

// delivery is one sending of an event.
type delivery struct {
	due     time.Time
	seq     int // order of queueing
	id      string
	body    []byte
	refused int // number of refusals
	manner  manner
}

// manner is the reason for a delivery.
type manner int

const (
	genuine manner = iota
	repetition
	forgery
)

// deliveries is a heap with the next due delivery first.
type deliveries []delivery

func (q deliveries) Len() int      { return len(q) }
func (q deliveries) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q deliveries) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].seq < q[j].seq
}
func (q *deliveries) Push(d any) { *q = append(*q, d.(delivery)) }
func (q *deliveries) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = delivery{} // releases the body
	*q = (*q)[:last]
	return d
}
