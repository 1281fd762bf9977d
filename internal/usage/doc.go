// Package usage counts what each caller uses: the ids it asks for, its part of the
// requests to Clerk, and its waiting and refused wants.
//
// A caller is a name. Callers remembers a thousand of them, and counts all others
// together, so that invented names take no memory. The hundred names that came first are
// never forgotten: metrics show those, and a counter in metrics must not fall.
package usage
