package caller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

const (
	// TokenPrefix is the prefix of every token, so that leaked tokens can be found.
	TokenPrefix = "cgt_"
	// maxAuthorization is the maximum length of the header, in bytes.
	maxAuthorization = 64 << 10
)

// NewToken returns a new token of 256 random bits.
func NewToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// HashToken returns the hash of a token in the callers file: SHA-256 in hexadecimal. A
// token is random, so a slow hash would add nothing.
func HashToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// token is a token in the file.
type token struct {
	hash     [sha256.Size]byte
	notAfter time.Time // zero: does not expire
	who      *Caller
}

// byAuthorization returns the caller of a token or JWT.
func (s *Set) byAuthorization(ctx context.Context, header string, now time.Time) (*Caller, error) {
	text, err := bearer(header)
	if err != nil {
		return nil, &Error{Malformed, err}
	}
	if !strings.HasPrefix(text, TokenPrefix) {
		return s.byJWT(ctx, text, now)
	}
	// All tokens with the same hash prefix are compared, each in constant time. Timing
	// may reveal a prefix of a hash, but not a token that has it.
	hash := sha256.Sum256([]byte(text))
	var found *token
	same := s.tokens[[8]byte(hash[:8])]
	for i := range same {
		if subtle.ConstantTimeCompare(same[i].hash[:], hash[:]) == 1 {
			found = &same[i]
		}
	}
	switch {
	case found == nil:
		return nil, &Error{Reason: UnknownToken}
	case !found.notAfter.IsZero() && now.After(found.notAfter):
		return nil, &Error{Reason: ExpiredToken}
	}
	return found.who, nil
}

var errAuthorization = errors.New("want 'Bearer' and a token, or 'Basic' with a token as the password, in at most 64 KiB")

// bearer returns the token in an Authorization header.
func bearer(header string) (string, error) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || len(header) > maxAuthorization {
		return "", errAuthorization
	}
	text = strings.TrimSpace(text)
	switch {
	case strings.EqualFold(scheme, "bearer"):
	case strings.EqualFold(scheme, "basic"):
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", errAuthorization // the decoder's error would show a part of it
		}
		if _, text, found = strings.Cut(string(b), ":"); !found {
			return "", errAuthorization
		}
	default:
		return "", errAuthorization
	}
	if text == "" {
		return "", errAuthorization
	}
	return text, nil
}
