package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	tests := []struct {
		times []time.Duration
		p     float64
		want  time.Duration
	}{
		{nil, 99, 0},
		{[]time.Duration{7}, 50, 7},
		{[]time.Duration{3, 1, 2}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{append(hundred, 101), 99, 100},
	}
	for _, test := range tests {
		if got := percentile(test.times, test.p); got != test.want {
			t.Errorf("the %v%% of %d times: %d, want %d", test.p, len(test.times), got, test.want)
		}
	}
}

func TestShare(t *testing.T) {
	q := clerksim.Quota{Limit: 100, Window: 10 * time.Second}
	if got := share(150, q, 20*time.Second); got != 0.75 {
		t.Errorf("150 of 200 are %v", got)
	}
}

func TestTable(t *testing.T) {
	tests := []struct {
		name     string
		outcomes []outcome
		want     string
		met      bool
	}{
		{
			"all met",
			[]outcome{
				{"one", []row{{name: "one", requests: 5, served: "1 user/s", used: "98.0 %", p99: 1500 * time.Microsecond, target: "no 429", met: true}}, nil},
				{"to compare", []row{{name: "to compare", requests: 7, limited: 2}}, nil},
			},
			`scenario    requests  429s  served    quota used  p50  p99     target  met
one         5         0     1 user/s  98.0 %           1.5 ms  no 429  yes
to compare  7         2                                                -
`, true,
		},
		{
			"one missed, with a note",
			[]outcome{{"one", []row{{name: "one", target: "no 429", note: "why"}}, nil}},
			`scenario  requests  429s  served  quota used  p50  p99  target  met
one       0         0                                   no 429  NO

one: why
`, false,
		},
		{
			"one not run",
			[]outcome{{"one", nil, errors.New("it broke")}},
			`scenario  requests  429s  served  quota used  p50  p99  target     met
one                                                     to be run  NO

one failed: it broke
`, false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			if met := printTable(&out, test.outcomes); met != test.met {
				t.Errorf("met: %v", met)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args []string
		want int
	}{
		{[]string{"-run", "burst10k", "-list"}, 0},
		{[]string{"-h"}, 0},
		{[]string{"-run", "("}, 2},
		{[]string{"-run", "nothing like it"}, 2},
		{[]string{"-run", "^redis-killed$"}, 2},
		{[]string{"-replicas", "-run", "^redis-killed$", "-list"}, 0},
		{[]string{"-replicas", "-run", "^redis-killed$", "-clerkgate", "/does/not/exist"}, 1},
		{[]string{"-unknown"}, 2},
		{[]string{"-run", "^naive/burst10k$", "-clerkgate", "/does/not/exist"}, 1},
	}
	for _, test := range tests {
		if got := run(t.Context(), test.args, io.Discard, io.Discard); got != test.want {
			t.Errorf("%v ends with %d, want %d", test.args, got, test.want)
		}
	}
}
