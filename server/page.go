package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/page"
	"github.com/clerkgate/clerkgate/internal/words"
)

// The methods that a caller must be allowed to call: to see the page, and to see the
// callers and the settings on it.
const (
	pageMethod  = "GetQuota"
	namesMethod = "GetUsage"
)

// newPage makes the page, nil if there is none.
func (s *Server) newPage() *page.Page {
	if s.cfg.Page == nil || s.cfg.HTTPListen == NoListener {
		return nil
	}
	sources := *s.cfg.Page
	sources.Gate, sources.Requests, sources.Cache, sources.Phase = s.cfg.Quota, s.cfg.Requests, s.cfg.Users, s.ready.life
	sources.Refusals, sources.Limits, sources.Files = s.Refusals, s.guard.limits, s.Files
	if s.cfg.Unauthenticated { // anybody on the network may look
		sources.Settings, sources.KeyPlace = nil, ""
	}
	return page.New(sources)
}

// viewed serves the page to those who may call pageMethod.
func (s *Server) viewed() http.Handler {
	handler := s.page.Handler(page.Access{Names: maySeeNames, Enter: s.enterView, Drain: s.edge.drain})
	return page.Secure(s.guard.http(handler, pageMethod+" among its methods", func(c *caller.Caller) bool { return c.May(pageMethod) }))
}

func maySeeNames(r *http.Request) bool {
	who := admitted(r.Context())
	return who == nil || who.May(namesMethod)
}

// enterView counts a viewer as a stream of the caller.
func (s *Server) enterView(r *http.Request) (ctx context.Context, leave func(), err error) {
	names := maySeeNames(r)
	ctx, leaveOwn, err := s.guard.enter(r.Context(), func(c *caller.Caller) bool { return c.May(pageMethod) && c.May(namesMethod) == names })
	if err != nil {
		return nil, nil, err
	}
	leaveAll, err := s.edge.streams.enter(identify(ctx))
	if err != nil {
		leaveOwn()
		return nil, nil, err
	}
	return ctx, func() { leaveAll(); leaveOwn() }, nil
}

// limits returns a caller's guarantee and limits in the callers file.
func (g *guard) limits(name string) page.Limits {
	who := g.named(name)
	if who == nil {
		return page.Limits{}
	}
	var caps []string
	for _, l := range []struct {
		limit caller.Limit
		what  string
	}{{who.Lookups, "lookup"}, {who.Requests, "request"}} {
		if l.limit.Count > 0 {
			caps = append(caps, fmt.Sprintf("%s per %s", words.Count(l.limit.Count, l.what, l.what+"s"), words.Per(l.limit.Window)))
		}
	}
	return page.Limits{Guaranteed: who.Guaranteed, Cap: strings.Join(caps, ", ")}
}
