// Package page serves the page at / of the HTTP listener: how the service stands, in
// words first, with a plot of the last ten minutes below.
//
// A Page asks its Sources once a second and keeps ten minutes of what they say, in memory
// of a fixed size. Viewers get each second by server-sent events; a second is encoded once
// for all of them.
//
// # Conditions
//
// Conditions returns the one table of what somebody should know or do something about.
// Each condition has a name, a sentence and what to do. The same three texts are meant
// for three places, so that a person who was called meets the same words everywhere:
//
//   - the page shows Summary and Do while the condition holds;
//   - an alert of deploy/prometheus has Name as its name, Severity as its label
//     "severity", Summary as its annotation "summary" and Do as its annotation
//     "description";
//   - docs/runbook.md has a section with Name as its heading, which begins with Summary
//     and has Do in it.
//
// Tests of those files should range over Conditions and compare the texts. When says in
// terms of metrics when a condition holds; the thresholds are constants of condition.go.
// The table is ordered: the first condition that holds is the one that the page's first
// line is about.
//
// # Files
//
//   - condition.go: the table of conditions; headline.go: the first line
//   - view.go: what is known at a moment, of which both are functions
//   - counter.go, reason.go: what is counted by the second, and its words
//   - history.go: the last ten minutes and the last events
//   - page.go: Sources, Page, and the sample of a second
//   - report.go: what viewers get, as JSON; events.go, handler.go: how they get it
//   - assets: the page, its style and its scripts; there is no build step
package page
