package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/clerkgate/clerkgate/internal/quota"
)

// ErrLeaseUnreachable means that a release can't be forwarded to the replica that has
// granted the lease. The lease ends at its time.
var ErrLeaseUnreachable = errors.New("the lease's replica can't be reached")

// forwardTimeout is how long another replica may take to answer with the result of a
// release. If Redis does not allow publishing, that may take two of its reports.
const forwardTimeout = 2 * time.Second

// maxHandled is how many releases from other replicas are remembered, in case they arrive
// twice.
const maxHandled = 1000

var tagPattern = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// releaseResults are the results of a release, by their names in messages.
var releaseResults = map[string]error{"ok": nil, "no_lease": ErrNoLease, "use": ErrLeaseUse, "unanswered": ErrUnanswered}

// resultOf returns the name of a result.
func resultOf(err error) string {
	for name, is := range releaseResults {
		if is != nil && errors.Is(err, is) {
			return name
		}
	}
	return "ok"
}

// forwards holds the releases that this replica and others forward to each other.
type forwards struct {
	waiting map[string]chan<- error // by token: receives the result
	handled map[string]string       // by token: the result of a release from another replica
	tokens  []string                // the keys of handled, the oldest first
}

// Release ends a lease. Permits that were not used are free at once, and those of requests
// without an answer are held as for the gate's own requests. A reported 429 causes one
// probe, and nothing else. Release fails with ErrNoLease, ErrLeaseUse or ErrUnanswered. A
// lease of another replica is released there; if that is impossible, Release fails with
// ErrLeaseUnreachable.
func (g *Gate) Release(ctx context.Context, id string, use LeaseUse) error {
	if tag := g.elsewhere(id); tag != "" {
		return g.forward(ctx, tag, id, use)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.release(id, use, time.Now())
}

// elsewhere returns the tag of the replica that has granted the lease with an id, empty if
// that is this replica or the id names none.
func (g *Gate) elsewhere(id string) string {
	tag, _, ok := strings.Cut(id, ".")
	if g.shared == nil || !ok || tag == g.shared.Tag() || !tagPattern.MatchString(tag) {
		return ""
	}
	return tag
}

// forward forwards a release to another replica, and returns its result.
func (g *Gate) forward(ctx context.Context, tag, id string, use LeaseUse) error {
	token, done := rand.Text(), make(chan error, 1)
	g.mu.Lock()
	posted := g.shared.Post(quota.Message{
		Token: token, To: tag, Lease: id, Used: use.Used, Unanswered: use.Unanswered, Limited: use.RateLimited,
	})
	if posted {
		g.forwarded.waiting[token] = done
	}
	g.mu.Unlock()
	if !posted {
		return ErrLeaseUnreachable
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.forwarded.waiting, token)
	}()
	g.exchangeSoon()
	timer := time.NewTimer(forwardTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return ErrLeaseUnreachable
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readMail handles the messages of other replicas about releases, and this replica's own
// messages that could not be delivered.
func (g *Gate) readMail(reply quota.Reply, now time.Time) {
	h := &g.forwarded
	settle := func(token string, err error) {
		if done := h.waiting[token]; done != nil {
			done <- err
			delete(h.waiting, token)
		}
	}
	for token := range strings.FieldsSeq(reply.Bounced) {
		settle(token, ErrLeaseUnreachable)
	}
	for token := range strings.FieldsSeq(reply.Unknown) {
		settle(token, ErrNoLease)
	}
	for _, m := range reply.Mail {
		if m.Result != "" {
			settle(m.Token, releaseResults[m.Result])
			continue
		}
		result, again := h.handled[m.Token]
		if !again {
			result = resultOf(g.release(m.Lease, LeaseUse{Used: m.Used, Unanswered: m.Unanswered, RateLimited: m.Limited}, now))
			if len(h.tokens) >= maxHandled {
				delete(h.handled, h.tokens[0])
				h.tokens = h.tokens[1:]
			}
			h.tokens = append(h.tokens, m.Token)
			h.handled[m.Token] = result
		}
		g.shared.Post(quota.Message{Token: m.Token, To: m.From, Lease: m.Lease, Result: result})
	}
}
