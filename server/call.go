package server

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// Keys of the request metadata.
const (
	callerKey   = "clerkgate-caller"
	priorityKey = "clerkgate-priority"
)

// maxNameLen is the maximum length of the name of a caller or a call, in bytes.
const maxNameLen = 64

// optionsKey is the context key of the call's gate.Options.
type optionsKey struct{}

// withOptions returns a context with the call's options, which it also records in the call's
// span.
func withOptions(ctx context.Context) (context.Context, error) {
	o, err := readOptions(ctx)
	if err != nil {
		return nil, err
	}
	traceOptions(ctx, o)
	return context.WithValue(ctx, optionsKey{}, o), nil
}

// readOptions reads the caller and the priority from the metadata. For an identified
// caller, the callers file decides both. Without a callers file, a caller's name appears
// in statistics only if it comes from this machine.
func readOptions(ctx context.Context) (o gate.Options, err error) {
	name, err := singleOf(ctx, callerKey)
	if err != nil {
		return o, err
	}
	if !validName(name) {
		return o, invalid(callerKey, "must be at most 64 characters of letters, digits, '.', '_', '-', '/' and ':'")
	}
	if clerkapi.Redact(name) != name {
		return o, invalid(callerKey, "must be a name, not a secret")
	}
	o.Party = gate.Party{Peer: turnsOf(ctx), Name: name}
	if onLoopback(ctx) {
		o.Caller = name
	}
	priority, err := singleOf(ctx, priorityKey)
	if err != nil {
		return o, err
	}
	switch priority {
	case "", "interactive":
	case "batch":
		o.Priority = gate.Batch
	default:
		return o, invalid(priorityKey, "must be 'interactive' or 'batch'")
	}
	if who := admitted(ctx); who != nil {
		o.Caller, o.Party = who.Name, gate.Party{Peer: who.Name}
		if who.BatchOnly {
			o.Priority = gate.Batch
		}
	}
	return o, nil
}

// turnsOf returns the peer whose turns the call uses: its address, or "" for all peers on
// this machine.
func turnsOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || onLoopback(ctx) {
		return ""
	}
	if address := addressOf(p.Addr); address.IsValid() {
		return address.String()
	}
	return ""
}

// singleOf is single for a call's metadata, without copying the rest.
func singleOf(ctx context.Context, key string) (string, error) {
	return single(metadata.MD{key: metadata.ValueFromIncomingContext(ctx, key)}, key)
}

// single returns the single value of a metadata key, or "".
func single(md metadata.MD, key string) (string, error) {
	switch values := md.Get(key); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", invalid(key, "must be given once")
}

// validName reports whether name is a valid name of a caller or a call. "" is valid.
func validName(name string) bool {
	if len(name) > maxNameLen {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '/', c == ':':
		default:
			return false
		}
	}
	return true
}

// optionsOf returns the options that withOptions has stored.
func optionsOf(ctx context.Context) gate.Options {
	o, _ := ctx.Value(optionsKey{}).(gate.Options)
	return o
}

// checkDuration returns an error if a duration is negative or invalid.
func checkDuration(field string, d *durationpb.Duration) error {
	if d.CheckValid() != nil {
		return invalid(field, "must be a valid duration")
	}
	if d.AsDuration() < 0 {
		return invalid(field, "must not be negative")
	}
	return nil
}

// checkMaxAge checks a max_age, which may be unset.
func checkMaxAge(d *durationpb.Duration) error {
	if d == nil {
		return nil
	}
	return checkDuration("max_age", d)
}

// lookupArgs checks the common arguments of lookups and returns their options.
func (s *userService) lookupArgs(ctx context.Context, req interface {
	GetView() clerkgatev1.UserView
	GetMaxAge() *durationpb.Duration
	GetMinUpdatedAt() *timestamppb.Timestamp
}) (o usercache.Options, err error) {
	o.Options = optionsOf(ctx)
	if o.View, err = s.checkView(ctx, req.GetView()); err != nil {
		return o, err
	}
	if err := checkMaxAge(req.GetMaxAge()); err != nil {
		return o, err
	}
	if req.GetMaxAge() != nil {
		age := req.GetMaxAge().AsDuration()
		o.MaxAge = &age
	}
	if at := req.GetMinUpdatedAt(); at != nil {
		if at.CheckValid() != nil || at.AsTime().Unix() < 0 {
			return o, invalid("min_updated_at", "must be a time from 1970 to 9999")
		}
		o.MinUpdatedAt = at.AsTime()
	}
	return o, nil
}
