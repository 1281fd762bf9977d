package caller

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller/callertest"
)

// TestOddTokens shows JSON Web Tokens with odd headers and claims. Only those that the issuer
// signed, for the audience and at this time, are anybody's.
func TestOddTokens(t *testing.T) {
	issuer := callertest.NewIssuer(t)
	set := parse(t, fmt.Sprintf(oneIssuer, issuer.URL))
	hour, soon := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Second).Unix()
	encodeJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	claims := map[string]any{"iss": issuer.URL, "aud": "clerkgate", "sub": "x", "exp": hour}
	with := func(more map[string]any) string { return issuer.Token("clerkgate", "x", more) }
	// raw returns a token whose claims are text, under a header.
	raw := func(header map[string]any, payload string) string {
		return encodeJSON(header) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AAAA"
	}
	hs256 := func(secret string) string {
		text := encodeJSON(map[string]any{"alg": "HS256", "kid": "key-1"}) + "." + encodeJSON(claims)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	own := issuer.NewKey()
	point, err := own.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk := map[string]any{
		"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	signed := func(header map[string]any) string {
		all := map[string]any{"alg": "ES256"}
		maps.Copy(all, header)
		return issuer.Sign(all, claims, own)
	}
	for name, tt := range map[string]struct{ token, want string }{
		"as it should be":             {with(nil), "x"},
		"several audiences":           {with(map[string]any{"aud": []string{"other", "clerkgate"}}), "x"},
		"no audience of ours":         {with(map[string]any{"aud": []string{"other"}}), "bad_jwt"},
		"audiences that are none":     {with(map[string]any{"aud": []any{1, "clerkgate"}}), "bad_jwt"},
		"a prefix of the audience":    {with(map[string]any{"aud": "clerk"}), "bad_jwt"},
		"no audience":                 {with(map[string]any{"aud": nil}), "bad_jwt"},
		"a subject that is a number":  {with(map[string]any{"sub": 1}), "bad_jwt"},
		"a subject in another case":   {with(map[string]any{"sub": "X"}), "unknown_identity"},
		"no subject":                  {with(map[string]any{"sub": nil}), "unknown_identity"},
		"no end":                      {with(map[string]any{"exp": nil}), "bad_jwt"},
		"an end of 0":                 {with(map[string]any{"exp": 0}), "expired_token"},
		"a negative end":              {with(map[string]any{"exp": -1}), "expired_token"},
		"an end a second ago":         {with(map[string]any{"exp": soon}), "expired_token"},
		"an end with a fraction":      {with(map[string]any{"exp": float64(hour) + 0.5}), "x"},
		"an end that is no number":    {with(map[string]any{"exp": "tomorrow"}), "bad_jwt"},
		"an end that is true":         {with(map[string]any{"exp": true}), "bad_jwt"},
		"an end in 30,000 years":      {with(map[string]any{"exp": int64(1) << 40}), "x"},
		"an end beyond all":           {with(map[string]any{"exp": math.MaxInt64}), "expired_token"},
		"not before tomorrow":         {with(map[string]any{"nbf": time.Now().Add(24 * time.Hour).Unix()}), "bad_jwt"},
		"not before in a minute":      {with(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}), "x"}, // clocks differ
		"not before, and no number":   {with(map[string]any{"nbf": "x"}), "bad_jwt"},
		"issued tomorrow":             {with(map[string]any{"iat": time.Now().Add(24 * time.Hour).Unix()}), "x"},
		"an issuer with a slash":      {with(map[string]any{"iss": issuer.URL + "/"}), "bad_jwt"},
		"an issuer in upper case":     {with(map[string]any{"iss": strings.ToUpper(issuer.URL)}), "bad_jwt"},
		"an issuer that is a list":    {with(map[string]any{"iss": []string{issuer.URL}}), "malformed"},
		"no issuer":                   {with(map[string]any{"iss": nil}), "malformed"},
		"two issuers":                 {raw(map[string]any{"alg": "ES256", "kid": "key-1"}, `{"iss":"https://example.com","ISS":"`+issuer.URL+`"}`), "bad_jwt"},
		"60 KiB":                      {with(map[string]any{"long": strings.Repeat("x", 44<<10)}), "x"},
		"more than 64 KiB":            {with(map[string]any{"long": strings.Repeat("x", 64<<10)}), "malformed"},
		"deep claims":                 {with(map[string]any{"deep": json.RawMessage(strings.Repeat("[", 4000) + strings.Repeat("]", 4000))}), "x"},
		"deep claims without an end":  {raw(map[string]any{"alg": "ES256"}, strings.Repeat(`{"iss":`, 1500)), "malformed"},
		"claims that are a list":      {raw(map[string]any{"alg": "ES256"}, `["`+issuer.URL+`"]`), "malformed"},
		"two parts":                   {strings.Join(strings.Split(with(nil), ".")[:2], "."), "malformed"},
		"five parts":                  {with(nil) + ".a.b", "malformed"},
		"spaces":                      {strings.Replace(with(nil), ".", ". ", 1), "malformed"},
		"padding":                     {strings.Replace(with(nil), ".", "=.", 2), "malformed"},
		"no signature":                {with(nil)[:strings.LastIndexByte(with(nil), '.')+1], "bad_jwt"},
		"none":                        {raw(map[string]any{"alg": "none"}, `{"iss":"`+issuer.URL+`","aud":"clerkgate","sub":"x","exp":9999999999}`), "bad_jwt"},
		"None":                        {raw(map[string]any{"alg": "None"}, `{"iss":"`+issuer.URL+`","aud":"clerkgate","sub":"x","exp":9999999999}`), "bad_jwt"},
		"HS256 without a key":         {hs256(""), "bad_jwt"},
		"HS256 with the public key":   {hs256(encodeJSON(jwk)), "bad_jwt"},
		"a key in the header":         {signed(map[string]any{"jwk": jwk}), "bad_jwt"},
		"a URL of keys in the header": {signed(map[string]any{"jku": "http://127.0.0.1:1/keys", "kid": "key-1"}), "bad_jwt"},
		"a path as the id":            {signed(map[string]any{"kid": "../../etc/passwd"}), "bad_jwt"},
		"no id":                       {signed(nil), "bad_jwt"},
		"a critical extension":        {issuer.Sign(map[string]any{"alg": "ES256", "kid": "key-1", "crit": []string{"x"}, "x": 1}, claims, own), "bad_jwt"},
	} {
		if got := reasonOf(t, set, &Credentials{Authorization: "Bearer " + tt.token}); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
