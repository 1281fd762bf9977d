// Package clerkapi reads users by Clerk's Backend API. It is careful where a
// quota and the trust of many callers hang on it: each call is one HTTP request
// that is never repeated behind the caller's back, each answer is checked
// against what was asked, and each failure says what it was and whether it can
// have cost any quota. When to ask, and what to do about a failure, is for others
// to decide.
package clerkapi
