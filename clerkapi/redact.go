package clerkapi

import (
	"regexp"
	"strings"
	"unicode"
)

// redacted replaces a secret.
const redacted = "[redacted]"

// secrets matches each prefix of a secret with what may follow. A key is printable ASCII,
// so "sk_test_…" in a message is not one.
var secrets = regexp.MustCompile(`sk_(test|live)_[!-~]\S*|(whsec|cgt)_[!-~]\S*`)

// closing may close what a secret stands in, such as a quotation. It stays, so that the text
// around a secret can still be read.
const closing = "\"'`)]}>,.;:"

// Redact replaces Clerk's secret keys, webhook secrets and callers' tokens in s with
// "[redacted]". Text from outside must pass through Redact or Clean before it is logged or
// shown.
func Redact(s string) string {
	return secrets.ReplaceAllStringFunc(s, func(secret string) string {
		return redacted + secret[len(strings.TrimRight(secret, closing)):]
	})
}

// Clean makes text from outside fit for a log line, an error or a terminal: without secrets,
// valid UTF-8 on one line without control characters, and at most limit runes long. A limit
// of 0 means no limit.
func Clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Redact(s)) // before a space can part a secret in two
	s = strings.TrimSpace(s)
	if limit <= 0 {
		return s
	}
	runes := 0
	for i := range s {
		if runes == limit {
			return s[:i] + "…"
		}
		runes++
	}
	return s
}
