package quotaredis

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A failure is reported with its seed, so no file is needed. Each check is minutes
	// in the life of several replicas, so few are enough.
	set := map[string]string{"rapid.nofailfile": "true", "rapid.checks": "30"}
	flag.Visit(func(f *flag.Flag) { delete(set, f.Name) })
	for name, value := range set {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	// rueidis ends one of its goroutines a second late.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}
