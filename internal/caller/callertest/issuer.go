package callertest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Issuer issues JSON Web Tokens and publishes its keys, like an OIDC issuer.
type Issuer struct {
	t testing.TB
	// URL names the issuer.
	URL string
	// Fetches counts requests for the keys.
	Fetches atomic.Int64
	// Away makes it answer all requests with 503.
	Away atomic.Bool
	// Knows, if it is set, is the only token that it answers, as Kubernetes' issuer does.
	Knows atomic.Pointer[string]

	mu   sync.Mutex
	id   string                       // id of the signing key; guarded by mu
	keys map[string]*ecdsa.PrivateKey // by id; guarded by mu
}

// NewIssuer starts an issuer on a loopback address, until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL,
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Fetches.Add(1)
		i.mu.Lock()
		var all []map[string]string
		for id, key := range i.keys {
			point, err := key.PublicKey.Bytes()
			if err != nil {
				t.Error(err)
			}
			all = append(all, map[string]string{
				"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": encode(point[1:33]), "y": encode(point[33:]),
			})
		}
		i.mu.Unlock()
		i.answer(w, map[string]any{"keys": all})
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if knows := i.Knows.Load(); knows != nil && r.Header.Get("Authorization") != "Bearer "+*knows {
			http.Error(w, "unknown client", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.Away.Load() {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

// Rotate makes the issuer sign with a new key from now on. The old ones stay published.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id = fmt.Sprintf("key-%d", len(i.keys)+1)
	i.keys[i.id] = newKey(i.t)
}

// Token returns a token for an audience and a subject, for an hour, with more claims.
func (i *Issuer) Token(audience, subject string, more map[string]any) string {
	claims := map[string]any{
		"iss": i.URL, "aud": audience, "sub": subject, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(claims, more)
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.Sign(map[string]any{"alg": "ES256", "kid": i.id, "typ": "JWT"}, claims, i.keys[i.id])
}

// Sign signs claims with any key, under any header.
func (i *Issuer) Sign(header, claims map[string]any, key *ecdsa.PrivateKey) string {
	i.t.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			i.t.Fatal(err)
		}
		parts = append(parts, encode(b))
	}
	text := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

// NewKey returns a key that no issuer has.
func (i *Issuer) NewKey() *ecdsa.PrivateKey { return newKey(i.t) }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
