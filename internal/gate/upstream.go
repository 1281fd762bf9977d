package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// upstream is Clerk's API. It is a *clerkapi.Client.
type upstream interface {
	LookupUsers(ctx context.Context, ids []string) (*clerkapi.Lookup, error)
	ListUsers(ctx context.Context, p clerkapi.ListParams) (*clerkapi.Page, error)
	CountUsers(ctx context.Context, f *clerkgatev1.UserFilter) (*clerkapi.Count, error)
}

// panicked logs a panic in reading an answer, and returns it as an error.
func (g *Gate) panicked(p any) error {
	g.cfg.Logger.Error("reading Clerk's answer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Err: errors.New("reading it panicked")}
}
