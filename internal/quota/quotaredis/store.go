// Package quotaredis keeps the state of a quota that replicas share in Redis, or in
// another server that speaks its protocol and runs Lua. A script does the arithmetic of
// package quota there, by Redis's clock, for one replica at a time.
package quotaredis

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/redislink"
)

//go:embed exchange/*.lua
var exchangeParts embed.FS

var exchangeScript = redislink.NewScript(exchangeText())

// exchangeText joins the parts of the script, whose variables are common to all.
func exchangeText() string {
	var text strings.Builder
	names, _ := fs.Glob(exchangeParts, "exchange/*.lua") // its only error is one of the pattern
	for _, name := range names {
		part, _ := exchangeParts.ReadFile(name) // it is there
		text.Write(part)
	}
	return text.String()
}

// maxFailures is how many exchanges in a row may fail before the store connects again.
const maxFailures = 10

// How long a lost subscription waits for the next try: the shortest time at first, twice
// as long after each subscription that ended sooner than the longest time.
const (
	leastListenAgain   = 200 * time.Millisecond
	longestListenAgain = 10 * time.Second
)

// errBusy means that the last exchange was given up but has not ended.
var errBusy = errors.New("redis has not answered yet")

// Store exchanges reports for replies. Its methods are safe for concurrent use, but
// there is one exchange at a time.
type Store struct {
	options rueidis.ClientOption
	key     string

	slot   chan struct{} // holds one value while an exchange runs
	news   chan struct{} // has room for one
	ctx    context.Context
	cancel context.CancelFunc
	runs   sync.WaitGroup

	// Owned by the goroutine that has the slot.
	client   rueidis.Client // nil: not connected
	hangUp   context.CancelFunc
	failures int

	errors *redislink.Errors              // counts what goes wrong
	id     atomic.Value                   // of the replica: a string
	link   atomic.Pointer[rueidis.Client] // the client, for who has not the slot; nil: not connected
	time   string                         // replaces Redis's time, for tests
}

// New returns a Store for the state of a Clerk instance. It connects with the first
// exchange. It must be closed. Its errors are about the URL.
func New(redisURL, instance string, access redislink.Access) (*Store, error) {
	options, err := redislink.Options(redisURL, access)
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: options,
		// The state is one key, in one slot of a cluster. The instance is escaped, so
		// that it can't reach the keys of another.
		key:  "clerkgate:" + url.QueryEscape(instance) + ":quota1",
		slot: make(chan struct{}, 1),
		news: make(chan struct{}, 1),

		errors: &redislink.Errors{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// CountErrors makes the store count the errors of Redis in e. It must be called before
// the first exchange.
func (s *Store) CountErrors(e *redislink.Errors) { s.errors = e }

// News returns a channel that receives when an exchange is worth while before it is due.
func (s *Store) News() <-chan struct{} { return s.news }

// Exchange sends a report and returns the reply. It returns when ctx ends at the latest;
// the report may still arrive then.
func (s *Store) Exchange(ctx context.Context, r quota.Report) (quota.Reply, error) {
	type outcome struct {
		reply quota.Reply
		err   error
	}
	select {
	case s.slot <- struct{}{}:
	default:
		return quota.Reply{}, errBusy
	}
	if s.ctx.Err() != nil {
		<-s.slot
		return quota.Reply{}, s.ctx.Err()
	}
	// While it connects, rueidis does not heed a context.
	outcomes := make(chan outcome, 1)
	s.runs.Go(func() {
		var o outcome
		o.reply, o.err = s.exchange(ctx, r)
		<-s.slot
		outcomes <- o
	})
	select {
	case o := <-outcomes:
		return o.reply, o.err
	case <-ctx.Done():
		return quota.Reply{}, fmt.Errorf("redis: %w", ctx.Err())
	}
}

// exchange connects if necessary, and runs the script.
func (s *Store) exchange(ctx context.Context, r quota.Report) (reply quota.Reply, err error) {
	if s.client == nil {
		connected, hangUp := context.WithCancel(s.ctx)
		client, err := redislink.Connect(connected, s.options)
		if err != nil {
			hangUp()
			s.errors.Add(err)
			return reply, fmt.Errorf("redis: %w", redislink.Plain(err))
		}
		s.client, s.hangUp, s.failures = client, hangUp, 0
		s.link.Store(&client)
		s.runs.Go(func() { s.listen(connected, client) })
	}
	s.id.Store(r.ID)
	text, err := json.Marshal(r)
	if err != nil {
		return reply, err
	}
	result := exchangeScript.Run(ctx, s.client, redislink.ScriptCall{
		Key: s.key, Args: []string{string(text), rand.Text(), s.time},
	})[0]
	answer, err := result.AsBytes()
	if err != nil {
		s.errors.Add(err)
		if s.failures++; s.failures == maxFailures {
			s.disconnect()
		}
		return reply, fmt.Errorf("redis: %w", redislink.Plain(err))
	}
	s.failures = 0
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("redis: the quota's state: %w", err)
	}
	return reply, nil
}

// listen receives what is published, until ctx ends. Without it, replicas learn of a 429
// only later.
func (s *Store) listen(ctx context.Context, c rueidis.Client) {
	keepListening(ctx, func() {
		_ = c.Receive(ctx, c.B().Subscribe().Channel(s.key).Build(), func(m rueidis.PubSubMessage) {
			if to, ok := strings.CutPrefix(m.Message, "to "); ok && to != s.id.Load() {
				return // it is for another replica
			}
			select {
			case s.news <- struct{}{}:
			default:
			}
		})
	})
}

// keepListening calls receive again and again, until ctx ends.
func keepListening(ctx context.Context, receive func()) {
	wait := leastListenAgain
	for ctx.Err() == nil {
		began := time.Now()
		receive()
		if time.Since(began) > longestListenAgain {
			wait = leastListenAgain
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longestListenAgain)
	}
}

func (s *Store) disconnect() {
	s.link.Store(nil)
	s.hangUp() // first, so that closing waits for nothing
	s.client.Close()
	s.client = nil
}

// Close closes the connection, and waits for calls that are under way.
func (s *Store) Close() {
	s.cancel()
	s.slot <- struct{}{}
	if s.client != nil {
		s.disconnect()
	}
	<-s.slot
	s.runs.Wait()
}
