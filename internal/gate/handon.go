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

// ErrLeaseUnreachable means that the replica that granted the lease can't be told of
// its release. The lease ends at its time.
var ErrLeaseUnreachable = errors.New("the lease's replica can't be reached")

// handOnTimeout is how long another replica may take to say what came of a release.
// Where Redis allows no publishing, two of its reports may pass.
const handOnTimeout = 2 * time.Second

// maxHandled is how many releases of other replicas' callers are remembered, in case
// they are told twice.
const maxHandled = 1000

var tagPattern = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// The results of a release, as messages tell them.
var releaseResults = map[string]error{"ok": nil, "no_lease": ErrNoLease, "use": ErrLeaseUse, "unanswered": ErrUnanswered}

func resultOf(err error) string {
	for name, is := range releaseResults {
		if is != nil && errors.Is(err, is) {
			return name
		}
	}
	return "ok"
}

// handedOn is what this replica and others tell each other of releases.
type handedOn struct {
	waiting map[string]chan<- error // by token: who waits for a result
	handled map[string]string       // by token: the result of what others have handed on
	tokens  []string                // of handled, the oldest first
}

// elsewhere returns the tag of the replica that has lent the lease of an id, empty if
// it is this one or none.
func (g *Gate) elsewhere(id string) string {
	tag, _, ok := strings.Cut(id, ".")
	if g.shared == nil || !ok || tag == g.shared.Tag() || !tagPattern.MatchString(tag) {
		return ""
	}
	return tag
}

// handOn has another replica release its lease, and returns what came of it.
func (g *Gate) handOn(ctx context.Context, tag, id string, use LeaseUse) error {
	token, done := rand.Text(), make(chan error, 1)
	g.mu.Lock()
	posted := g.shared.Post(quota.Message{
		Token: token, To: tag, Lease: id, Used: use.Used, Unanswered: use.Unanswered, Limited: use.RateLimited,
	})
	if posted {
		g.handedOn.waiting[token] = done
	}
	g.mu.Unlock()
	if !posted {
		return ErrLeaseUnreachable
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.handedOn.waiting, token)
	}()
	g.exchangeSoon()
	timer := time.NewTimer(handOnTimeout)
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

// readMail takes in what other replicas tell of releases, and which messages could not
// be told to others.
func (g *Gate) readMail(reply quota.Reply, now time.Time) {
	h := &g.handedOn
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
