package server

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/clerkgate/clerkgate/internal/leaktest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(leaktest.Run(m, leaktest.Log, leaktest.Error, leaktest.Answer, leaktest.HTTP, leaktest.Span))
}
