package server

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
	"github.com/clerkgate/clerkgate/internal/telemetry"
	"github.com/clerkgate/clerkgate/internal/usage"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// keeper reports the quota and lends permits; *gate.Gate implements it.
type keeper interface {
	Status() gate.Status
	Health() gate.Health
	SetShares(shares map[string]gate.Share)
	Acquire(ctx context.Context, r gate.LeaseRequest, o gate.Options) (gate.Lease, error)
	Release(ctx context.Context, id string, use gate.LeaseUse) error
}

// requests counts requests to Clerk; *telemetry.GateObserver implements it.
type requests interface{ Stats() telemetry.GateStats }

// counter counts answers by source; *usercache.Cache implements it.
type counter interface {
	Totals() usercache.Totals
}

// invalidator drops copies of users; *usercache.Cache implements it.
type invalidator interface {
	Invalidate(ctx context.Context, ids []string) error
}

// quotaService implements clerkgate.v1.QuotaService.
type quotaService struct {
	clerkgatev1.UnimplementedQuotaServiceServer
	quota  keeper
	sent   requests
	totals counter
	users  invalidator
	feed   *quotaFeed // for watchers
	guard  *guard     // see userService
	// unauthenticated: see Config.
	unauthenticated bool
}

func (s *quotaService) GetQuota(context.Context, *clerkgatev1.GetQuotaRequest) (*clerkgatev1.GetQuotaResponse, error) {
	return &clerkgatev1.GetQuotaResponse{Quota: s.read()}, nil
}

func (s *quotaService) GetUsage(context.Context, *clerkgatev1.GetUsageRequest) (*clerkgatev1.GetUsageResponse, error) {
	resp := usageOf(s.quota.Status().Callers, s.sent.Stats().Totals(), s.totals.Totals())
	now := time.Now()
	for _, c := range resp.Callers {
		if who := s.guard.named(c.GetName()); who != nil {
			s.guard.describe(c, who, now)
		}
	}
	return resp, nil
}

// read returns the current state.
func (s *quotaService) read() *clerkgatev1.Quota {
	q := quotaOf(s.quota.Status())
	q.Unauthenticated = s.unauthenticated
	return q
}

// breakerStates maps states to the contract's.
var breakerStates = map[gate.BreakerState]clerkgatev1.Breaker_State{
	gate.Closed:   clerkgatev1.Breaker_STATE_CLOSED,
	gate.HalfOpen: clerkgatev1.Breaker_STATE_HALF_OPEN,
	gate.Open:     clerkgatev1.Breaker_STATE_OPEN,
}

// deciders maps deciders to the contract's.
var deciders = map[quota.Decider]clerkgatev1.SharedQuota_Decider{
	quota.DecidesState:    clerkgatev1.SharedQuota_DECIDER_REDIS,
	quota.DecidesLearning: clerkgatev1.SharedQuota_DECIDER_LEARNING,
	quota.DecidesFallback: clerkgatev1.SharedQuota_DECIDER_FALLBACK,
}

// quotaOf returns a status as a message.
func quotaOf(s gate.Status) *clerkgatev1.Quota {
	q := &clerkgatev1.Quota{
		Limit:          int32(s.Limit),
		Window:         durationpb.New(s.Window),
		Burst:          int32(s.Burst),
		EffectiveLimit: int32(s.EffectiveLimit),
		Available:      int32(s.Available),
		Held:           int32(s.Held),
		InFlight:       int32(s.InFlight),
		InFlightLimit:  int32(s.InFlightLimit),
		Leased:         int32(s.Leased),
		PausedUntil:    timestamp(s.PausedUntil),
		Queue: &clerkgatev1.Queue{
			Interactive:   queueLevel(s.Queue[gate.Interactive]),
			Batch:         queueLevel(s.Queue[gate.Batch]),
			EstimatedWait: durationpb.New(s.EstimatedWait),
		},
		Breaker: &clerkgatev1.Breaker{
			State:       breakerStates[s.Breaker.State],
			Since:       timestamp(s.Breaker.Since),
			TimesOpened: s.Breaker.TimesOpened,
		},
		Key: &clerkgatev1.Key{State: keyState(s)},
	}
	if u := s.Upstream; u != nil {
		q.Upstream = &clerkgatev1.UpstreamQuota{
			Limit: int32(u.Limit), Remaining: int32(u.Remaining),
			ResetTime: timestamp(u.Reset), ObserveTime: timestamp(u.Observed),
		}
	}
	if sh := s.Shared; sh != nil {
		q.Shared = &clerkgatev1.SharedQuota{
			Decider: deciders[sh.Decider], Replicas: int32(sh.Replicas),
			Allowance: int32(sh.Allowance), LastReplyTime: timestamp(sh.LastReply),
		}
	}
	return q
}

// keyState returns the state of the key.
func keyState(s gate.Status) clerkgatev1.Key_State {
	switch {
	case s.KeyRefused:
		return clerkgatev1.Key_STATE_REFUSED
	case s.KeyTaken:
		return clerkgatev1.Key_STATE_ACCEPTED
	}
	return clerkgatev1.Key_STATE_UNPROVEN
}

// usageOf returns the use of the quota.
func usageOf(callers usage.Report, sent telemetry.Totals, t usercache.Totals) *clerkgatev1.GetUsageResponse {
	u := &clerkgatev1.GetUsageResponse{
		Totals: &clerkgatev1.Totals{
			UpstreamRequests:    sent.Requests,
			UpstreamRateLimited: sent.RateLimited,
			Retries:             sent.Retries,
			UsersPerRequest:     sent.UsersPerRequest,
		},
	}
	for _, place := range slices.Sorted(maps.Keys(t.Lookups)) {
		u.Totals.Lookups = append(u.Totals.Lookups, &clerkgatev1.LookupCount{ServedFrom: place, Count: t.Lookups[place]})
	}
	for _, c := range callers.Busiest {
		u.Callers = append(u.Callers, callerOf(c))
	}
	if callers.Others != (usage.Counts{}) {
		u.OtherCallers = callerOf(callers.Others)
	}
	return u
}

func callerOf(c usage.Counts) *clerkgatev1.Caller {
	return &clerkgatev1.Caller{
		Name: c.Name, Lookups: c.Lookups, UpstreamShare: c.Requests, Queued: int32(c.Queued), Refused: c.Refused, OverLimit: c.OverLimit,
	}
}

// describe adds to c the caller's guarantee and limits in the callers file, and the rest of
// its limits.
func (g *guard) describe(c *clerkgatev1.Caller, who *caller.Caller, now time.Time) {
	bucket := func(limit caller.Limit, name string, least int) *clerkgatev1.CallerBucket {
		if limit.Count == 0 {
			return nil
		}
		size, left := g.bucket(name, limit, least, now)
		return &clerkgatev1.CallerBucket{Size: int32(size), Available: int32(left)}
	}
	c.GuaranteedPercent = int32(who.Guaranteed)
	c.MaxLookups, c.MaxRequests = limitOf(who.Lookups), limitOf(who.Requests)
	name, least := lookupsMeter(who)
	c.LookupsBucket = bucket(who.Lookups, name, least)
	name, least = requestsMeter(who)
	c.RequestsBucket = bucket(who.Requests, name, least)
}

func queueLevel(l gate.QueueLevel) *clerkgatev1.QueueLevel {
	level := &clerkgatev1.QueueLevel{Depth: int32(l.Depth)}
	if l.Depth > 0 {
		level.OldestWait = durationpb.New(l.Oldest)
	}
	return level
}

// timestamp returns nil for a zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
