// Package clerkapi is a client of Clerk's Backend API that reads users.
//
// It is made for a quota and for callers who must not see each other's failures. Each
// call is one HTTP request that is never repeated, so one permit of a quota is one
// arrival at Clerk. Each answer is checked against the request. Each failure is an *Error
// with a kind, such as ErrNotFound or ErrUnavailable, that also reports whether the
// request can have used any quota. Judge returns what a failure means for the permit, the
// circuit breaker and retries.
//
// The package does not decide when to send a request, and does not retry. Package gate
// does that for clerkgate.
package clerkapi
