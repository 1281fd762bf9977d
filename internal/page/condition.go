package page

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/gate"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// Severity is the urgency of a condition.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // callers are not served as they should be, or will not be within a day: act now
	Warning  Severity = "warning"  // act soon, or callers may not be served
)

// Thresholds of conditions.
const (
	// NearlySpent is the share of the quota below which it counts as nearly spent.
	NearlySpent = 0.1
	// LongWait is the wait above which answers count as slow.
	LongWait = 5 * time.Second
	// SilentAfter is the time without a webhook after which their absence is reported.
	SilentAfter = 24 * time.Hour
	// CacheFull is the share of the cache's memory above which it counts as full.
	CacheFull = 0.95
	// ExpiresToday and ExpiresSoon are the times before a certificate expires within which that is
	// reported, if less than TodayLife or SoonLife of its life is left, too: those that live for
	// hours are replaced late.
	ExpiresToday = 24 * time.Hour
	ExpiresSoon  = 7 * 24 * time.Hour
	TodayLife    = 0.1
	SoonLife     = 0.2
	// Lately is the time over which View.Lately counts.
	Lately = time.Minute
)

// Condition is a state that an operator should know of while it lasts. Its texts are those of
// the alert of the same name in deploy/prometheus, of docs/runbook.md, and of the page unless
// Advise knows more: run go test ./deploy -run Runbook -update after a change.
type Condition struct {
	Name     string // in the form of an alert's name
	Severity Severity
	Summary  string // what is wrong, one sentence
	Look     string // what to look at
	Do       string // what to do about it
	When     string // when it holds on the page, in terms of metrics
	holds    func(*View) bool
}

// Conditions returns all conditions, the gravest first. Callers may change the slice.
func Conditions() []Condition { return append([]Condition(nil), conditions[:]...) }

// Holding returns the conditions that hold, in the order of Conditions.
func Holding(v *View) []Condition {
	var all []Condition
	for _, c := range conditions {
		if c.holds(v) {
			all = append(all, c)
		}
	}
	return all
}

var conditions = [...]Condition{
	{
		Name: keyRefused, Severity: Critical,
		Summary: "Clerk refuses the secret key.",
		Look:    "Find out whether the key was rotated or deleted at Clerk, and whether it is the key of this instance.",
		Do: "Put a valid secret key in its place: into the file of --clerk-secret-key-file, which is read again within a second, " +
			"or into CLERK_SECRET_KEY, followed by a restart. Users in the cache are served meanwhile if Clerk has accepted a key since the start.",
		When:  "clerkgate_key_refused is 1.",
		holds: func(v *View) bool { return v.Gate.KeyRefused },
	},
	{
		Name: breakerOpen, Severity: Critical,
		Summary: "Clerk fails or does not answer, so only users in the cache are served.",
		Look:    "Look at Clerk's status page, then at the network path to Clerk: DNS, proxy, firewall. The log has the error of each request.",
		Do:      "Fix the network path if it is at fault. If Clerk fails, wait: the server keeps asking, and serves again as soon as Clerk answers.",
		When:    `clerkgate_breaker_state{state="closed"} is 0.`,
		holds:   func(v *View) bool { return v.Gate.Breaker.State != gate.Closed },
	},
	{
		Name: certificateExpiresToday, Severity: Critical,
		Summary: "A TLS certificate has expired, or expires within 24 hours: then clients can't connect.",
		Look: "Look at the labels listener and certificate: server is the listener's own certificate, client_ca an authority in --client-ca-file. " +
			"Find out why it was not replaced.",
		Do: "Put a new certificate into its file, or take an authority that no client needs out of --client-ca-file. The files are read again within a second.",
		When: "clerkgate_certificate_not_after_timestamp_seconds is less than 24 hours ahead, and less than a tenth of the time " +
			"from clerkgate_certificate_not_before_timestamp_seconds to it is left.",
		holds: func(v *View) bool { return len(v.expiring(ExpiresToday, TodayLife)) > 0 },
	},
	{
		Name: rateLimited, Severity: Warning,
		Summary: "Clerk has answered 429: after that, requests to Clerk wait for as long as it asks.",
		Look:    "Find out who else uses this key: with the key to itself, the server gets no 429.",
		Do:      "Leave others their share with --quota-reserve, or set --quota to what Clerk really allows.",
		When:    "clerkgate_quota_paused is 1, or clerkgate_rate_limited_total has risen within a minute.",
		holds:   func(v *View) bool { return !v.Gate.PausedUntil.IsZero() || v.Lately[rateLimitedCount] > 0 },
	},
	{
		Name: redisFallback, Severity: Warning,
		Summary: "Redis does not answer, or only with errors, so each replica uses only its share of the quota, and lookups may not be answered from memory.",
		Look:    "Check whether Redis runs, accepts the password and has memory: the log and clerkgate_redis_errors_total have the kind of error.",
		Do:      "Bring Redis back, or the network to it. The replicas then share the quota again by themselves.",
		When:    `clerkgate_quota_decider{decider="fallback"} is 1, or clerkgate_redis_connected is 0.`,
		holds:   redisAway,
	},
	{
		Name: callsRefused, Severity: Warning,
		Summary: "Calls are refused because they can't be answered within their deadlines, or because too many wait.",
		Look:    "Look for the caller that has the most refused or waiting.",
		Do: "Have this caller ask for less, in batches, or allow more time. " +
			"If all need what they ask for, get a larger quota from Clerk.",
		When: `clerkgate_refused_total of the reasons deadline_too_short, queue_full and caller_queue_full has risen within a minute.`,
		holds: func(v *View) bool {
			return v.Lately[refusedTooShort]+v.Lately[refusedFull]+v.Lately[refusedCallerFull] > 0
		},
	},
	{
		Name: oldestWait, Severity: Warning,
		Summary: "Somebody has waited for an answer for more than 5 seconds.",
		Look:    "Look for the caller that has the most waiting.",
		Do: "Have this caller ask for less, in batches, or at priority batch. " +
			"If all need what they ask for, get a larger quota from Clerk.",
		When:  "clerkgate_queue_oldest_seconds is above 5, of either priority.",
		holds: func(v *View) bool { return v.oldest() > LongWait },
	},
	{
		Name: quotaNearlySpent, Severity: Warning,
		Summary: "Less than a tenth of the quota is left.",
		Look:    "Look for the caller with the largest share of the requests.",
		Do: "Have this caller ask in batches, accept older copies (max_age), or wait as priority batch. " +
			"If all need what they ask for, get a larger quota from Clerk.",
		When:  "clerkgate_quota_available is below a tenth of clerkgate_quota_effective_limit, clerkgate_quota_paused is 0, and the first window after the start is over.",
		holds: nearlySpent,
	},
	{
		Name: inFlightFloor, Severity: Warning,
		Summary: "Clerk accepts only one request at a time.",
		Look:    "Look at how long Clerk's answers take, and which requests to Clerk fail.",
		Do:      "Ask Clerk's support about a limit on concurrent requests. The server tries more by itself.",
		When:    "clerkgate_upstream_requests_in_flight_limit is 1, and --max-in-flight is more.",
		holds:   func(v *View) bool { return v.Gate.InFlightLimit == 1 && v.MaxInFlight > 1 },
	},
	{
		Name: keyFileUnusable, Severity: Warning,
		Summary: "The secret key's file can't be used, so the last key stays in use.",
		Look:    "Look in the log for the reason: the file can't be read, has no key, or has the key of another kind of instance.",
		Do:      "Fix the file. It is read again within a second.",
		When:    "clerkgate_key_file_unusable is 1.",
		holds:   func(v *View) bool { return v.KeyFileFails },
	},
	{
		Name: callersFileUnusable, Severity: Warning,
		Summary: "The callers file can't be used, so the last one stays in use.",
		Look:    "Look in the log for the reason: the file can't be read, or lines in it are wrong.",
		Do:      "Fix the file, before the next restart: with it the server does not start. It is read again within a second.",
		When:    "clerkgate_callers_file_unusable is 1.",
		holds:   func(v *View) bool { return v.Files.Callers != nil },
	},
	{
		Name: tlsFilesUnusable, Severity: Warning,
		Summary: "TLS files can't be used, so the last ones stay in use.",
		Look:    "Look in the log for the reason: a file can't be read, the key is not that of the certificate, or the certificate has expired.",
		Do:      "Fix the files, before the next restart: with them the server does not start. They are read again within a second.",
		When:    "clerkgate_tls_files_unusable is 1, of any listener.",
		holds:   func(v *View) bool { return len(v.unusableTLS()) > 0 },
	},
	{
		Name: certificateExpiresSoon, Severity: Warning,
		Summary: "A TLS certificate expires within 7 days: then clients can't connect.",
		Look: "Look at the labels listener and certificate: server is the listener's own certificate, client_ca an authority in --client-ca-file. " +
			"Find out whether it is replaced by itself, and why that has not happened.",
		Do: "Put a new certificate into its file, or take an authority that no client needs out of --client-ca-file. The files are read again within a second.",
		When: "clerkgate_certificate_not_after_timestamp_seconds is less than 7 days ahead, and less than a fifth of the time " +
			"from clerkgate_certificate_not_before_timestamp_seconds to it is left; not together with ClerkgateCertificateExpiresToday.",
		holds: func(v *View) bool {
			return len(v.expiring(ExpiresToday, TodayLife)) == 0 && len(v.expiring(ExpiresSoon, SoonLife)) > 0
		},
	},
	{
		Name: webhooksFailing, Severity: Warning,
		Summary: "Webhooks fail or are refused, so old copies of users who have changed may be served.",
		Look:    "Look at the outcomes: failed, forged, stale or misdirected. The log has the reasons.",
		Do: "Failed: bring Redis back. Forged: compare the signing secret with the one that Clerk shows for the endpoint. " +
			"Stale: set this machine's clock. Misdirected: correct the endpoint's URL at Clerk.",
		When:  `clerkgate_webhook_events_total of the outcomes failed, forged, stale and misdirected has risen within ten minutes.`,
		holds: func(v *View) bool { return badEvents(v.Recent) > 0 },
	},
	{
		Name: webhooksSilent, Severity: Warning,
		Summary: "No webhook has come for a day.",
		Look:    "Look at the endpoint at Clerk: it may have been disabled, or its URL may not lead here.",
		Do:      "Enable the endpoint or correct its URL. Until events come, a change shows once its copy has expired (--cache-ttl).",
		When:    "--webhook-listen is set, the server has run for a day, and clerkgate_webhook_events_total has not risen for a day.",
		holds:   silent,
	},
	{
		Name: replicasLost, Severity: Warning,
		Summary: "Fewer replicas share the quota than within the last ten minutes.",
		Look:    "If nobody has stopped one, find the replica that is missing: whether it runs, and whether it reaches Redis.",
		Do:      "Start it, or fix its connection to Redis. If it has crashed, its part of the quota is free again after ten windows.",
		When:    "clerkgate_quota_replicas is below its maximum over ten minutes.",
		holds:   func(v *View) bool { return v.Gate.Shared != nil && v.Gate.Shared.Replicas < v.MostReplicas },
	},
	{
		Name: cacheEvicting, Severity: Warning,
		Summary: "The cache is full and drops users before they are too old.",
		Look:    "Compare the cache's hit rate with its earlier value: each user that is dropped is read from Clerk again.",
		Do:      "Raise --cache-max-bytes, if the machine has the memory.",
		When:    "clerkgate_cache_bytes is above 95 % of clerkgate_cache_limit_bytes, and clerkgate_cache_evictions_total has risen within a minute.",
		holds: func(v *View) bool {
			return float64(v.Store.Bytes) > CacheFull*float64(v.Store.MaxBytes) && v.Lately[evictedCount] > 0
		},
	},
	{
		Name: spansLost, Severity: Warning,
		Summary: "Spans are lost on the way to the OpenTelemetry collector. Calls are not affected.",
		Look:    "Check whether the collector runs and accepts what is sent. The log has its error.",
		Do:      "Fix the collector or the network to it, or lower --trace-sample.",
		When:    "clerkgate_trace_spans_lost_total has risen within ten minutes.",
		holds:   func(v *View) bool { return v.Recent[spansLostCount] > 0 },
	},
}

// Names of conditions.
const (
	keyRefused       = "ClerkgateKeyRefused"
	breakerOpen      = "ClerkgateBreakerOpen"
	rateLimited      = "ClerkgateRateLimited"
	redisFallback    = "ClerkgateRedisFallback"
	callsRefused     = "ClerkgateCallsRefused"
	oldestWait       = "ClerkgateOldestWait"
	quotaNearlySpent = "ClerkgateQuotaNearlySpent"
	inFlightFloor    = "ClerkgateInFlightLimitAtFloor"
	keyFileUnusable  = "ClerkgateKeyFileUnusable"

	callersFileUnusable     = "ClerkgateCallersFileUnusable"
	tlsFilesUnusable        = "ClerkgateTLSFilesUnusable"
	certificateExpiresSoon  = "ClerkgateCertificateExpiresSoon"
	certificateExpiresToday = "ClerkgateCertificateExpiresToday"

	webhooksFailing = "ClerkgateWebhooksFailing"
	webhooksSilent  = "ClerkgateWebhooksSilent"
	replicasLost    = "ClerkgateReplicasLost"
	cacheEvicting   = "ClerkgateCacheEvicting"
	spansLost       = "ClerkgateSpansLost"
)

func redisAway(v *View) bool {
	shared, redis := v.Gate.Shared, v.Store.Redis
	return shared != nil && shared.Decider == quota.DecidesFallback || redis != nil && !redis.Connected
}

func nearlySpent(v *View) bool {
	most := v.capacity()
	return v.Gate.PausedUntil.IsZero() && v.Now.Sub(v.Started) > v.Gate.Window && most > 0 && float64(v.Gate.Available) < NearlySpent*float64(most)
}

func silent(v *View) bool {
	since := v.Started
	if v.LastEvent.After(since) {
		since = v.LastEvent
	}
	return v.TakesWebhooks && v.Now.Sub(since) > SilentAfter
}
