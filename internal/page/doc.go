// Package page serves the page at / of the HTTP listener: the state of the service in a
// sentence, what to do about it, and the last ten minutes.
//
// A Page reads its Sources once a second and keeps the last ten minutes in memory of a
// fixed size. Viewers receive each second by server-sent events; a second is encoded once
// for all of them.
//
// # Conditions
//
// Conditions returns the table of the states that an operator should know of. Advise
// returns those that hold, with what the page knows about them. When describes the same
// condition in terms of metrics, for alerts; the thresholds are constants of condition.go.
// The table is ordered: the page's first line is about the first condition that holds.
//
// # Files
//
//   - condition.go: the table of conditions; headline.go: the first line
//   - advice.go: what to do about the conditions that hold; files.go: files that can't be used and
//     certificates that expire; quotanote.go: why part of the quota can't be used
//   - view.go: the state at a moment, from which all these are computed
//   - counter.go, reason.go: the counters of each second, and their descriptions
//   - history.go: the last ten minutes and the last events
//   - page.go: Sources, Page, and the sample of a second
//   - report.go: the JSON for viewers; events.go, handler.go: how it is served
//   - assets: the page, its style and its scripts; there is no build step
package page
