package leaktest

import (
	"strings"
	"testing"
)

// TestSecretsAreFound looks for secrets of each form, and for one that was made known.
func TestSecretsAreFound(t *testing.T) {
	const password = "redispassword1"
	for text, found := range map[string]bool{
		"key sk_test_abcd1234":                                  true,
		`"sk_live_abcd"`:                                        true,
		"signed with whsec_c2ltdWxhdGVk":                        true,
		"Bearer cgt_" + strings.Repeat("a-_", 14):               true,
		"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeW5jIn0.c2ln…":        false,
		"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeW5jIn0.c2lnbmF0dXJl": true,
		"-----BEGIN PRIVATE KEY-----":                           true,
		"redis://:redispassword1@127.0.0.1":                     true,
		"want sk_test_… or sk_live_…, not sk_test_[redacted]":   false,
		"whsec_… and cgt_…, as [redacted]":                      false,
		"-----BEGIN CERTIFICATE-----":                           false,
	} {
		w := newWatch()
		w.secrets[password] = "Redis's password"
		w.saw(Log, text)
		var out strings.Builder
		if clean := w.report(&out, true, []Kind{Log}); clean == found {
			t.Errorf("%q: clean is %t\n%s", text, clean, &out)
		}
	}
}

// TestKindsAreNeeded: a hook that is not in use any more is noticed, when all tests run.
func TestKindsAreNeeded(t *testing.T) {
	w := newWatch()
	w.saw(Log, "x")
	var out strings.Builder
	if w.report(&out, true, []Kind{Log, Span}) || !strings.Contains(out.String(), `"span"`) {
		t.Errorf("no spans are fine: %s", &out)
	}
	if !w.report(&out, false, []Kind{Log, Span}) {
		t.Error("some tests must show all kinds")
	}
}
