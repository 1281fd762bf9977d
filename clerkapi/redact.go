package clerkapi

import (
	"regexp"
	"strings"
	"unicode"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// secrets has the prefix of each with what may follow it: a key is printable ASCII,
// so that "sk_test_…" in a message is none.
var secrets = regexp.MustCompile(`sk_(test|live)_[!-~]\S*|(whsec|cgt)_[!-~]\S*`)

// Redact replaces Clerk's secret keys, webhook secrets and callers' tokens in s by
// "[redacted]".
// Text that others wrote must pass through it before it is logged or shown.
func Redact(s string) string {
	return secrets.ReplaceAllString(s, redacted)
}

// clean makes text of others fit for a message: redacted, valid UTF-8 on one
// line without control characters, and at most limit runes long.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Redact(s)) // before a space can part a secret in two
	s = strings.TrimSpace(s)
	runes := 0
	for i := range s {
		if runes == limit {
			return s[:i] + "…"
		}
		runes++
	}
	return s
}
