package clerkapi

import (
	"time"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// RateLimit holds the X-RateLimit headers of an answer. Clerk documents none of them, so
// most answers have the zero value.
type RateLimit struct {
	Present   bool          // whether all three headers were present and valid
	Limit     int           // requests per window
	Remaining int           // requests left in the window
	Reset     time.Duration // time until the window resets
}

// Meta holds the parts of an answer outside its body.
type Meta struct {
	TraceID   string // Clerk's trace id; empty if none was sent
	RateLimit RateLimit
	Answered  time.Time // when its first byte arrived, and so a time after the request's arrival; zero if unknown
}

// UserResult is the result for one id of a lookup. Either User or Err is set.
type UserResult struct {
	User *clerkgatev1.User // shared; must not be modified
	// Err is ErrNotFound if Clerk has no such user. It wraps ErrUnreadable if the user
	// can't be decoded, and ErrBadAnswer if the answer has a user without a readable id,
	// who may be this one.
	Err error
	// Unclear reports that the answer may contain this user, but it can't be identified.
	// Look the id up alone.
	Unclear bool
}

// Lookup is the answer to LookupUsers.
type Lookup struct {
	Results []UserResult // one per id, in the order of the ids
	Meta    Meta
}

// Page is the answer to ListUsers.
type Page struct {
	Users      []*clerkgatev1.User // shared; must not be modified
	Unreadable []Unreadable        // the other users of the page
	Meta       Meta
}

// Entries returns the number of users on Clerk's page, including unreadable ones.
func (p *Page) Entries() int { return len(p.Users) + len(p.Unreadable) }

// Unreadable is a user of a page that can't be decoded.
type Unreadable struct {
	ID    string // empty if it can't be decoded
	After int    // the number of Page.Users before this user
	Err   error  // the reason; it contains nothing of the user but names of fields
}

// Count is the answer to CountUsers.
type Count struct {
	Total int64
	Meta  Meta
}
