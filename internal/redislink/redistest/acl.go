package redistest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// aclLine matches the command in docs/operations.md that gives a user its rights.
var aclLine = regexp.MustCompile(`(?m)^redis-cli (ACL SETUSER clerkgate .*)$`)

// DocumentedUser creates the user of docs/operations.md, which is at path, and returns a
// URL with it.
func (s *Server) DocumentedUser(t testing.TB, path string) (url string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := aclLine.FindStringSubmatch(strings.ReplaceAll(string(text), " \\\n  ", " "))
	if found == nil {
		t.Fatalf("%s has no line for redis-cli ACL SETUSER", path)
	}
	if got := s.Ask(strings.NewReplacer("'", "", "PASSWORD", "secret").Replace(found[1])); got != "+OK" {
		t.Fatalf("%s gives %s", found[1], got)
	}
	return "redis://clerkgate:secret@" + s.Addr()
}
