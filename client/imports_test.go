package client

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports checks that a service that imports this package gets gRPC, Protobuf and the
// contract, and nothing of the server.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"github.com/clerkgate/clerkgate/client",
		"github.com/clerkgate/clerkgate/gen/clerkgate/v1",
		"golang.org/x/net/", // of gRPC
		"golang.org/x/sys/",
		"golang.org/x/text/",
		"google.golang.org/genproto/googleapis/rpc/",
		"google.golang.org/grpc",
		"google.golang.org/protobuf/",
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("only %d packages", len(packages))
	}
	for _, p := range packages {
		first, _, _ := strings.Cut(p, "/")
		if !strings.Contains(first, ".") || first == "vendor" {
			continue // the standard library
		}
		if !slices.ContainsFunc(allowed, func(a string) bool { return p == a || strings.HasPrefix(p, strings.TrimSuffix(a, "/")+"/") }) {
			t.Errorf("the client imports %s", p)
		}
	}
}
