package clerkapi

import (
	"errors"
	"regexp"
	"strings"
)

// assignment matches the start of a line in a file of environment variables.
var assignment = regexp.MustCompile(`^(export\s+)?[A-Z][A-Z0-9_]*\s*=`)

// CheckPlain returns an error if the text of a secret, from a file or variable, has
// something around it that is not part of it: a byte order mark, quotes, or the name of a
// variable. White space is allowed. The error shows none of the text.
func CheckPlain(text string) error {
	switch {
	case strings.ContainsRune(text, 0), strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		return errors.New("it is UTF-16 or binary, as some editors and PowerShell write: save it as plain UTF-8")
	case strings.HasPrefix(text, "\ufeff"):
		return errors.New("a byte order mark (BOM) stands before it: save it as UTF-8 without one")
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil
	case strings.ContainsAny(text[:1]+text[len(text)-1:], "\"'`"), strings.HasPrefix(text, "“"), strings.HasSuffix(text, "”"):
		return errors.New("it is in quotes: leave them out")
	case assignment.MatchString(text):
		return errors.New("the name of a variable and = stand before it: leave them out")
	}
	if scheme, _, ok := strings.Cut(text, " "); ok && strings.EqualFold(scheme, "bearer") {
		return errors.New("\"Bearer\" stands before it: leave it out")
	}
	return nil
}
