// Package webhook receives what Clerk tells about users: events that it posts,
// signed, to an address of ours. It checks that they are Clerk's and brings
// them to a cache, which thereby follows changes without asking Clerk.
//
// Clerk's events: https://clerk.com/docs/guides/development/webhooks/overview.
// How they are signed and sent again: https://docs.svix.com/receiving/verifying-payloads/how-manual
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

// Path is where events are posted, also with a slash behind it.
const Path = "/webhooks/clerk"

const (
	maxBody       = 256 << 10        // bytes; Clerk's are below 100 KB
	maxBodies     = 64               // bodies that are read at once
	bodyTimeout   = 5 * time.Second  // for the whole body to come
	placeTimeout  = 4 * time.Second  // for one of those places to become free
	slowAfter     = time.Second / 2  // until a body gives its place to another
	handleTimeout = 10 * time.Second // for all; Clerk waits 15 s
	logInterval   = 10 * time.Second // between two lines about the same trouble
)

// sink is what events are brought to. An error means that the event must come
// again; it may have been carried out in part. Carrying one out twice does no harm.
type sink interface {
	// Updated puts a copy in place; at is when the event happened.
	Updated(ctx context.Context, u *clerkgatev1.User, at time.Time) error
	// Deleted makes a tombstone.
	Deleted(ctx context.Context, id string, at time.Time) error
	// Invalidate drops ids from every cache.
	Invalidate(ctx context.Context, ids []string) error
	// Seen reports whether an event has been recorded as applied.
	Seen(ctx context.Context, eventID string) (bool, error)
	// Record records an event as applied.
	Record(ctx context.Context, eventID string) error
}

// Config says whose events are taken and where they go.
type Config struct {
	// Secret gives the signing secret, as CheckSecret wants it; it is asked for
	// each event. While it gives none that can be used, every event is refused.
	// Default: none.
	Secret func() string
	// Sink is brought the events, several at once. Required.
	Sink sink
	// Logger is told of refused and failed events. It never gets a secret or
	// anything of an event but its id. Default: discards.
	Logger *slog.Logger
}

// Handler receives Clerk's events by POST at Path. It answers within 10 s of a
// request's header, if the sink ends with its context.
//
// An event that is refused or fails is answered by a status that makes Clerk
// send it again: 400 if it is malformed, or signed more than five minutes ago
// or ahead; 401 if its signature is wrong; 408 or 413 if its body is slow or
// larger than 256 KiB; 500 without a secret; 503 if the sink failed, or if too many
// came at once. All others are answered 204: those that were applied, that came
// before, and that say nothing about a user.
type Handler struct {
	secret func() string
	sink   sink
	logger *slog.Logger
	bodies *bodies

	// Whoever can reach the listener can cause these lines.
	refusals, failures, strays, visits rate.Sometimes

	stats stats
}

// New makes a handler. It starts nothing.
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

// Stats says what became of the events so far. It holds only what has happened.
func (h *Handler) Stats() map[Count]int64 { return h.stats.copy() }

// ServeHTTP receives one event.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Bounds also what net/http reads of a body that nobody wants. It ends with
	// the body. A connection without deadlines is the caller's choice.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	switch {
	case r.URL.Path != Path && r.URL.Path != Path+"/":
		h.misdirected(r)
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		h.misdirected(r)
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are posted", http.StatusMethodNotAllowed)
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

// misdirected counts and logs a request that is for no event. A POST may be an event
// that is sent to the wrong path, and then is lost.
func (h *Handler) misdirected(r *http.Request) {
	h.stats.add(otherKind, Misdirected)
	level, lines := slog.LevelInfo, &h.visits
	if r.Method == http.MethodPost {
		level, lines = slog.LevelWarn, &h.strays
	}
	lines.Do(func() {
		h.logger.Log(r.Context(), level, "a request that is for no webhook", "outcome", Misdirected, "method", clip(r.Method), "path", clip(r.URL.Path), "want", "POST "+Path)
	})
}

// clip cuts off what is too long for a line of the log.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(clerkapi.Redact(text), "?")
}

// answer is what becomes of an event.
type answer struct {
	outcome Outcome
	status  int
	text    string // empty: all is well, and status does not count
}

// receive reads a delivery and checks that it is Clerk's and new. A non-nil
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

// readBody reads a delivery's body when there is a place for it.
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

// apply brings an event to the sink, unless it came before or says nothing
// about a user.
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
	// Where that can't be asked, the sink can still do its part for this replica.
	outcome, err := h.change(ctx, d, e, id)
	if err := errors.Join(seenErr, err); err != nil {
		return Failed, err
	}
	return outcome, h.sink.Record(ctx, d.id) // last, so that what failed half-way is done again
}

// change makes the change that an event about the user id tells of.
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
