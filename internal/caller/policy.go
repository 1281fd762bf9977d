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
	Extra                             // fields of Clerk's that the contract does not know
	AllParts        = PrivateMetadata | Memberships | Verifications | Extra
)

// partNames are the parts as the file names them.
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

// Limit is a number in a window. The zero Limit is none.
type Limit struct {
	Count  int
	Window time.Duration
}

// Caller is a caller and what it may do. It is never changed.
type Caller struct {
	Name string
	// Methods are the names of the methods that it may call, such as GetUser, sorted.
	Methods []string
	// FullView are the parts of users that it may see. 0: USER_VIEW_FULL is refused.
	FullView Parts
	// BatchOnly has all its calls wait at priority batch.
	BatchOnly bool
	// Streams is how many streams it may have open at once; 0: as many as any caller.
	Streams int
	// Weight is its share of the turns at the quota, in proportion to those of others. At
	// least 1.
	Weight int
	// Lookups bounds the ids that it may look up, Requests what costs a request to Clerk by
	// itself: pages of lists and streams, counts, permits. Both are of all replicas together.
	Lookups, Requests Limit
	// Metrics lets it read /metrics, Pprof the profiles.
	Metrics, Pprof bool
}

// May reports whether the caller may call a method.
func (c *Caller) May(method string) bool {
	_, found := slices.BinarySearch(c.Methods, method)
	return found
}
