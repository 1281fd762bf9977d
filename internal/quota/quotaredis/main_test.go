package quotaredis

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A failure is told with its seed; no file is needed.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	// rueidis ends a goroutine of its own a second late.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}
