package clerkapi

import (
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// ListParams says which users ListUsers is to give.
type ListParams struct {
	Filter        *clerkgatev1.UserFilter // nil: everybody
	OrderBy       string                  // Clerk's own form; empty: "-created_at"
	Limit         int                     // 1 to 500; always sent
	Offset        int                     // from 0; not with StartingAfter
	StartingAfter string                  // id of the last user of the page before; only with created_at orders
}
