package clienttest

import (
	"context"
	"sync/atomic"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// trouble stands before a gate and fails in its place. Unlike faults of the simulated Clerk it
// begins and ends at once: it leaves no open breaker and no pause behind.
type trouble struct {
	*gate.Gate
	err atomic.Pointer[error] // nil: none
}

// set has all that follows fail with err; nil ends that.
func (t *trouble) set(err error) {
	if err == nil {
		t.err.Store(nil)
		return
	}
	t.err.Store(&err)
}

// now returns the error to fail with; nil means none.
func (t *trouble) now() error {
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (t *trouble) Lookup(ctx context.Context, ids []string, o gate.Options) []gate.Result {
	err := t.now()
	if err == nil {
		return t.Gate.Lookup(ctx, ids, o)
	}
	results := make([]gate.Result, len(ids))
	for i := range results {
		results[i].Err = err
	}
	return results
}

func (t *trouble) List(ctx context.Context, p clerkapi.ListParams, o gate.Options) (*gate.Page, error) {
	if err := t.now(); err != nil {
		return nil, err
	}
	return t.Gate.List(ctx, p, o)
}

func (t *trouble) Count(ctx context.Context, f *clerkgatev1.UserFilter, o gate.Options) (gate.Count, error) {
	if err := t.now(); err != nil {
		return gate.Count{}, err
	}
	return t.Gate.Count(ctx, f, o)
}

func (t *trouble) Acquire(ctx context.Context, r gate.LeaseRequest, o gate.Options) (gate.Lease, error) {
	if err := t.now(); err != nil {
		return gate.Lease{}, err
	}
	return t.Gate.Acquire(ctx, r, o)
}
