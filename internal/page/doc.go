// Package page knows what somebody should be told of how the service stands.
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
package page
