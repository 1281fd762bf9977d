package caller

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// discoverTimeout is the time limit for discovering an issuer's keys, and of each
	// request to it.
	discoverTimeout = 5 * time.Second
	// retryDiscovery is the minimum interval between two attempts, and between two
	// requests for an issuer's keys, so that tokens with invented key ids can't cause
	// more.
	retryDiscovery = 2 * time.Second
	// maxKnown is the maximum number of remembered tokens of one issuer, and knownFor is
	// how long one is remembered at most.
	maxKnown = 4096
	knownFor = time.Minute
)

// algorithms are the accepted signatures: none with a shared secret.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// issuerConfig is an issuer in the file.
type issuerConfig struct {
	url, audience     string
	caFile, tokenFile string
}

// issuer verifies the JSON Web Tokens of one issuer. It is safe for concurrent use.
type issuer struct {
	config issuerConfig
	client *http.Client
	claims []callerClaims // not guarded: belongs to one Set

	state *issuerState // shared by Sets whose issuers have the same config
}

// issuerState is the state of an issuer.
type issuerState struct {
	mu        sync.Mutex
	verifier  *oidc.IDTokenVerifier               // nil before discovery; guarded by mu
	asking    chan struct{}                       // closed when the current attempt ends; guarded by mu
	failed    error                               // error of the last attempt; guarded by mu
	nextTry   time.Time                           // guarded by mu
	lastFetch time.Time                           // last request for the keys; guarded by mu
	known     map[[sha256.Size]byte]verifiedToken // guarded by mu
}

// verifiedToken holds the claims of a verified token.
type verifiedToken struct {
	claims map[string]any
	until  time.Time
}

// newIssuer returns an issuer. It uses the state of old, if not nil.
func newIssuer(c issuerConfig, old *issuer) (*issuer, error) {
	i := &issuer{config: c}
	if old != nil && old.config == c {
		i.client, i.state = old.client, old.state
		return i, nil
	}
	i.state = &issuerState{known: make(map[[sha256.Size]byte]verifiedToken)}
	transport := &issuerTransport{config: c, state: i.state}
	if err := transport.readCA(); err != nil {
		return nil, err
	}
	i.client = &http.Client{Timeout: discoverTimeout, Transport: transport, CheckRedirect: refuseRedirect}
	return i, nil
}

// byJWT returns the caller of a JSON Web Token.
func (s *Set) byJWT(ctx context.Context, text string, now time.Time) (*Caller, error) {
	url, err := issuerOf(text)
	if err != nil {
		return nil, &Error{Malformed, err}
	}
	from := s.issuers[url]
	if from == nil {
		return nil, &Error{BadJWT, errors.New("of an issuer that the callers file does not have")}
	}
	claims, err := from.verify(ctx, text, now)
	if err != nil {
		return nil, err
	}
	var found *Caller
	for _, c := range from.claims {
		if !c.matches(claims) {
			continue
		}
		if found != nil && found != c.who {
			return nil, &Error{Reason: TwoIdentities}
		}
		found = c.who
	}
	if found == nil {
		return nil, &Error{Reason: UnknownIdentity}
	}
	return found, nil
}

// issuerOf returns the issuer in a token that is not verified yet.
func issuerOf(text string) (string, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "", errors.New("neither a token that begins with cgt_ nor a JSON Web Token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("a JSON Web Token whose payload is not base64url")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Issuer == "" {
		return "", errors.New("a JSON Web Token without an issuer")
	}
	return claims.Issuer, nil
}

// verify returns the claims of a token that is valid at now. The error is an *Error.
func (i *issuer) verify(ctx context.Context, text string, now time.Time) (map[string]any, error) {
	hash := sha256.Sum256([]byte(text))
	i.state.mu.Lock()
	k, ok := i.state.known[hash]
	i.state.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.claims, nil
	}
	verifier, err := i.discovered(ctx, now)
	if err != nil {
		return nil, &Error{IssuerAway, err}
	}
	token, err := verifier.Verify(ctx, text)
	if tooOften(err) {
		// The keys may have been stored just after the verifier looked for one.
		token, err = verifier.Verify(ctx, text)
	}
	switch {
	case tooOften(err):
		return nil, &Error{BadJWT, errTooOften} // the keys were fetched a moment ago and none fits
	case err != nil && strings.Contains(err.Error(), "fetching keys"):
		return nil, &Error{IssuerAway, errors.New("its keys can't be had")}
	case err != nil:
		var expired *oidc.TokenExpiredError
		if errors.As(err, &expired) {
			return nil, &Error{Reason: ExpiredToken}
		}
		return nil, &Error{Reason: BadJWT} // the error may show parts of the token
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return nil, &Error{Reason: BadJWT}
	}
	until := now.Add(knownFor)
	if token.Expiry.Before(until) {
		until = token.Expiry
	}
	i.state.remember(hash, verifiedToken{claims, until}, now)
	return claims, nil
}

// remember stores a verified token. If there is no room, it replaces an expired one, or
// any.
func (s *issuerState) remember(hash [sha256.Size]byte, k verifiedToken, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		tries := 0
		for other, o := range s.known { // random order
			if tries++; now.After(o.until) || tries == 16 {
				delete(s.known, other)
				break
			}
		}
	}
	s.known[hash] = k
}

// discovered returns the verifier after discovery. Until that succeeds, tokens trigger
// further attempts, at most one per retryDiscovery.
func (i *issuer) discovered(ctx context.Context, now time.Time) (*oidc.IDTokenVerifier, error) {
	s := i.state
	s.mu.Lock()
	if s.verifier != nil {
		defer s.mu.Unlock()
		return s.verifier, nil
	}
	if s.asking == nil {
		if now.Before(s.nextTry) {
			defer s.mu.Unlock()
			return nil, s.failed
		}
		s.asking = make(chan struct{})
		go i.discover(s.asking) //nolint:gosec // G118: it asks for all callers, and ends within discoverTimeout
	}
	asking := s.asking
	s.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verifier, s.failed
}

func (i *issuer) discover(done chan struct{}) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.Background(), i.client), discoverTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, i.config.url)
	s := i.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = fmt.Errorf("the issuer %s can't be asked for its keys: %w", i.config.url, causeOf(err))
		s.nextTry = time.Now().Add(retryDiscovery)
	} else {
		s.failed = nil
		s.verifier = provider.VerifierContext(oidc.ClientContext(context.Background(), i.client),
			&oidc.Config{ClientID: i.config.audience, SupportedSigningAlgs: algorithms})
	}
	s.asking = nil
	close(done)
}
