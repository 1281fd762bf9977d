package caller

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

const oneIssuer = `
issuers: [{name: a, issuer: %q, audience: clerkgate}]
callers: [{name: x, identity: {jwt: [{issuer: a, claims: {sub: x}}]}}]
`

// TestIssuerAwayAtStart denies the issuer's callers until it is there.
func TestIssuerAwayAtStart(t *testing.T) {
	issuer := callertest.NewIssuer(t)
	issuer.Away.Store(true)
	set := parse(t, fmt.Sprintf(oneIssuer, issuer.URL))
	shown := &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", nil)}
	for range 3 {
		if got := reasonOf(t, set, shown); got != "issuer_unreachable" {
			t.Errorf("while the issuer is away: %s", got)
		}
	}
	issuer.Away.Store(false)
	set.issuers[issuer.URL].state.nextTry = time.Time{} // as time would have it
	if got := reasonOf(t, set, shown); got != "x" {
		t.Errorf("when the issuer is there: %s", got)
	}
}

// TestTokenFile: an issuer that answers known clients only gets the token in token_file, as the
// file has it at the time.
func TestTokenFile(t *testing.T) {
	issuer, file := callertest.NewIssuer(t), filepath.Join(t.TempDir(), "token")
	set := parse(t, fmt.Sprintf(strings.Replace(oneIssuer, "audience:", "token_file: %q, audience:", 1), issuer.URL, file))
	state := set.issuers[issuer.URL].state
	for _, tt := range []struct{ held, known, want string }{
		{"", "first", "issuer_unreachable"}, // there is no file
		{"other\n", "first", "issuer_unreachable"},
		{"first\n", "first", "x"},
		{"first\n", "second", "issuer_unreachable"},
		{"second", "second", "x"},
	} {
		if tt.held != "" {
			if err := os.WriteFile(file, []byte(tt.held), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		issuer.Knows.Store(&tt.known)
		issuer.Rotate()
		state.nextTry, state.lastFetch = time.Time{}, time.Time{} // as time would have it
		shown := &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", nil)}
		got := reasonOf(t, set, shown)
		// go-oidc hands its last fetch out for a moment after it has ended.
		for deadline := time.Now().Add(time.Minute); got == "bad_jwt" && time.Now().Before(deadline); {
			got = reasonOf(t, set, shown)
		}
		if got != tt.want {
			t.Errorf("with %q for an issuer that knows %q: %s, want %s", tt.held, tt.known, got, tt.want)
		}
	}
}

// TestKeysAreRotated signs with a new key, and then shows tokens with invented keys.
func TestKeysAreRotated(t *testing.T) {
	issuer := callertest.NewIssuer(t)
	set := parse(t, fmt.Sprintf(oneIssuer, issuer.URL))
	state := set.issuers[issuer.URL].state
	show := func(want string) {
		t.Helper()
		if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", nil)}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	show("x")
	issuer.Rotate()
	state.lastFetch = time.Time{} // as time would have it
	// go-oidc hands its first fetch out for a moment after it has ended.
	for deadline := time.Now().Add(time.Minute); issuer.Fetches.Load() == 1 && time.Now().Before(deadline); {
		reasonOf(t, set, &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", nil)})
	}
	show("x")
	if n := issuer.Fetches.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times, want 2", n)
	}
	for i := range 20 {
		claims := map[string]any{"iss": issuer.URL, "aud": "clerkgate", "sub": "x", "exp": time.Now().Add(time.Hour).Unix()}
		invented := issuer.Sign(map[string]any{"alg": "ES256", "kid": fmt.Sprint("invented", i)}, claims, issuer.NewKey())
		if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + invented}); got != "issuer_unreachable" && got != "bad_jwt" {
			t.Errorf("an invented key: %s", got)
		}
	}
	if n := issuer.Fetches.Load(); n > 3 {
		t.Errorf("invented keys cause %d fetches", n-2)
	}
	show("x")
}

// TestManyAtOnce: of callers that arrive together while the keys are fetched, none is denied.
func TestManyAtOnce(t *testing.T) {
	for range 30 {
		issuer := callertest.NewIssuer(t)
		set := parse(t, fmt.Sprintf(oneIssuer, issuer.URL))
		var callers sync.WaitGroup
		for i := range 64 {
			shown := &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"jti": fmt.Sprint(i)})}
			callers.Go(func() {
				if got := reasonOf(t, set, shown); got != "x" {
					t.Errorf("%s, want x", got)
				}
			})
		}
		callers.Wait()
		if n := issuer.Fetches.Load(); n != 1 {
			t.Errorf("the keys were fetched %d times", n)
		}
	}
}

// TestReloadKeepsIssuers reads the file again while the issuer is away.
func TestReloadKeepsIssuers(t *testing.T) {
	issuer := callertest.NewIssuer(t)
	text := fmt.Sprintf(oneIssuer, issuer.URL)
	set := parse(t, text)
	token := issuer.Token("clerkgate", "x", nil)
	if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + token}); got != "x" {
		t.Fatal(got)
	}
	issuer.Away.Store(true)
	again, err := Parse([]byte(text), methods, set)
	if err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(t, again, &Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"jti": "2"})}); got != "x" {
		t.Errorf("after the file was read again: %s", got)
	}
}

// TestKnownTokensAreBounded remembers more tokens than there is room for.
func TestKnownTokensAreBounded(t *testing.T) {
	s := &issuerState{known: map[[32]byte]verifiedToken{}}
	for i := range maxKnown + 100 {
		s.remember([32]byte{byte(i), byte(i >> 8)}, verifiedToken{until: now.Add(time.Minute)}, now)
	}
	if len(s.known) != maxKnown {
		t.Errorf("%d tokens are remembered, want %d", len(s.known), maxKnown)
	}
}
