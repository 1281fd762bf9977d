package caller

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzFile reads files of callers: no input may panic, and no error may be long.
func FuzzFile(f *testing.F) {
	f.Add([]byte("callers: [{name: a, identity: {tokens: [{sha256: " + hash + "}]}, allow: {methods: [GetUser], full_view: [extra]}}]"))
	f.Add([]byte("issuers: [{name: a, issuer: 'https://x', audience: b}]\nmesh: [{header: l5d-client-id, from: [10.0.0.0/8, unix]}]\ncallers: &x [*x]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "_file") {
			t.Skip("it would open files")
		}
		set, err := Parse(b, methods, nil)
		if (set == nil) == (err == nil) {
			t.Errorf("%v, %v", set, err)
		}
		if err != nil && len(err.Error()) > 1<<14 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// FuzzAuthorization shows headers to a file that knows one token and no issuer: only
// that token has a caller.
func FuzzAuthorization(f *testing.F) {
	token := NewToken()
	set := parse(f, "callers: [{name: a, identity: {tokens: [{sha256: "+HashToken(token)+"}]}}]")
	for _, seed := range []string{"Bearer cgt_x", "Basic YTpi", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.x", "bearer", "Bearer a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		who, err := set.Identify(t.Context(), &Credentials{Authorization: header}, now)
		if err == nil && header != "" && !strings.Contains(header, token[len(TokenPrefix):]) {
			t.Errorf("%q is %s", header, who.Name)
		}
	})
}

// FuzzJWT reads the issuers of tokens.
func FuzzJWT(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.x")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		if issuer, err := issuerOf(text); err == nil && issuer == "" {
			t.Errorf("%q has an empty issuer", text)
		}
	})
}

// FuzzXFCC reads headers of meshes: whatever a client puts before the element that the
// proxy appends changes nothing.
func FuzzXFCC(f *testing.F) {
	set := parse(f, `
mesh: [{header: x-forwarded-client-cert, from: [unix]}]
callers:
  - {name: a, identity: {certificates: ["spiffe://x/a"]}}
  - {name: b, identity: {certificates: ["spiffe://x/b"]}}
`)
	for _, seed := range []string{"", `URI=spiffe://x/b`, `Subject="a,b\";c";URI=spiffe://x/b`, `By=x;Hash=y;`, `"`, `\`, `,,;;==`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, _ = parseXFCC(header)
		c := &Credentials{XFCC: []string{header + ",URI=spiffe://x/a"}, Peer: netip.Addr{}}
		if who, err := set.Identify(t.Context(), c, now); err == nil && who.Name != "a" {
			t.Errorf("%q is %s", header, who.Name)
		}
	})
}
