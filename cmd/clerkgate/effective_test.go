package main

import "testing"

// TestWithoutPassword checks what is shown of URLs.
func TestWithoutPassword(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"250/10s":                            "250/10s",
		"redis://host:6379/0":                "redis://host:6379/0",
		"redis://user:pass@host:6379/0":      "redis://***@host:6379/0",
		"redis://:pass@host":                 "redis://***@host",
		"redis://user:p#ss@host":             "[not shown: not a valid URL]",
		"https://user:pass@clerk.example/x":  "https://***@clerk.example/x",
		"user:pass@host":                     "[not shown: not a valid URL]",
		"unix://user:pass@/run/redis?db=1":   "unix://***@/run/redis?db=1",
		"redis://user:pass%40@host?addr=b:1": "redis://***@host?addr=b:1",
	} {
		if got := withoutPassword(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}
