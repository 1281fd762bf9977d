package page

import "github.com/clerkgate/clerkgate/internal/webhook"

// reason is a reason for failures: its name in the metrics, and its description.
type reason struct{ name, text string }

// failures are the ways in which requests to Clerk fail, by the label "outcome" of
// clerkgate_upstream_requests_total.
var failures = []reason{
	{"server_error", "Clerk answered that it failed (5xx, 408, 421)"},
	{"no_answer", "no answer came in time, or the connection broke"},
	{"bad_answer", "the answer can't be used"},
	{"rate_limited", "Clerk answered 429"},
	{"key_rejected", "Clerk refused the secret key"},
	{"plan_limit", "Clerk's plan does not allow it (402)"},
	{"refused", "Clerk refused the request (403 and other 4xx)"},
	{"rejected", "Clerk rejected the arguments (400, 422 and others)"},
	{"too_large", "the answer is larger than the limit"},
	{"cancelled", "the server stopped first"},
}

// refusals are the reasons why the server itself refuses calls, by the label "reason" of
// clerkgate_refused_total.
var refusals = []reason{
	{"deadline_too_short", "the wait would outlast the deadline"},
	{"queue_full", "too many wait"},
	{"caller_queue_full", "the caller has too many waiting"},
	{"rate_limited", "a 429 pauses the key for longer than the caller can wait"},
	{"breaker_open", "Clerk is failing"},
	{"key_rejected", "Clerk refuses the secret key"},
	{"shutting_down", "the server is stopping"},
}

// outcomes are the outcomes of webhooks.
var outcomes = []struct {
	outcome webhook.Outcome
	text    string
}{
	{webhook.Applied, "the user's copy was replaced"},
	{webhook.Invalidated, "the user's copies were dropped"},
	{webhook.Duplicate, "it had been applied before"},
	{webhook.Ignored, "it is not about a user"},
	{webhook.Forged, "the signature is wrong"},
	{webhook.Stale, "it was signed too long ago, or ahead of time"},
	{webhook.Malformed, "it is not an event, or is incomplete"},
	{webhook.Misdirected, "it came to a wrong path or by a wrong method"},
	{webhook.Failed, "it could not be applied; Clerk sends it again"},
}
