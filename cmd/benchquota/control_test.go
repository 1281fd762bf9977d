package main

import (
	"testing"
	"time"
)

func TestControl(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	c := &control{}
	if got := c.delay(at(0), at(200)); got != 0 {
		t.Errorf("without a sample the delay is %s", got)
	}
	c.note(at(0), at(5)) // the quickest
	c.note(at(2000), at(2010))
	c.note(at(4000), at(4010))
	c.note(at(4020), at(4050))
	c.note(at(4060), at(4065))
	for _, w := range []struct {
		name           string
		from, to, want int
	}{
		{"an idle machine", 0, 4, 0},
		{"twice as slow", 1990, 2020, 2 * 5},
		{"the second before is looked at, too", 4070, 4080, 2 * 25},
		{"nothing was measured", 6000, 6010, 0},
	} {
		if got := c.delay(at(w.from), at(w.to)); got != time.Duration(w.want)*time.Millisecond {
			t.Errorf("%s: the delay is %s, want %d ms", w.name, got, w.want)
		}
	}
}

func TestBusy(t *testing.T) {
	begin := time.Now()
	for _, w := range []struct {
		slow int
		want bool
	}{{0, false}, {1, false}, {2, true}, {50, true}} {
		c := &control{}
		for i := range 100 {
			took := 5 * time.Millisecond
			if i >= 100-w.slow {
				took += 11 * time.Millisecond
			}
			c.note(begin, begin.Add(took))
		}
		if got := c.busy(); got != w.want {
			t.Errorf("with %d slow requests of 100 busy is %t", w.slow, got)
		}
	}
}
