package quota

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestTheScriptHasTheSamePauses: the bounds of a pause stand in Go and in the script of
// package quotaredis.
func TestTheScriptHasTheSamePauses(t *testing.T) {
	text, err := os.ReadFile("quotaredis/exchange/1-state.lua")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`LEAST_PAUSE, LONGEST_PAUSE = SECOND, ([0-9]+) \* SECOND`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the script does not define LEAST_PAUSE and LONGEST_PAUSE as it did")
	}
	longest, _ := strconv.Atoi(string(m[1]))
	if minPause != time.Second || maxPause != time.Duration(longest)*time.Second {
		t.Errorf("pauses last 1 s to %d s in the script, %v to %v in Go", longest, minPause, maxPause)
	}
}
