package caller

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Credentials are the credentials of a call, of all kinds.
type Credentials struct {
	// Certificate is the client's, which TLS has verified; nil if there is none.
	Certificate *x509.Certificate
	// Authorization is the value of the header of that name: "Bearer TOKEN", or "Basic"
	// with the token as the password. Empty: none.
	Authorization string
	// XFCC and L5D are the values of the headers x-forwarded-client-cert and
	// l5d-client-id, each header by itself.
	XFCC, L5D []string
	// Label is the name that the call claims, without proof.
	Label string
	// Peer is the address of the connection's other end; the zero Addr is a Unix socket.
	Peer netip.Addr
}

// Reason is why a call has no caller.
type Reason string

// The reasons.
const (
	NoCredentials   Reason = "no_credentials"     // it shows nothing
	Malformed       Reason = "malformed"          // what it shows can't be read
	UnknownToken    Reason = "unknown_token"      // no caller has this token
	ExpiredToken    Reason = "expired_token"      // its caller has it no longer
	UnknownIdentity Reason = "unknown_identity"   // the certificate, claims or header are no caller's
	BadJWT          Reason = "bad_jwt"            // it is not valid: signature, time, audience or issuer
	IssuerAway      Reason = "issuer_unreachable" // its issuer's keys can't be had
	TwoIdentities   Reason = "two_identities"     // it shows those of two callers
	NoCertificate   Reason = "no_certificate"     // there is no callers file, and it shows no certificate
)

// Reasons lists all reasons.
var Reasons = []Reason{
	NoCredentials, Malformed, UnknownToken, ExpiredToken, UnknownIdentity, BadJWT, IssuerAway, TwoIdentities, NoCertificate,
}

// ErrUnknown is in every Error.
var ErrUnknown = errors.New("the caller is not known")

// Error is the failure to identify a caller. It holds no credentials.
type Error struct {
	Reason Reason
	Err    error // what led to it, may be nil
}

// Error describes the failure.
func (e *Error) Error() string {
	text := ErrUnknown.Error() + ": " + strings.ReplaceAll(string(e.Reason), "_", " ")
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns ErrUnknown and what led to the failure.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnknown}
	}
	return []error{ErrUnknown, e.Err}
}

// Set is a callers file. It is made by Parse, is never changed, and is safe for
// concurrent use.
type Set struct {
	callers []*Caller
	tokens  map[[8]byte][]token // by the beginning of their hashes
	ids     map[string]*Caller  // by "dns:NAME" or "uri:URI"
	labels  map[string]*Caller
	issuers map[string]*issuer // by URL
	mesh    mesh
}

// Callers returns the callers in the order of the file. The list must not be changed.
func (s *Set) Callers() []*Caller { return s.callers }

// Named returns the caller of a name, nil if there is none.
func (s *Set) Named(name string) *Caller {
	for _, c := range s.callers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// HasLabels reports whether some callers are identified by the name that they claim.
func (s *Set) HasLabels() bool { return len(s.labels) > 0 }

// NeedsClientCA reports whether the file names certificates, and only a verified client
// certificate could have their names: no header of a mesh is believed.
func (s *Set) NeedsClientCA() bool {
	believed := func(p peers) bool { return p.unix || len(p.from) > 0 }
	return len(s.ids) > 0 && !believed(s.mesh.xfcc) && !believed(s.mesh.l5d)
}

// Identify returns the caller that the credentials belong to, at the time now. The
// error is an *Error. It may ask a JWT's issuer for its keys, until ctx ends.
func (s *Set) Identify(ctx context.Context, c *Credentials, now time.Time) (*Caller, error) {
	var found *Caller
	shown := false // something that is no caller's
	add := func(who *Caller) error {
		if found != nil && found != who {
			return &Error{Reason: TwoIdentities}
		}
		found = who
		return nil
	}
	if c.Certificate != nil {
		who, err := s.byCertificate(c.Certificate)
		if err != nil {
			return nil, err
		}
		if who == nil {
			shown = true
		} else if err := add(who); err != nil {
			return nil, err
		}
	}
	if names, err := s.mesh.names(c); err != nil {
		return nil, &Error{Malformed, err}
	} else if len(names) > 0 {
		who, err := s.byNames(names)
		if err == nil && who == nil {
			err = &Error{Reason: UnknownIdentity}
		}
		if err == nil {
			err = add(who)
		}
		if err != nil {
			return nil, err
		}
	}
	if c.Authorization != "" {
		who, err := s.byAuthorization(ctx, c.Authorization, now)
		if err == nil {
			err = add(who)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case found != nil:
		return found, nil
	case s.labels[c.Label] != nil && c.Label != "":
		return s.labels[c.Label], nil
	case shown || c.Label != "" && len(s.labels) > 0:
		return nil, &Error{Reason: UnknownIdentity}
	}
	return nil, &Error{Reason: NoCredentials}
}

// byCertificate returns the caller that a certificate's DNS and URI names belong to,
// nil if none does. A certificate with a SPIFFE id has no other URI.
// https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
func (s *Set) byCertificate(cert *x509.Certificate) (*Caller, error) {
	var names []string
	for _, uri := range cert.URIs {
		if uri.Scheme == "spiffe" {
			if len(cert.URIs) > 1 {
				return nil, &Error{Malformed, errors.New("a certificate with a SPIFFE id and another URI")}
			}
			if _, err := spiffeid.FromURI(uri); err != nil {
				return nil, &Error{Malformed, errors.New("a certificate whose SPIFFE id is malformed")}
			}
		}
		names = append(names, "uri:"+uri.String())
	}
	for _, name := range cert.DNSNames {
		names = append(names, "dns:"+strings.ToLower(name))
	}
	return s.byNames(names)
}

// byNames returns the caller that any of the names belongs to, nil if none does.
func (s *Set) byNames(names []string) (*Caller, error) {
	var found *Caller
	for _, name := range names {
		who := s.ids[name]
		if who != nil && found != nil && who != found {
			return nil, &Error{Reason: TwoIdentities}
		}
		if who != nil {
			found = who
		}
	}
	return found, nil
}
