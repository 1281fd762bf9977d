package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// byteUnits are the units that sizes may have: those of IEC, as Kubernetes shortens
// them, too, and those of SI.
var byteUnits = []struct {
	names []string
	size  int64
}{
	{[]string{"KiB", "Ki"}, 1 << 10}, {[]string{"MiB", "Mi"}, 1 << 20}, {[]string{"GiB", "Gi"}, 1 << 30},
	{[]string{"kB", "k"}, 1e3}, {[]string{"MB", "M"}, 1e6}, {[]string{"GB", "G"}, 1e9},
	{[]string{"B", ""}, 1},
}

// maxBytes is the largest size where nothing else limits it.
const maxBytes = 1 << 50

// parseBytes reads a size such as 256MiB, from least to most.
func parseBytes(text string, least, most int64) (int64, error) {
	digits := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	name := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	for _, unit := range byteUnits {
		if slices.Contains(unit.names, name) && err == nil && n <= most/unit.size && n*unit.size >= least {
			return n * unit.size, nil
		}
	}
	want := formatBytes(least) + " or more"
	if most != maxBytes {
		want = formatBytes(least) + " to " + formatBytes(most)
	}
	return 0, fmt.Errorf("want %s, in bytes or with KiB, MiB, GiB, kB, MB or GB, not %q", want, text)
}

// formatBytes writes a whole number of MiB or KiB.
func formatBytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}
