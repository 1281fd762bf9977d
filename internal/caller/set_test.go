package caller

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

var (
	methods = Methods{
		Plain:   []string{"BatchGetUsers", "GetQuota", "GetUser"},
		Permits: []string{"AcquirePermits", "ReleasePermits"}, Invalidate: []string{"InvalidateUsers"},
	}
	now = time.Now()
)

func parse(t testing.TB, text string) *Set {
	t.Helper()
	set, err := Parse([]byte(text), methods, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// reasonOf returns the name of the caller or the reason why there is none.
func reasonOf(t testing.TB, set *Set, c *Credentials) string {
	t.Helper()
	who, err := set.Identify(t.Context(), c, now)
	var unknown *Error
	switch {
	case err == nil:
		return who.Name
	case !errors.As(err, &unknown) || !errors.Is(err, ErrUnknown):
		t.Errorf("%T: %v", err, err)
		return ""
	}
	return string(unknown.Reason)
}

// TestIdentify shows all kinds of credentials, alone and together.
func TestIdentify(t *testing.T) {
	ca, issuer := callertest.NewCA(t), callertest.NewIssuer(t)
	first, second, old := NewToken(), NewToken(), NewToken()
	set := parse(t, fmt.Sprintf(`
issuers:
  - {name: cluster, issuer: %q, audience: clerkgate}
mesh:
  - {header: x-forwarded-client-cert, from: [10.0.0.0/8, unix]}
  - {header: l5d-client-id, from: ["10.0.0.1", "::ffff:10.0.1.1", "::ffff:10.0.2.0/120"]}
callers:
  - name: billing
    identity:
      certificates: [dns:billing.example, spiffe://example.org/billing, "uri:https://billing.example/x"]
      tokens:
        - sha256: %s
        - {sha256: %s, not_after: 2999-01-01T00:00:00Z}
        - {sha256: %s, not_after: 2001-01-01T00:00:00Z}
  - name: jobs
    identity:
      certificates: [dns:jobs.example]
      jwt:
        - {issuer: cluster, claims: {sub: "system:serviceaccount:default:jobs"}}
        - {issuer: cluster, claims: {groups: jobs, tier: gold}}
  - name: anybody
    identity: {label: true}
`, issuer.URL, HashToken(first), HashToken(second), HashToken(old)))
	peer, other := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	jobs := issuer.Token("clerkgate", "system:serviceaccount:default:jobs", nil)
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+password))
	}
	for name, tt := range map[string]struct {
		c    Credentials
		want string
	}{
		"nothing":                    {Credentials{}, "no_credentials"},
		"a token":                    {Credentials{Authorization: "Bearer " + first}, "billing"},
		"the second token":           {Credentials{Authorization: "bearer " + second}, "billing"},
		"a token by Basic":           {Credentials{Authorization: basic(first)}, "billing"},
		"a token that has ended":     {Credentials{Authorization: "Bearer " + old}, "expired_token"},
		"another token":              {Credentials{Authorization: "Bearer " + NewToken()}, "unknown_token"},
		"a hash as a token":          {Credentials{Authorization: "Bearer cgt_" + HashToken(first)}, "unknown_token"},
		"another scheme":             {Credentials{Authorization: "Digest x"}, "malformed"},
		"no scheme":                  {Credentials{Authorization: first}, "malformed"},
		"no token":                   {Credentials{Authorization: "Bearer "}, "malformed"},
		"Basic that is no base64":    {Credentials{Authorization: "Basic !"}, "malformed"},
		"too long":                   {Credentials{Authorization: "Bearer " + strings.Repeat("x", maxAuthorization)}, "malformed"},
		"a DNS name":                 {Credentials{Certificate: ca.Issue("Billing.Example").X509(t)}, "billing"},
		"a SPIFFE id":                {Credentials{Certificate: ca.Issue("spiffe://example.org/billing").X509(t)}, "billing"},
		"a SPIFFE id of others":      {Credentials{Certificate: ca.Issue("spiffe://example.com/billing").X509(t)}, "unknown_identity"},
		"a SPIFFE id and a URI":      {Credentials{Certificate: ca.Issue("spiffe://example.org/billing", "https://x.example").X509(t)}, "malformed"},
		"a malformed SPIFFE id":      {Credentials{Certificate: ca.Issue("spiffe://EXAMPLE.org/billing").X509(t)}, "malformed"},
		"a URI":                      {Credentials{Certificate: ca.Issue("https://billing.example/x").X509(t)}, "billing"},
		"names of two callers":       {Credentials{Certificate: ca.Issue("billing.example", "jobs.example").X509(t)}, "two_identities"},
		"a name of nobody":           {Credentials{Certificate: ca.Issue("nobody.example").X509(t)}, "unknown_identity"},
		"a certificate and a token":  {Credentials{Certificate: ca.Issue("billing.example").X509(t), Authorization: "Bearer " + first}, "billing"},
		"two callers":                {Credentials{Certificate: ca.Issue("jobs.example").X509(t), Authorization: "Bearer " + first}, "two_identities"},
		"nobody's, and a token":      {Credentials{Certificate: ca.Issue("nobody.example").X509(t), Authorization: "Bearer " + first}, "billing"},
		"a good and a bad one":       {Credentials{Certificate: ca.Issue("jobs.example").X509(t), Authorization: "Bearer cgt_x"}, "unknown_token"},
		"a JWT":                      {Credentials{Authorization: "Bearer " + jobs}, "jobs"},
		"a large JWT":                {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"groups": []string{"jobs"}, "tier": "gold", "other": strings.Repeat("x", 40<<10)})}, "jobs"},
		"a JWT, by two claims":       {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"groups": []string{"a", "jobs"}, "tier": "gold"})}, "jobs"},
		"a JWT, one of two claims":   {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"groups": []string{"jobs"}})}, "unknown_identity"},
		"a JWT of another subject":   {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "other", nil)}, "unknown_identity"},
		"a JWT for others":           {Credentials{Authorization: "Bearer " + issuer.Token("other", "system:serviceaccount:default:jobs", nil)}, "bad_jwt"},
		"a JWT that has ended":       {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"exp": now.Add(-time.Minute).Unix()})}, "expired_token"},
		"a JWT of another issuer":    {Credentials{Authorization: "Bearer " + issuer.Token("clerkgate", "x", map[string]any{"iss": "https://example.com"})}, "bad_jwt"},
		"a JWT with another key":     {Credentials{Authorization: "Bearer " + issuer.Sign(map[string]any{"alg": "ES256", "kid": "key-1"}, map[string]any{"iss": issuer.URL, "aud": "clerkgate", "sub": "system:serviceaccount:default:jobs", "exp": now.Add(time.Hour).Unix()}, issuer.NewKey())}, "bad_jwt"},
		"a JWT without a signature":  {Credentials{Authorization: "Bearer " + issuer.Sign(map[string]any{"alg": "none"}, map[string]any{"iss": issuer.URL, "aud": "clerkgate", "exp": now.Add(time.Hour).Unix()}, issuer.NewKey())}, "bad_jwt"},
		"a JWT that was changed":     {Credentials{Authorization: "Bearer " + jobs[:len(jobs)-4] + "AAAA"}, "bad_jwt"},
		"a JWT and a certificate":    {Credentials{Certificate: ca.Issue("jobs.example").X509(t), Authorization: "Bearer " + jobs}, "jobs"},
		"XFCC":                       {Credentials{XFCC: []string{`By=spiffe://x/y;Hash=aa;URI=spiffe://example.org/billing`}, Peer: peer}, "billing"},
		"XFCC by a Unix socket":      {Credentials{XFCC: []string{`URI=spiffe://example.org/billing`}}, "billing"},
		"XFCC with a DNS name":       {Credentials{XFCC: []string{`Hash=aa;Subject="CN=x;URI=spiffe://example.org/billing,O=y";DNS=jobs.example`}, Peer: peer}, "jobs"},
		"XFCC, the rightmost":        {Credentials{XFCC: []string{`URI=spiffe://example.org/billing,DNS=jobs.example`}, Peer: peer}, "jobs"},
		"XFCC, the last header":      {Credentials{XFCC: []string{`URI=spiffe://example.org/billing`, `DNS=jobs.example`}, Peer: peer}, "jobs"},
		"XFCC, the rightmost nobody": {Credentials{XFCC: []string{`URI=spiffe://example.org/billing,URI=spiffe://example.org/x`}, Peer: peer}, "unknown_identity"},
		"XFCC with a wildcard":       {Credentials{XFCC: []string{`URI=spiffe://example.org/billing;DNS=*.example.org;DNS=`}, Peer: peer}, "billing"},
		"XFCC, only a wildcard":      {Credentials{XFCC: []string{`DNS=*.example.org`}, Peer: peer}, "malformed"},
		"XFCC, quoted quotes":        {Credentials{XFCC: []string{`Subject="CN=\"a\"",Subject="CN=\"b,DNS=x\"";DNS=jobs.example`}, Peer: peer}, "jobs"},
		// The client's open quote would make of the Subject, which it may choose, an element.
		"XFCC, an open quote before": {Credentials{XFCC: []string{`X=",Hash=aa;Subject="CN=x,URI=spiffe://example.org/billing;Y=\"z";URI=spiffe://example.org/x`}, Peer: peer}, "malformed"},
		"XFCC, an odd quote before":  {Credentials{XFCC: []string{`",Hash=aa;Subject="CN=x,URI=spiffe://example.org/billing;Y=\"z";URI=spiffe://example.org/x`}, Peer: peer}, "malformed"},
		"XFCC of two callers":        {Credentials{XFCC: []string{`URI=spiffe://example.org/billing;DNS=jobs.example`}, Peer: peer}, "two_identities"},
		"XFCC from elsewhere":        {Credentials{XFCC: []string{`URI=spiffe://example.org/billing`}, Peer: other}, "no_credentials"},
		"XFCC without a name":        {Credentials{XFCC: []string{`Hash=aa`}, Peer: peer}, "malformed"},
		"XFCC with an open quote":    {Credentials{XFCC: []string{`Subject="x;URI=spiffe://example.org/billing`}, Peer: peer}, "malformed"},
		"XFCC and another's token":   {Credentials{XFCC: []string{`DNS=jobs.example`}, Peer: peer, Authorization: "Bearer " + first}, "two_identities"},
		"l5d-client-id":              {Credentials{L5D: []string{"jobs.example"}, Peer: netip.MustParseAddr("::ffff:10.0.0.1")}, "jobs"},
		"l5d-client-id, mapped":      {Credentials{L5D: []string{"jobs.example"}, Peer: netip.MustParseAddr("10.0.1.1")}, "jobs"},
		"l5d-client-id, network":     {Credentials{L5D: []string{"jobs.example"}, Peer: netip.MustParseAddr("::ffff:10.0.2.9")}, "jobs"},
		"l5d-client-id, mapped not":  {Credentials{L5D: []string{"jobs.example"}, Peer: netip.MustParseAddr("10.0.3.9")}, "no_credentials"},
		"l5d-client-id elsewhere":    {Credentials{L5D: []string{"jobs.example"}, Peer: peer}, "no_credentials"},
		"l5d-client-id twice":        {Credentials{L5D: []string{"jobs.example", "billing.example"}, Peer: netip.MustParseAddr("10.0.0.1")}, "malformed"},
		"a label":                    {Credentials{Label: "anybody"}, "anybody"},
		"a label that is none":       {Credentials{Label: "billing"}, "unknown_identity"},
		"a label beside a token":     {Credentials{Label: "anybody", Authorization: "Bearer " + first}, "billing"},
		"a label beside a bad token": {Credentials{Label: "anybody", Authorization: "Bearer cgt_x"}, "unknown_token"},
	} {
		if got := reasonOf(t, set, &tt.c); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestErrorsShowNoCredentials looks for what was shown in the errors.
func TestErrorsShowNoCredentials(t *testing.T) {
	issuer := callertest.NewIssuer(t)
	set := parse(t, fmt.Sprintf(`
issuers: [{name: a, issuer: %q, audience: clerkgate}]
callers: [{name: x, identity: {jwt: [{issuer: a, claims: {sub: x}}]}}]
`, issuer.URL))
	jwt := issuer.Token("other", "secretsubject", nil)
	for _, shown := range []string{"cgt_secretsecret", jwt, jwt[:len(jwt)-9] + "secretxx", "a.b.secretsecret", "secretsecret"} {
		for _, scheme := range []string{"Bearer ", "Basic ", "Secret "} {
			_, err := set.Identify(t.Context(), &Credentials{Authorization: scheme + shown}, now)
			if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), shown) {
				t.Errorf("%s%s: %v", scheme, shown, err)
			}
		}
	}
}
