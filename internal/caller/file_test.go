package caller

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestFileFaults checks that each fault is named with its line and field, and that no
// value is shown.
func TestFileFaults(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"no YAML", "callers: [", "want YAML"},
		{"two documents", "callers: []\n---\n", "want one YAML document"},
		{"no map", "- secret", "line 1: the file: want a map"},
		{"no callers", "issuers: []", "line 1: callers: is missing"},
		{"callers that are none", "callers: secret", "line 1: callers: want a list"},
		{"unknown field", "callers:\n  - name: a\n    identity: {label: true}\n    secret: 1", "line 4: callers[0]: there is no field of this name; want one of allow, identity, name"},
		{"twice", "callers:\n  - name: a\n    name: b\n    identity: {label: true}", "line 3: callers[0].name: given twice"},
		{"no name", "callers:\n  - identity: {label: true}", "line 2: callers[0].name: is missing"},
		{"no identity", "callers:\n  - name: a", "line 2: callers[0].identity: is missing"},
		{"empty identity", "callers:\n  - name: a\n    identity: {}", "line 3: callers[0].identity: want certificates"},
		{"bad name", "callers:\n  - name: a secret\n    identity: {label: true}", "line 2: callers[0].name: want at most 64"},
		{"two of a name", "callers:\n  - {name: a, identity: {label: true}}\n  - {name: a, identity: {label: true}}", "line 3: callers[1].name: another caller"},
		{"a token itself", "callers:\n  - name: a\n    identity:\n      tokens:\n        - sha256: cgt_secret", "line 5: callers[0].identity.tokens[0].sha256: this is a token"},
		{"no hash", "callers: [{name: a, identity: {tokens: [{sha256: secret}]}}]", "tokens[0].sha256: want 64 hexadecimal digits"},
		{"one hash twice", "callers:\n  - {name: a, identity: {tokens: [{sha256: " + hash + "}]}}\n  - {name: b, identity: {tokens: [{sha256: " + hash + "}]}}", "line 3: callers[1].identity.tokens[0].sha256: given twice"},
		{"no time", "callers: [{name: a, identity: {tokens: [{sha256: " + hash + ", not_after: secret}]}}]", "tokens[0].not_after: want a time"},
		{"no kind of name", "callers: [{name: a, identity: {certificates: [secret]}}]", "certificates[0]: want dns:NAME"},
		{"wildcard", "callers: [{name: a, identity: {certificates: ['dns:*.secret']}}]", "certificates[0]: want a DNS name"},
		{"bad SPIFFE id", "callers: [{name: a, identity: {certificates: ['spiffe://SECRET/x']}}]", "certificates[0]: want a SPIFFE id"},
		{"bad SPIFFE URI", "callers: [{name: a, identity: {certificates: ['uri:spiffe://SECRET/x']}}]", "certificates[0]: want a SPIFFE id"},
		{"one name of two", "callers:\n  - {name: a, identity: {certificates: [dns:x]}}\n  - {name: b, identity: {certificates: [dns:X]}}", "line 3: callers[1].identity.certificates[0]: given twice"},
		{"no such issuer", "callers: [{name: a, identity: {jwt: [{issuer: secret, claims: {sub: x}}]}}]", "jwt[0].issuer: there is no issuer"},
		{"issuer without TLS", "issuers: [{name: a, issuer: 'http://secret.example', audience: x}]\ncallers: [{name: a, identity: {label: true}}]", "issuers[0].issuer: want an https:// URL"},
		{"no claims", "issuers: [{name: a, issuer: 'https://x.example', audience: x}]\ncallers: [{name: a, identity: {jwt: [{issuer: a, claims: {}}]}}]", "line 2: callers[0].identity.jwt[0].claims: want a map"},
		{"other header", "mesh: [{header: secret, from: [unix]}]\ncallers: [{name: a, identity: {label: true}}]", "mesh[0].header: want x-forwarded-client-cert"},
		{"no address", "mesh: [{header: l5d-client-id, from: [secret]}]\ncallers: [{name: a, identity: {label: true}}]", "mesh[0].from[0]: want an address"},
		{"header twice", "mesh: [{header: l5d-client-id, from: [unix]}, {header: l5d-client-id, from: [unix]}]\ncallers: [{name: a, identity: {label: true}}]", "mesh[1].header: given twice"},
		{"no such method", "callers: [{name: a, identity: {label: true}, allow: {methods: [Secret]}}]", "allow.methods[0]: want one of BatchGetUsers, GetQuota, GetUser"},
		{"permits as a method", "callers: [{name: a, identity: {label: true}, allow: {methods: [AcquirePermits]}}]", "methods[0]: allow this by permits: true"},
		{"no part", "callers: [{name: a, identity: {label: true}, allow: {full_view: [secret]}}]", "full_view[0]: want one of private_metadata"},
		{"no priority", "callers: [{name: a, identity: {label: true}, allow: {max_priority: secret}}]", "max_priority: want interactive or batch"},
		{"no number", "callers: [{name: a, identity: {label: true}, allow: {streams: secret}}]", "streams: want a number"},
		{"no weight", "callers: [{name: a, identity: {label: true}, allow: {weight: 0}}]", "weight: want a number from 1 to 100"},
		{"no percentage", "callers: [{name: a, identity: {label: true}, allow: {guaranteed: 20/10s}}]", "line 1: callers[0].allow.guaranteed: want a percentage of 1% to 80%, such as 20%"},
		{"all is guaranteed", "callers: [{name: a, identity: {label: true}, allow: {guaranteed: 81%}}]", "guaranteed: want a percentage of 1% to 80%"},
		{
			"more than all is guaranteed",
			"callers:\n- {name: a, identity: {label: true}, allow: {guaranteed: 50%}}\n- {name: b, identity: {label: true}, allow: {guaranteed: 31%}}",
			"line 3: callers[1].allow.guaranteed: the guarantees of the callers up to this one add up to 81%: want at most 80% for all callers",
		},
		{"no limit", "callers: [{name: a, identity: {label: true}, allow: {max_lookups: secret}}]", "max_lookups: want a number and a window"},
		{"no window", "callers: [{name: a, identity: {label: true}, allow: {max_requests: 10/0s}}]", "max_requests: want a number and a window"},
		{"no bool", "callers: [{name: a, identity: {label: true}, allow: {permits: 'secret'}}]", "permits: want true or false"},
		{"no UTF-8", "callers:\n  - name: secret\xe9", "line 2: want UTF-8"},
		{"a control character", "callers:\n  - name: secret\x01", "line 2: want UTF-8 without control characters"},
		{"a syntax error", "callers:\n  - name: secret\n    identity: {label", "near line 2: did not find expected ',' or '}'"},
		{"a syntax error in the first line", "callers: [secret", "near line 1: did not find expected ',' or ']'"},
		{"a tab", "callers:\n  - name: secret\n\tidentity: {label: true}", "near line 2: found a tab character that violates indentation"},
		{"half a line", "callers:\n  - name: secret\n    iden", "near line 3: could not find expected ':'"},
		{"an alias of nothing", "callers: *secret", "an alias (*name) of something that does not exist"},
		{"an alias in place of a value", "callers: [{name: a, identity: {label: true}, allow: {max_priority: &batch interactive}}, {name: b, identity: {label: true}, allow: {max_priority: *batch}}]", "line 1: the file: want no aliases"},
		{"an alias in place of a part", "callers: [{name: &extra a, identity: {label: true}, allow: {full_view: [*extra]}}]", "line 1: the file: want no aliases"},
		{"a tag", "callers: [{name: a, identity: {label: true}, allow: {permits: !!bool yes}}]", "line 1: the file: want no tags"},
		{"a tag that does not fit", "callers: [{name: a, identity: {label: true}, allow: {weight: !!int secret}}]", "line 1: the file: want no tags"},
		{"a label that is none", "callers: [{name: a, identity: {label: false}}]", "callers[0].identity: want certificates, tokens, jwt or label: true"},
		{"an issuer with a query", "issuers: [{name: a, issuer: 'https://x.example?secret', audience: x}]\ncallers: [{name: a, identity: {label: true}}]", "issuers[0].issuer: want an https:// URL without a query"},
		{"a claim that is no text", "issuers: [{name: a, issuer: 'https://x.example', audience: x}]\ncallers: [{name: a, identity: {jwt: [{issuer: a, claims: {admin: true}}]}}]", "line 2: callers[0].identity.jwt[0].claims.claim: want a text, in quotes"},
		{"claims of two callers", twoClaims("{sub: secret, group: b}", "{group: b, sub: secret}"), "line 4: callers[1].identity.jwt[0].claims: every token with these claims is also that of another caller"},
		{"claims that include another's", twoClaims("{sub: secret, group: b}", "{group: b}"), "line 3: callers[0].identity.jwt[0].claims: every token with these claims is also that of another caller"},
		{"an address with a zone", "mesh: [{header: l5d-client-id, from: ['fe80::1%secret/64']}]\ncallers: [{name: a, identity: {label: true}}]", "mesh[0].from[0]: want an address"},
		{"an alias", "callers: &a [{name: a, identity: {label: true}, allow: {methods: *a}}]", "want"},
	} {
		_, err := Parse([]byte(tt.text), methods, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%s: the error shows a value: %v", tt.name, err)
		}
	}
	many := "callers:\n" + strings.Repeat("  - {x: 1}\n", 100)
	if _, err := Parse([]byte(many), methods, nil); err == nil || strings.Count(err.Error(), "\n") != maxFaults {
		t.Errorf("of many faults: %v", err)
	}
}

// twoClaims returns a file of two callers with the given claims.
func twoClaims(first, second string) string {
	return fmt.Sprintf(`issuers: [{name: a, issuer: "https://x.example", audience: x}, {name: b, issuer: "https://y.example", audience: x}]
callers:
  - {name: a, identity: {jwt: [{issuer: a, claims: %s}]}}
  - {name: b, identity: {jwt: [{issuer: a, claims: %s}]}}`, first, second)
}

// TestClaimsOfTwoCallers: claims that some tokens may have at once are no fault of the file.
func TestClaimsOfTwoCallers(t *testing.T) {
	for _, text := range []string{
		twoClaims("{sub: x}", "{sub: y}"),
		twoClaims("{sub: x, group: a}", "{sub: x, group: b}"),
		twoClaims("{sub: x, group: a}", "{sub: x, other: a}"),
		strings.Replace(twoClaims("{sub: x}", "{sub: x}"), "{issuer: a", "{issuer: b", 1),
		strings.Replace(twoClaims("{sub: x}", "{sub: y}"), "claims: {sub: x}}", "claims: {sub: x}}, {issuer: a, claims: {sub: x, group: z}}", 1),
	} {
		parse(t, text)
	}
}

// TestPolicies checks what callers may do, and that it is nothing unless the file says so.
func TestPolicies(t *testing.T) {
	set := parse(t, `
callers:
  - name: nothing
    identity: {label: true}
  - name: everything
    identity: {label: true}
    allow:
      methods: [GetUser, BatchGetUsers]
      full_view: [private_metadata, memberships, verifications, extra]
      max_priority: batch
      streams: 3
      weight: 7
      guaranteed: 80%
      max_lookups: 1000/10s
      max_requests: 5/1m
      permits: true
      invalidate: true
      metrics: true
      pprof: true
`)
	nothing, everything := set.labels["nothing"], set.labels["everything"]
	if len(nothing.Methods) != 0 || nothing.FullView != 0 || nothing.Metrics || nothing.Pprof || nothing.May("GetUser") || nothing.May("") || nothing.Weight != 1 || nothing.Guaranteed != 0 {
		t.Errorf("by default a caller may %+v", nothing)
	}
	want := []string{"AcquirePermits", "BatchGetUsers", "GetUser", "InvalidateUsers", "ReleasePermits"}
	if !slices.Equal(everything.Methods, want) || everything.FullView != AllParts || !everything.BatchOnly || everything.Streams != 3 || everything.Weight != 7 || everything.Guaranteed != 80 ||
		everything.Lookups != (Limit{1000, 10 * time.Second}) || everything.Requests != (Limit{5, time.Minute}) ||
		!everything.Metrics || !everything.Pprof || !everything.May("GetUser") || everything.May("GetQuota") {
		t.Errorf("%+v", everything)
	}
}

// TestExampleFile reads the file in the documentation.
func TestExampleFile(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "callers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "```yaml\n")
	text, _, found := strings.Cut(text, "```\n")
	if !found {
		t.Fatal("docs/callers.md has no example")
	}
	text = strings.ReplaceAll(text, "    ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n", "")
	all := Methods{Plain: []string{"BatchGetUsers", "CountUsers", "GetQuota", "GetUsage", "GetUser", "ListUsers", "StreamUsers", "WatchQuota"}}
	if _, err := Parse([]byte(text), all, nil); err != nil {
		t.Error(err)
	}
}

// TestFilesAreNotShown: neither the name of a file that can't be read, which may be a secret
// in the wrong place, nor what it holds is in an error.
func TestFilesAreNotShown(t *testing.T) {
	misplaced := NewToken()
	text := fmt.Sprintf(strings.Replace(oneIssuer, "audience:", "ca_file: %s, audience:", 1), "https://issuer.example", misplaced)
	_, err := Parse([]byte(text), Methods{}, nil)
	if err == nil || strings.Contains(err.Error(), misplaced) || !strings.Contains(err.Error(), "ca_file: ") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("ca_file: %v", err)
	}
	transport := &issuerTransport{config: issuerConfig{tokenFile: misplaced}, state: &issuerState{}}
	_, err = transport.RoundTrip(httptest.NewRequest(http.MethodGet, "https://issuer.example/.well-known/openid-configuration", nil))
	if err == nil || strings.Contains(err.Error(), misplaced) || !strings.Contains(err.Error(), "token_file: no such file") {
		t.Errorf("token_file: %v", err)
	}
}
