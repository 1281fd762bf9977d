package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// check compares all figures of the server's with the simulator's and the callers'.
func (w *watched) check() {
	w.t.Helper()
	m, clerk := w.settled(), w.stats()
	used, err := w.quota.GetUsage(w.t.Context(), &clerkgatev1.GetUsageRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	totals := used.Totals
	equal := func(what string, got, want float64) {
		w.t.Helper()
		if got != want {
			w.t.Errorf("%s: %v, want %v", what, got, want)
		}
	}

	const requests = "clerkgate_upstream_requests_total"
	equal("requests", m.sum(requests), float64(clerk.Requests))
	equal("requests, by GetQuota", float64(totals.UpstreamRequests), float64(clerk.Requests))
	equal("requests whose time was taken", m.sum("clerkgate_upstream_request_duration_seconds_count"), float64(clerk.Requests))
	equal("requests that were not sent", m.sum("clerkgate_upstream_requests_unsent_total"), 0)

	// By endpoint, and by status where it tells the outcome.
	asked := map[string]float64{}
	byStatus := map[string]float64{}
	for endpoint, name := range map[clerksim.Endpoint]string{
		clerksim.Get: "lookup", clerksim.Lookup: "lookup", clerksim.List: "list", clerksim.Count: "count", clerksim.Other: "other",
	} {
		asked[name] += float64(clerk.ByEndpoint[endpoint].Requests)
		for code, n := range clerk.ByEndpoint[endpoint].ByStatus {
			byStatus[outcomeOf(code)] += float64(n)
		}
	}
	probes := m.sum(requests, `endpoint="probe"`)
	lookups, lists, counts := asked["lookup"], asked["list"]-probes, asked["count"]
	equal("lookups", m.sum(requests, `endpoint="lookup"`), lookups)
	equal("lists", m.sum(requests, `endpoint="list"`), lists)
	equal("counts", m.sum(requests, `endpoint="count"`), counts)
	equal("requests of other kinds", asked["other"], 0)
	for _, outcome := range []string{"not_found", "rejected", "rate_limited", "key_rejected", "plan_limit", "server_error", "no_answer", "cancelled"} {
		equal(outcome, m.sum(requests, `outcome="`+outcome+`"`), byStatus[outcome])
	}
	equal("answers of other statuses", byStatus[""], 0)
	equal("answers of 200", m.sum(requests, `outcome="ok"`)+m.sum(requests, `outcome="bad_answer"`), byStatus["ok"])
	equal("answers of 429", m.sum("clerkgate_rate_limited_total"), byStatus["rate_limited"])
	equal("answers of 429, by GetQuota", float64(totals.UpstreamRateLimited), byStatus["rate_limited"])

	// Ids, and what waited for its turn: each id, list and count that was sent.
	equal("ids in lookups", m.sum("clerkgate_batch_users_sum"), float64(clerk.IDs))
	equal("lookups by size", m.sum("clerkgate_batch_users_count"), lookups)
	equal("users per request", totals.UsersPerRequest, float64(clerk.IDs)/lookups)
	equal("waits", m.sum("clerkgate_queue_wait_seconds_count"), float64(clerk.IDs)+lists+counts)

	// What callers have seen.
	for source, n := range w.sources {
		name := strings.ToLower(strings.TrimPrefix(source.String(), "SERVED_FROM_"))
		equal("ids from "+name, m.sum("clerkgate_lookups_total", `"`+name+`"`), float64(n))
		for _, s := range totals.Lookups {
			if s.ServedFrom == source {
				equal("ids from "+name+", by GetQuota", float64(s.Count), float64(n))
			}
		}
	}
	var shares float64
	for _, c := range used.Callers {
		shares += c.UpstreamShare
		var refused float64
		for reason := range w.refused {
			refused += float64(w.refused[reason][c.Name])
		}
		label := `{caller="` + c.Name + `"}`
		equal("ids asked for by "+c.Name, m["clerkgate_caller_lookups_total"+label], float64(w.asked[c.Name]))
		equal("ids asked for by "+c.Name+", by GetQuota", float64(c.Lookups), float64(w.asked[c.Name]))
		equal("refusals of "+c.Name, m["clerkgate_caller_refused_total"+label], refused)
		equal("refusals of "+c.Name+", by GetQuota", float64(c.Refused), refused)
		equal("share of "+c.Name, m["clerkgate_caller_upstream_requests_total"+label], c.UpstreamShare)
	}
	if paid := float64(clerk.Requests) - probes; math.Abs(shares-paid) > 1e-6 {
		w.t.Errorf("callers have paid for %v requests, want %v", shares, paid)
	}
	for _, reason := range refusals {
		var seen float64
		for _, n := range w.refused[reason] {
			seen += float64(n)
		}
		equal("refused for "+reason, m.sum("clerkgate_refused_total", reason), seen)
	}
	equal("retries, by GetQuota", float64(totals.Retries), m.sum("clerkgate_retries_total"))

	// The log has a line for each request that failed; that there is no such user is none.
	failures := map[string]float64{}
	for _, l := range w.logged() {
		if l.Msg != "a request to Clerk failed" {
			continue
		}
		failures["all"]++
		switch {
		case strings.Contains(l.Error, "clerk's answer can't be used"):
			failures["bad_answer"]++
		case strings.Contains(l.Error, "(status 5"):
			failures["server_error"]++
		case strings.Contains(l.Error, "(status 429)"):
			failures["rate_limited"]++
		}
	}
	equal("failures in the log", failures["all"], float64(clerk.Requests)-m.sum(requests, `outcome="ok"`)-m.sum(requests, `outcome="not_found"`))
	for _, outcome := range []string{"bad_answer", "server_error", "rate_limited"} {
		equal(outcome+" in the log", failures[outcome], m.sum(requests, `outcome="`+outcome+`"`))
	}
}

// outcomeOf is what an answer's status means; of 200 only that there was an answer.
func outcomeOf(code int) string {
	switch {
	case code == 0:
		return "no_answer"
	case code >= 500:
		return "server_error"
	}
	return map[int]string{200: "ok", 404: "not_found", 422: "rejected", 429: "rate_limited", 401: "key_rejected", 402: "plan_limit"}[code]
}

// TestFiguresAgreeWithClerk: under a mixed load, with Clerk well and failing in
// many ways, every figure of GetQuota, of the metrics and of the log's failures
// that has a counterpart equals what the simulator has counted, or the callers.
func TestFiguresAgreeWithClerk(t *testing.T) {
	w := watch(t)
	w.load(true)
	w.load(true) // from memory
	w.check()
	if m := w.settled(); m.sum("clerkgate_upstream_ids_total") != float64(w.stats().IDs) {
		t.Errorf("%v ids answered, want all %d", m.sum("clerkgate_upstream_ids_total"), w.stats().IDs)
	}
	if m := w.sources[clerkgatev1.ServedFrom_SERVED_FROM_MEMORY]; m == 0 {
		t.Error("nothing came from memory")
	}

	// One failure after the other: what is asked more often than was called is retries.
	calls, before, retries := int64(0), w.stats().Requests, w.settled().sum("clerkgate_retries_total")
	for _, f := range []clerksim.Fault{
		{Kind: clerksim.FaultStatus, Status: 503}, {Kind: clerksim.FaultHTML}, {Kind: clerksim.FaultReset},
		{Kind: clerksim.FaultTruncated}, {Kind: clerksim.FaultGarbage}, {Kind: clerksim.FaultWrongUser},
	} {
		f.Count = 1
		w.fault(f)
		w.get(w.as("web"), "web", false, w.userIDs[0])
		for range 3 { // so that the breaker stays closed
			w.list(w.as("web"), "web")
		}
		calls += 4
	}
	w.check()
	if got, want := w.settled().sum("clerkgate_retries_total")-retries, w.stats().Requests-before-calls; got != float64(want) || want == 0 {
		t.Errorf("%v retries, the simulator has seen %d", got, want)
	}

	// All kinds at once, until the breaker has opened, too.
	for _, f := range []clerksim.Fault{
		{Kind: clerksim.FaultStatus, Status: 422, Endpoint: clerksim.List, Count: 3},
		{Kind: clerksim.FaultStatus, Status: 402, Endpoint: clerksim.Count, Count: 3},
		{Kind: clerksim.FaultStatus, Status: 429, RetryAfter: "1", Probability: 0.05, Count: 2},
		{Kind: clerksim.FaultStatus, Status: 500, Probability: 0.2},
		{Kind: clerksim.FaultReset, Probability: 0.05},
		// Not of Get: half of a 404 is no 404 to the server, but one to the simulator.
		{Kind: clerksim.FaultTruncated, Endpoint: clerksim.Lookup, Probability: 0.1},
		{Kind: clerksim.FaultTruncated, Endpoint: clerksim.List, Probability: 0.1},
	} {
		w.fault(f)
	}
	w.load(false)
	w.fault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 503})
	w.load(false)
	w.clearFaults()
	w.check()
	if n := w.settled().sum("clerkgate_refused_total", "breaker_open"); n == 0 {
		t.Error("nothing was refused for the breaker")
	}

	// A 429 holds the key for longer than some can wait.
	w.fault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 429, RetryAfter: "6", Count: 2}) // and the probe that believes it
	hurried, cancel := context.WithTimeout(w.as("hurried"), 5*time.Second)
	defer cancel()
	w.list(hurried, "hurried")
	w.get(hurried, "hurried", false, w.userIDs[:3]...)
	w.check()

	// At last it takes the key no more.
	w.fault(clerksim.Fault{Kind: clerksim.FaultStatus, Status: 401, Count: 2})
	w.count(w.as("web"), "web")
	w.get(w.as("web"), "web", false, w.userIDs[:2]...)
	w.check()
	for _, reason := range []string{"rate_limited", "key_rejected"} {
		if n := w.settled().sum("clerkgate_refused_total", reason); n == 0 {
			t.Errorf("nothing was refused for %s", reason)
		}
	}
}
