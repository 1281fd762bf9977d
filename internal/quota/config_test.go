package quota

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Config
	}{
		{"development", Config{Limit: 100, Window: 10 * time.Second}},
		{"production", Config{Limit: 1000, Window: 10 * time.Second}},
		{"free", Config{Limit: 20, Window: 10 * time.Second, Burst: 40}},
		{"pro", Config{Limit: 100, Window: 10 * time.Second, Burst: 200}},
		{"250/10s", Config{Limit: 250, Window: 10 * time.Second}},
		{"1/24h", Config{Limit: 1, Window: 24 * time.Hour}},
	} {
		got, err := Parse(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "Development", "0/10s", "-1/10s", "10", "10/", "10/0s", "10/10", "9999999/1s", "1/25h", "1/1ns", "1/1.2.3s"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, got)
		}
	}
}
