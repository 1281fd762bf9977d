package quota

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestTheScriptHasTheSameNumbers: some numbers stand in Go and in the script of package
// quotaredis.
func TestTheScriptHasTheSameNumbers(t *testing.T) {
	if minPause != time.Second {
		t.Errorf("minPause is %v, in the script it is SECOND", minPause)
	}
	for _, number := range []struct {
		name, file, pattern string
		inGo                float64
	}{
		{"maxPause", "1-state", `LEAST_PAUSE, LONGEST_PAUSE = SECOND, ([0-9]+) \* SECOND`, maxPause.Seconds()},
		{"MaxLoan", "1-state", `LONGEST_LOAN = ([0-9]+) \* SECOND`, MaxLoan.Seconds()},
		{"1 + slack", "2-replicas", `local hold = window \* ([0-9.]+)`, 1 + slack},
	} {
		text, err := os.ReadFile("quotaredis/exchange/" + number.file + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(number.pattern).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s.lua does not define %s as it did", number.file, number.name)
			continue
		}
		if inScript, _ := strconv.ParseFloat(string(m[1]), 64); inScript != number.inGo {
			t.Errorf("%s is %v in Go, and %v in the script", number.name, number.inGo, inScript)
		}
	}
}
