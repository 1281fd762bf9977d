package clerkapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// apiVersion is the version of Clerk's API that this package implements.
const apiVersion = "2026-05-12"

// Defaults of a Config.
const (
	DefaultBaseURL = "https://api.clerk.com"
	DefaultTimeout = 10 * time.Second
)

// Config configures a Client. Only Key is required.
type Config struct {
	BaseURL      string         // without /v1; default "https://api.clerk.com"
	Key          func() string  // returns the secret key; called for every request, concurrently
	RootCAs      *x509.CertPool // trusted authorities; default: the system's
	Timeout      time.Duration  // time limit of one request with its whole answer; default 10 s
	MaxBodyBytes int64          // largest body of an answer, decompressed; default 32 MiB
	MaxReadBytes int64          // total of all answers being read; default 128 MiB, at least 4 times MaxBodyBytes
	Version      string         // of this program, for User-Agent; default "dev"
	Tracer       trace.Tracer   // creates a span for each request; default: no spans

	// Unread is called with the name of a field, such as
	// "phone_numbers.verification.attempts", for each value that can't be decoded. It
	// must be safe for concurrent use. Names are those of the contract, so their number
	// is bounded. Default: no call.
	Unread func(field string)
	// Proxy returns the proxy for a request to Clerk, nil for none. Default: from the
	// environment variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY (or their lower-case
	// forms) at the time of New.
	Proxy func(*url.URL) (*url.URL, error)
	// DialContext opens the connections below TLS and HTTP. Default: TCP that detects a
	// dead peer within 5 s (on Linux; elsewhere only while idle).
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client reads users from Clerk's Backend API. Each call is one HTTP request, which is
// never sent twice and follows no redirect. A Client is safe for concurrent use. Its
// methods return a *ParamError if an argument is invalid, and nothing was sent; otherwise
// an *Error.
type Client struct {
	base      string
	key       func() string
	timeout   time.Duration
	maxBody   int64
	intake    *intake
	unread    func(field string)
	userAgent string
	transport *http.Transport
	tracer    trace.Tracer         // nil: no spans
	spanAttrs []attribute.KeyValue // attributes of all spans
}

// New returns a Client. It does not connect.
func New(cfg Config) (*Client, error) {
	if cfg.Key == nil {
		return nil, errors.New("clerkapi: Config.Key is missing")
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout < 0 || cfg.MaxBodyBytes < 0 || cfg.MaxReadBytes < 0 {
		return nil, errors.New("clerkapi: Config.Timeout, Config.MaxBodyBytes and Config.MaxReadBytes must not be negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = 32 << 20
	}
	if cfg.MaxReadBytes == 0 {
		cfg.MaxReadBytes = 128 << 20
	}
	if cfg.Unread == nil {
		cfg.Unread = func(string) {}
	}
	proxy, err := proxyFor(base, cfg.Proxy)
	if err != nil {
		return nil, err
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	return &Client{
		base:      base + "/v1",
		key:       cfg.Key,
		timeout:   cfg.Timeout,
		maxBody:   cfg.MaxBodyBytes,
		intake:    newIntake(max(cfg.MaxReadBytes, 4*cfg.MaxBodyBytes)),
		unread:    cfg.Unread,
		userAgent: "clerkgate/" + cfg.Version,
		transport: newTransport(cfg.RootCAs, proxy, cfg.DialContext),
		tracer:    cfg.Tracer,
		spanAttrs: spanAttrs(base),
	}, nil
}

// parseBase checks a base URL and removes trailing slashes. Its errors do not show the
// text, which may contain a password.
func parseBase(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return "", errors.New("clerk's base URL must look like https://api.clerk.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("clerk's base URL must hold no user, query or fragment")
	}
	base := strings.TrimRight(u.String(), "/")
	if strings.HasSuffix(base, "/v1") {
		return "", errors.New("clerk's base URL must be given without /v1")
	}
	return base, nil
}

// CloseIdleConnections closes the connections without a request in flight.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// ListUsers reads one page of users. Users that can't be decoded are in Page.Unreadable.
// The error is ErrBadAnswer if no user on the page has a readable id, or if the page
// contradicts its arguments (see checkPage). ErrNotFound and ErrRejected may mean that
// the user StartingAfter does not exist any more.
func (c *Client) ListUsers(ctx context.Context, p ListParams) (*Page, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	a, err := c.get(ctx, "/users", p.query())
	if err != nil {
		return nil, err
	}
	defer a.done()
	page, err := decodePage(a.body, p.Limit, c.unread)
	if err != nil {
		return nil, badAnswer(a.meta, err)
	}
	if err := checkPage(p, page.Users); err != nil {
		return nil, badAnswer(a.meta, err)
	}
	page.Meta = a.meta
	return page, nil
}

// CountUsers counts the users that match a filter. A nil filter counts all users.
func (c *Client) CountUsers(ctx context.Context, f *clerkgatev1.UserFilter) (*Count, error) {
	if err := ValidateFilter(f); err != nil {
		return nil, err
	}
	a, err := c.get(ctx, "/users/count", filterQuery(f))
	if err != nil {
		return nil, err
	}
	defer a.done()
	total, err := decodeCount(a.body)
	if err != nil {
		return nil, badAnswer(a.meta, err)
	}
	return &Count{Total: total, Meta: a.meta}, nil
}

// wholeAnswer is an answer with status 200 that was read completely.
type wholeAnswer struct {
	body []byte
	meta Meta
	done func() // must be called when body is not used any more
}

// get sends one GET request, in a span if requests are traced, and returns an answer with
// status 200.
func (c *Client) get(ctx context.Context, path string, query url.Values) (wholeAnswer, error) {
	ctx, span := c.startSpan(ctx, path)
	a, err := c.send(ctx, path, query)
	endSpan(span, a.meta, err)
	return a, err
}

// send is get without a span.
func (c *Client) send(caller context.Context, path string, query url.Values) (wholeAnswer, error) {
	key := c.key()
	if key == "" {
		return wholeAnswer{}, &Error{Kind: ErrKeyRejected, NotSent: true, Err: errors.New("there is no key")}
	}
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	a := &attempt{cancel: cancel}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, a.trace()), http.MethodGet, target, nil)
	if err != nil {
		return wholeAnswer{}, fmt.Errorf("clerkapi: %w", err)
	}
	if n := len(req.URL.RequestURI()) + requestLineRest; n > MaxRequestLine {
		return wholeAnswer{}, &Error{Kind: ErrRejected, NotSent: true, Err: fmt.Errorf("the request line has %d bytes, more than %d", n, MaxRequestLine)}
	}
	req.Header = http.Header{
		"Authorization":     {"Bearer " + key},
		"Clerk-Api-Version": {apiVersion},
		"User-Agent":        {c.userAgent},
		"Accept":            {"application/json"},
	}
	// Not through an http.Client, which would follow redirects and send the key along.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return wholeAnswer{}, c.sendError(caller, ctx, a, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// A partial body is good enough for an error.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		e := answerError(resp.StatusCode, resp.Header, body, time.Now())
		e.Meta.Answered = a.answered()
		return wholeAnswer{}, e
	}
	meta := readMeta(resp.Header)
	meta.Answered = a.answered()
	body, done, err := c.intake.read(ctx, resp.Body, c.maxBody, cancel)
	if err != nil {
		return wholeAnswer{}, c.bodyError(caller, ctx, meta, err)
	}
	return wholeAnswer{body, meta, done}, nil
}

// sendError returns the *Error of a request without an answer.
func (c *Client) sendError(caller, ctx context.Context, a *attempt, err error) *Error {
	e := &Error{Kind: ErrUnavailable, NotSent: !a.begun.Load()}
	switch {
	case caller.Err() != nil:
		e.Kind, e.Err = ErrAbandoned, caller.Err()
	case a.again.Load():
		e.Err = errors.New("the connection was closed or refused the request, which is not sent twice")
		e.Stale = a.stale()
	case ctx.Err() != nil:
		e.Err = fmt.Errorf("no answer within %v", c.timeout)
	case strings.Contains(err.Error(), headersTooLong):
		e.Kind, e.NotSent, e.Err = ErrRejected, true, errors.New(headersTooLong)
	default:
		e.Stale = a.stale()
		// Only the text: errors.Is would take a timeout of package net for a context's.
		e.Err = errors.New(Clean(err.Error(), maxMessage))
	}
	if e.Stale {
		// The other idle connections have probably ended too.
		c.transport.CloseIdleConnections()
	}
	return e
}

// bodyError returns the *Error of an answer that was cut off.
func (c *Client) bodyError(caller, ctx context.Context, meta Meta, err error) *Error {
	e := &Error{Kind: ErrBadAnswer, Status: http.StatusOK, Meta: meta}
	switch {
	case errors.Is(err, errTooLarge):
		e.Kind, e.Err = ErrTooLarge, fmt.Errorf("%w than %d bytes", errTooLarge, c.maxBody)
	case errors.Is(err, errGaveWay):
		e.Kind, e.Err = ErrTooLarge, errGaveWay
	case caller.Err() != nil:
		e.Kind, e.Err = ErrAbandoned, caller.Err()
	case ctx.Err() != nil:
		e.Kind, e.Err = ErrUnavailable, fmt.Errorf("no whole answer within %v", c.timeout)
	default:
		e.Err = fmt.Errorf("the answer broke off: %s", Clean(err.Error(), maxMessage))
	}
	return e
}

func badAnswer(meta Meta, err error) *Error {
	return &Error{Kind: ErrBadAnswer, Status: http.StatusOK, Meta: meta, Err: err}
}
