package caller

import (
	"slices"
	"time"
)

// Parts are parts of a user that only USER_VIEW_FULL shows.
type Parts uint8

// The parts.
const (
	PrivateMetadata Parts = 1 << iota // of the user
	Memberships                       // private metadata of memberships and their organizations
	Verifications                     // nonces, messages and URLs of verifications
	Extra                             // fields that the contract does not know
	AllParts        = PrivateMetadata | Memberships | Verifications | Extra
)

// partNames are the names of parts in the file.
var partNames = []struct {
	name string
	part Parts
}{
	{"private_metadata", PrivateMetadata}, {"memberships", Memberships},
	{"verifications", Verifications}, {"extra", Extra},
}

// Names returns the names of the parts.
func (p Parts) Names() []string {
	var names []string
	for _, n := range partNames {
		if p&n.part != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// Limit is a number per window. The zero Limit means no limit.
type Limit struct {
	Count  int
	Window time.Duration
}

// Caller is a caller and its permissions. It is immutable.
type Caller struct {
	Name string
	// Methods are the names of the methods that it may call, such as GetUser, sorted.
	Methods []string
	// FullView has the parts of users that it may see in USER_VIEW_FULL. 0: the view is
	// refused.
	FullView Parts
	// BatchOnly reports whether all its calls have batch priority.
	BatchOnly bool
	// Streams is the maximum of its open streams; 0: the limit of all callers.
	Streams int
	// Weight is its weight in turns at the quota, at least 1.
	Weight int
	// Guaranteed is the part of all requests to Clerk, in percent, that it has at least
	// while it wants that many; 0: none.
	Guaranteed int
	// Lookups limits the ids that it may look up, Requests the requests to Clerk that it
	// causes by itself: pages of lists and streams, counts, permits. Both are for all
	// replicas together.
	Lookups, Requests Limit
	// Metrics allows /metrics, Pprof the profiles.
	Metrics, Pprof bool
}

// May reports whether the caller may call a method.
func (c *Caller) May(method string) bool {
	_, found := slices.BinarySearch(c.Methods, method)
	return found
}
