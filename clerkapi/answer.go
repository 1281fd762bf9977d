package clerkapi

import (
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// RateLimit is what the X-RateLimit headers of an answer say. Clerk documents
// none of them, so most answers carry the zero value.
type RateLimit struct {
	Present   bool          // whether all three headers came and could be read
	Limit     int           // requests per window
	Remaining int           // requests left in the window
	Reset     time.Duration // time until the window resets
}

// Meta is what an answer says beside its body.
type Meta struct {
	TraceID   string // Clerk's trace id, empty if none came
	RateLimit RateLimit
	Answered  time.Time // when its first byte came, so that the request had arrived; zero if that is not known
}

// UserResult is what became of one id that was looked up: either User or Err is set.
type UserResult struct {
	User *clerkgatev1.User // shared: never to be changed
	// Err is ErrNotFound if Clerk has no such user, and wraps ErrUnreadable if the
	// user can't be read, and ErrBadAnswer if it is not known who is meant.
	Err error
	// Unclear: the answer may hold this user, but not so that it can be known. A
	// lookup of the id alone tells.
	Unclear bool
}

// Lookup is the answer to LookupUsers.
type Lookup struct {
	Results []UserResult // one per id, in the order asked
	Meta    Meta
}

// Page is the answer to ListUsers.
type Page struct {
	Users      []*clerkgatev1.User // shared: never to be changed
	Unreadable []Unreadable        // who else is on the page
	Meta       Meta
}

// Entries is how many users Clerk's page has, those that can't be read included.
func (p *Page) Entries() int { return len(p.Users) + len(p.Unreadable) }

// Unreadable is a user of a page who can't be read.
type Unreadable struct {
	ID    string // empty if it can't be read
	After int    // how many of Page.Users come before
	Err   error  // why; it holds nothing of the user's but names of fields
}

// Count is the answer to CountUsers.
type Count struct {
	Total int64
	Meta  Meta
}
