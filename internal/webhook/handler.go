// Package webhook receives the events about users that Clerk posts. It verifies that they
// are signed by Clerk and recent, and applies them to a cache, which thus follows changes
// without asking Clerk.
//
// Events are described at https://clerk.com/docs/guides/development/webhooks/overview,
// signatures and retries at
// https://docs.svix.com/receiving/verifying-payloads/how-manual.
//
// Read handler.go first: a request passes bodies.go (limits), signature.go (is it
// Clerk's?) and event.go (what happened?), and ends in the sink.
package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// Path is the path of events; a slash may follow.
const Path = "/webhooks/clerk"

const (
	maxBody       = 256 << 10        // bytes; Clerk's events are below 100 KB
	maxBodies     = 64               // bodies being read
	bodyTimeout   = 5 * time.Second  // for the whole body
	placeTimeout  = 4 * time.Second  // until a body that waits to be read is refused
	slowAfter     = time.Second / 2  // until a body gives its place to another
	handleTimeout = 10 * time.Second // for the whole request; Clerk waits 15 s
	answerTimeout = 5 * time.Second  // for the answer after that
	logInterval   = 10 * time.Second // between two log lines about the same problem
)

// sink applies events. After an error the event will be sent again; it may have been
// applied in part. Applying an event twice does no harm.
type sink interface {
	// Updated stores a copy; when is the time of the event.
	Updated(ctx context.Context, u *clerkgatev1.User, when time.Time) error
	// Deleted stores a tombstone.
	Deleted(ctx context.Context, id string, when time.Time) error
	// Invalidate drops ids from every cache.
	Invalidate(ctx context.Context, ids []string) error
	// Seen reports whether an event has been recorded as applied.
	Seen(ctx context.Context, eventID string) (bool, error)
	// Record records an event as applied.
	Record(ctx context.Context, eventID string) error
}

// Config configures a Handler.
type Config struct {
	// Secret returns the signing secret in the form of CheckSecret. It is called for each
	// event. While it returns no valid secret, every event is refused. Default: none.
	Secret func() string
	// Sink applies the events, concurrently. Required.
	Sink sink
	// Logger logs refused and failed events. It never gets a secret, nor anything of an
	// event but its id. Default: discards.
	Logger *slog.Logger
}

// Handler receives Clerk's events as POST requests at Path. It answers within 10 s of the
// request's header, if the sink returns when its context ends.
//
// A refused or failed event is answered with a status that makes Clerk send it again: 400
// if it is malformed, or signed more than five minutes ago or ahead; 401 if its signature
// is wrong; 408 or 413 if its body is slow or larger than 256 KiB; 500 without a secret;
// 503 if the sink failed, or if too many arrived at once. All others are answered 204:
// applied ones, duplicates, and those that are not about a user.
type Handler struct {
	secret func() string
	sink   sink
	logger *slog.Logger
	bodies *bodies

	// Anybody who can reach the listener can cause these lines.
	refusals, failures, strays, visits rate.Sometimes

	stats stats
}

// New returns a Handler. It starts nothing.
func New(cfg Config) *Handler {
	if cfg.Secret == nil {
		cfg.Secret = func() string { return "" }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{
		secret:   cfg.Secret,
		sink:     cfg.Sink,
		logger:   cfg.Logger,
		bodies:   &bodies{limit: maxBodies},
		refusals: rate.Sometimes{Interval: logInterval},
		failures: rate.Sometimes{Interval: logInterval},
		strays:   rate.Sometimes{Interval: logInterval},
		visits:   rate.Sometimes{Interval: logInterval},
	}
}

// Stats returns the number of events so far. Combinations that have not occurred are
// missing.
func (h *Handler) Stats() map[Count]int64 { return h.stats.copy() }

// LastEvent returns when the last event that Clerk had signed, and that did not fail, came;
// the zero time if none has.
func (h *Handler) LastEvent() time.Time { return h.stats.lastEvent() }

// ServeHTTP receives one event.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Also limits what net/http reads of an unread body. It ends with the body. A
	// connection without deadlines is the caller's choice.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	_ = control.SetWriteDeadline(time.Now().Add(handleTimeout + answerTimeout))
	switch {
	case r.URL.Path != Path && r.URL.Path != Path+"/":
		h.misdirected(r)
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		h.misdirected(r)
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "send events by POST", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
	defer cancel()
	kind := otherKind
	d, a := h.receive(ctx, w, r)
	if a == nil {
		e, ok := parse(d.body)
		if ok {
			kind, a = e.kind, h.apply(ctx, d, e)
		} else {
			a = &answer{Malformed, http.StatusBadRequest, "not an event"}
		}
	}
	h.stats.add(kind, a.outcome)
	switch a.outcome {
	case Forged, Stale, Malformed:
		h.refusals.Do(func() {
			h.logger.Warn("a webhook was refused", "outcome", a.outcome, "reason", a.text, "svix_id", d.id)
		})
	}
	if a.text != "" {
		http.Error(w, a.text, a.status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// misdirected counts and logs a request that is not for an event. A POST may be an event
// sent to the wrong path, which is then lost.
func (h *Handler) misdirected(r *http.Request) {
	h.stats.add(otherKind, Misdirected)
	level, lines := slog.LevelInfo, &h.visits
	if r.Method == http.MethodPost {
		level, lines = slog.LevelWarn, &h.strays
	}
	lines.Do(func() {
		h.logger.Log(r.Context(), level, "a request to the webhook listener is not a webhook", "outcome", Misdirected, "method", clip(r.Method), "path", clip(r.URL.Path), "want", "POST "+Path)
	})
}

// clip truncates text that is too long for a log line.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(clerkapi.Redact(text), "?")
}

// answer is the answer to an event.
type answer struct {
	outcome Outcome
	status  int
	text    string // empty: success, and status is not used
}

// receive reads a delivery and verifies that it is signed, recent and new. A non-nil
// answer refuses it.
func (h *Handler) receive(ctx context.Context, w http.ResponseWriter, r *http.Request) (delivery, *answer) {
	verifiers, err := parseSecret(h.secret())
	if err != nil {
		h.failures.Do(func() { h.logger.Error("the webhook signing secret can't be used: webhooks are refused", "error", err) })
		return delivery{}, &answer{Failed, http.StatusInternalServerError, "no usable signing secret"}
	}
	d, ok := parseHeader(r.Header)
	if !ok {
		return delivery{}, &answer{Malformed, http.StatusBadRequest, "want one each of svix-id, svix-timestamp and svix-signature, or of webhook-id, webhook-timestamp and webhook-signature"}
	}
	var a *answer
	if d.body, a = h.readBody(ctx, w, r); a != nil {
		return d, a
	}
	switch {
	case !verify(verifiers, d):
		return d, &answer{Forged, http.StatusUnauthorized, "the signature is wrong"}
	case !d.fresh(time.Now()):
		return d, &answer{Stale, http.StatusBadRequest, "signed more than five minutes ago or ahead"}
	}
	return d, nil
}

// readBody reads the body of a delivery once there is a place for it.
func (h *Handler) readBody(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, *answer) {
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	control := http.NewResponseController(w)
	leave, ok := h.bodies.enter(ctx, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	if !ok {
		h.failures.Do(func() { h.logger.Warn("too many webhooks came at once: some are refused", "limit", maxBodies) })
		return nil, &answer{Failed, http.StatusServiceUnavailable, "too many at once: send it again"}
	}
	defer leave()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &answer{Malformed, http.StatusRequestEntityTooLarge, "the body is larger than 256 KiB"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &answer{Malformed, http.StatusRequestTimeout, "the body is slow"}
	case err != nil:
		return nil, &answer{Malformed, http.StatusBadRequest, "the body is cut off"}
	}
	return body, nil
}

// apply passes an event to the sink, unless it is a duplicate or not about a user.
func (h *Handler) apply(ctx context.Context, d delivery, e *event) *answer {
	id := e.userID()
	if e.kind == otherKind || id == "" {
		return &answer{outcome: Ignored}
	}
	outcome, err := h.applyOnce(ctx, d, e, id)
	if err != nil {
		h.failures.Do(func() {
			h.logger.Warn("a webhook was not applied: Clerk will send it again",
				"type", e.kind, "svix_id", d.id, "error", clerkapi.Redact(err.Error()))
		})
		return &answer{Failed, http.StatusServiceUnavailable, "not applied: send it again"}
	}
	return &answer{outcome: outcome}
}

func (h *Handler) applyOnce(ctx context.Context, d delivery, e *event, id string) (Outcome, error) {
	seen, seenErr := h.sink.Seen(ctx, d.id)
	if seenErr == nil && seen {
		return Duplicate, nil
	}
	// If Redis can't be asked, the sink can still apply it in this replica.
	outcome, err := h.change(ctx, d, e, id)
	if err := errors.Join(seenErr, err); err != nil {
		return Failed, err
	}
	return outcome, h.sink.Record(ctx, d.id) // last, so that a partial failure is repeated
}

// change applies an event about the user with the given id.
func (h *Handler) change(ctx context.Context, d delivery, e *event, id string) (Outcome, error) {
	now := time.Now()
	at := e.happened(d.sent, now)
	if e.kind == userDeleted {
		return Applied, h.sink.Deleted(ctx, id, at)
	}
	if u := e.user(); u != nil && now.Sub(at) <= maxAge {
		return Applied, h.sink.Updated(ctx, u, at)
	}
	return Invalidated, h.sink.Invalidate(ctx, []string{id})
}
