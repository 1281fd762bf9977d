package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/usercache"
)

// maxBatch is the largest number of ids in a batch: those of one request to Clerk.
const maxBatch = clerkapi.MaxLookup

func (s *userService) BatchGetUsers(ctx context.Context, req *clerkgatev1.BatchGetUsersRequest) (*clerkgatev1.BatchGetUsersResponse, error) {
	o, err := s.lookupArgs(ctx, req)
	if err != nil {
		return nil, err
	}
	ids := req.GetUserIds()
	if len(ids) == 0 || len(ids) > maxBatch {
		return nil, invalid("user_ids", fmt.Sprintf("must hold 1 to %d ids", maxBatch))
	}

	answers := s.lookup(ctx, ids, o)
	failures := make([]failure, len(ids))
	for i, id := range ids {
		switch r, ok := answers[id]; {
		case !ok:
			failures[i] = classify(invalid(fmt.Sprintf("user_ids[%d]", i), userIDForm))
		case r.Err != nil:
			failures[i] = classify(r.Err)
		}
	}
	if i := callFailure(failures); i >= 0 {
		return nil, answers[ids[i]].Err
	}

	now := time.Now()
	results := make([]*clerkgatev1.LookupResult, len(ids))
	for i, id := range ids {
		r := answers[id]
		results[i] = &clerkgatev1.LookupResult{UserId: id}
		switch {
		case r.Err == nil && r.Entry != nil:
			if err := putUser(results[i], userOfResult, r.Entry, o.View, partsOf(ctx)); err != nil {
				return nil, err
			}
			results[i].Freshness = freshness(r, now)
		default:
			results[i].Result = &clerkgatev1.LookupResult_Error{Error: failures[i].lookupError()}
			if errors.Is(r.Err, clerkapi.ErrNotFound) && r.Entry != nil {
				results[i].Freshness = freshness(r, now)
			}
		}
	}
	fitResults(results, maxAnswer)
	return &clerkgatev1.BatchGetUsersResponse{Results: results}, nil
}

// lookup returns the results of the valid ids.
func (s *userService) lookup(ctx context.Context, ids []string, o usercache.Options) map[string]usercache.Result {
	answers := make(map[string]usercache.Result, len(ids))
	wanted := make([]string, 0, len(ids))
	for _, id := range ids {
		if _, seen := answers[id]; !seen && clerkapi.ValidUserID(id) {
			answers[id] = usercache.Result{}
			wanted = append(wanted, id)
		}
	}
	if len(wanted) == 0 {
		return answers
	}
	if err := s.guard.spendLookups(ctx, len(wanted)); err != nil {
		for _, id := range wanted {
			answers[id] = usercache.Result{Err: err}
		}
		return answers
	}
	results := s.users.Lookup(ctx, wanted, o)
	traceLookup(ctx, results)
	for i, r := range results {
		if r.Err != nil {
			r.Err = stopCause(ctx, r.Err)
		}
		answers[wanted[i]] = r
	}
	return answers
}

// callFailure returns the index of the failure that fails the whole call, or -1 if an id
// has an answer or a failure is the id's own. It is the most frequent reason, of these
// the earliest, and of this reason the one with the longest time to retry.
func callFailure(failures []failure) int {
	count := make(map[clerkgatev1.ErrorReason]int)
	for _, f := range failures {
		if f.code == codes.OK || f.ofOneID() {
			return -1
		}
		count[f.reason]++
	}
	found := 0
	for i, f := range failures {
		switch most := failures[found]; {
		case count[f.reason] > count[most.reason],
			f.reason == most.reason && f.retry > most.retry:
			found = i
		}
	}
	return found
}

// unmetBatch returns what the log shows of a batch that was answered although each of
// its ids failed: the most frequent failure, of these the earliest. It returns nil for
// all other answers.
func unmetBatch(resp any) *failure {
	batch, ok := resp.(*clerkgatev1.BatchGetUsersResponse)
	if !ok {
		return nil
	}
	count := make(map[clerkgatev1.ErrorReason]int)
	var found *clerkgatev1.LookupError
	for _, r := range batch.GetResults() {
		e := r.GetError()
		if e == nil {
			return nil
		}
		count[e.GetReason()]++
	}
	for _, r := range batch.GetResults() {
		if e := r.GetError(); found == nil || count[e.GetReason()] > count[found.GetReason()] {
			found = e
		}
	}
	if found == nil {
		return nil
	}
	return &failure{code: codes.Code(found.GetCode()), reason: found.GetReason()}
}

// fitResults replaces users that do not fit into limit bytes with errors. Earlier ids are
// kept first.
func fitResults(results []*clerkgatev1.LookupResult, limit int) {
	leftOver, tooLarge := classify(errAnswerTooLarge).lookupError(), classify(errUserTooLarge).lookupError()
	errs := make([]*clerkgatev1.LookupResult, len(results))
	total := 0
	for i, r := range results {
		errs[i] = &clerkgatev1.LookupResult{
			UserId: r.UserId, Result: &clerkgatev1.LookupResult_Error{Error: leftOver},
		}
		if fieldSize(r) > limit { // it would not fit alone either
			errs[i].Result = &clerkgatev1.LookupResult_Error{Error: tooLarge}
		}
		if !hasUser(r) {
			errs[i] = r
		}
		total += fieldSize(errs[i])
	}
	for i, r := range results {
		if grown := total - fieldSize(errs[i]) + fieldSize(r); grown <= limit {
			total = grown
		} else {
			results[i] = errs[i]
		}
	}
}

// fieldSize returns the size of m as an element of a repeated field with a number below
// 16.
func fieldSize(m proto.Message) int { return 1 + protowire.SizeBytes(proto.Size(m)) }
