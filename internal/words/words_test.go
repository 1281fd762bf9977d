package words

import (
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 replicas", 1: "1 replica", 2: "2 replicas"} {
		if got := Count(n, "replica", "replicas"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	const h, m, s, ms = time.Hour, time.Minute, time.Second, time.Millisecond
	for _, tt := range []struct {
		d                               time.Duration
		duration, per, rounded, setting string
	}{
		{0, "0 s", "0 s", "0.0 s", "0s"},
		{250 * ms, "250 ms", "250 ms", "0.2 s", "250ms"},
		{1500 * time.Microsecond, "1.5 ms", "1.5 ms", "0.0 s", "1.5ms"},
		{s, "1 s", "second", "1.0 s", "1s"},
		{1500 * ms, "1.5 s", "1.5 s", "1.5 s", "1.5s"},
		{10 * s, "10 s", "10 s", "10 s", "10s"},
		{59 * s, "59 s", "59 s", "59 s", "59s"},
		{m, "1 min", "minute", "1 min 0 s", "1m"},
		{3*m + 2*s, "3 min 2 s", "3 min 2 s", "3 min 2 s", "3m2s"},
		{10 * m, "10 min", "10 min", "10 min 0 s", "10m"},
		{h, "1 h", "hour", "1 h 0 min", "1h"},
		{h + s, "1 h 1 s", "1 h 1 s", "1 h 0 min", "1h0m1s"},
		{2*h + 29*m + 31*s, "2 h 29 min 31 s", "2 h 29 min 31 s", "2 h 30 min", "2h29m31s"},
		{20 * h, "20 h", "20 h", "20 h 0 min", "20h"},
		{24 * h, "1 day", "day", "24 h 0 min", "24h"},
		{7*24*h - h, "6 days 23 h", "6 days 23 h", "6 days 23 h", "167h"},
		{7 * 24 * h, "7 days", "7 days", "7 days 0 h", "168h"},
	} {
		for _, got := range []struct{ what, got, want string }{
			{"Duration", Duration(tt.d), tt.duration}, {"Per", Per(tt.d), tt.per}, {"Rounded", Rounded(tt.d), tt.rounded}, {"Setting", Setting(tt.d), tt.setting},
		} {
			if got.got != got.want {
				t.Errorf("%s(%v): %q, want %q", got.what, tt.d, got.got, got.want)
			}
		}
		if back, err := time.ParseDuration(Setting(tt.d)); err != nil || back != tt.d {
			t.Errorf("Setting(%v) is read as %v, %v", tt.d, back, err)
		}
	}
	if got := Rounded(-1); got != "0.0 s" {
		t.Errorf("a time in the past: %q", got)
	}
}
