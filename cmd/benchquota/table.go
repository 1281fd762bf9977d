package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// row is a row of the table.
type row struct {
	name     string
	requests int64 // that arrived at Clerk
	limited  int64 // ... of which got a 429
	served   string
	used     string // part of the quota
	p50, p99 time.Duration
	target   string // empty: none, a row to compare with
	met      bool
	note     string // shown below the table
}

// printTable prints the outcomes and reports whether every target was met.
func printTable(w io.Writer, outcomes []outcome) (met bool) {
	met = true
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\trequests\t429s\tserved\tquota used\tp50\tp99\ttarget\tmet")
	for _, o := range outcomes {
		for _, r := range o.rows {
			verdict := "yes"
			switch {
			case r.target == "":
				verdict = "-"
			case !r.met:
				verdict = "NO"
				met = false
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.requests, r.limited,
				r.served, r.used, millis(r.p50), millis(r.p99), r.target, verdict)
		}
		if o.err != nil {
			met = false
			fmt.Fprintf(table, "%s\t\t\t\t\t\t\tto be run\tNO\n", o.name)
		}
	}
	table.Flush()
	for _, o := range outcomes {
		for _, r := range o.rows {
			if r.note != "" {
				fmt.Fprintf(w, "\n%s: %s\n", r.name, r.note)
			}
		}
		if o.err != nil {
			fmt.Fprintf(w, "\n%s failed: %v\n", o.name, o.err)
		}
	}
	return met
}

// millis returns d in ms, "" for 0.
func millis(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// percent returns a fraction in percent.
func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// percentile returns the smallest of the times that p percent do not exceed, 0 without
// times.
func percentile(times []time.Duration, p float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}
