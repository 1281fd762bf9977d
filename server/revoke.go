package server

import (
	"context"
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/internal/caller"
)

// errCallerChanged ends a stream that would not be served in the same way if it began now.
var errCallerChanged = errors.New("the caller's credentials or permissions have changed")

// checkEvery is how often the callers of open streams are identified again. It is soon after
// their tokens expire, and rare enough for many streams of callers with JSON Web Tokens.
const checkEvery = time.Minute

// ownStream is an open stream of a caller in the callers file.
type ownStream struct {
	ctx context.Context           // of the call, with its credentials
	who *caller.Caller            // as the file had it when the stream began
	may func(*caller.Caller) bool // whether a caller may have this stream
	end context.CancelCauseFunc
}

// enter counts a stream of the context's caller until leave is called. The stream must use the
// returned context. It ends, with the cause errCallerChanged, when the caller is no longer
// the same, or may no longer have the stream.
func (g *guard) enter(ctx context.Context, may func(*caller.Caller) bool) (entered context.Context, leave func(), err error) {
	who := admitted(ctx)
	if who == nil {
		return ctx, func() {}, nil
	}
	s := &ownStream{ctx: ctx, who: who, may: may}
	entered, s.end = context.WithCancelCause(ctx)
	leave = func() {
		s.end(nil)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.streams[who.Name], s)
		if len(g.streams[who.Name]) == 0 {
			delete(g.streams, who.Name)
		}
	}
	if err := g.register(s); err != nil {
		s.end(nil)
		return nil, nil, err
	}
	// The file may have changed since the caller was identified, and endChanged may have run.
	if !g.same(s) {
		leave()
		return nil, nil, errCallerChanged
	}
	return entered, leave, nil
}

// register adds a stream, unless its caller has as many as it may.
func (g *guard) register(s *ownStream) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.streams[s.who.Name]
	if s.who.Streams > 0 && len(own) >= s.who.Streams {
		return errOwnStreams
	}
	if own == nil {
		own = make(map[*ownStream]struct{})
		g.streams[s.who.Name] = own
	}
	own[s] = struct{}{}
	return nil
}

// same reports whether a stream would be served in the same way if it began now. While an
// issuer can't be asked for its keys, the streams of its callers go on.
func (g *guard) same(s *ownStream) bool {
	now, err := g.recognize(s.ctx)
	if unknown, ok := errors.AsType[*caller.Error](err); ok && unknown.Reason == caller.IssuerAway {
		return true
	}
	return err == nil && now.Name == s.who.Name && now.FullView == s.who.FullView && now.Requests == s.who.Requests && s.may(now)
}

// run ends streams whose callers have changed, after each change of the callers file and from
// time to time, until ctx ends.
func (g *guard) run(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-g.changed:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		g.endChanged()
	}
}

// endChanged ends the streams whose callers have changed.
func (g *guard) endChanged() {
	var all []*ownStream
	g.mu.Lock()
	for _, own := range g.streams {
		for s := range own {
			all = append(all, s)
		}
	}
	g.mu.Unlock()
	ended := 0
	for _, s := range all {
		if !g.same(s) {
			s.end(errCallerChanged)
			ended++
		}
	}
	if ended > 0 {
		g.logger.Info("streams were ended: the credentials or permissions of their callers have changed", "streams", ended)
	}
}

// changeCause returns errCallerChanged if that has ended the stream of ctx with an error.
func changeCause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errCallerChanged) {
		return errCallerChanged
	}
	return err
}
