package client_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/clerkgate/clerkgate/client/clienttest"
)

// blocks returns the fenced blocks of a language on a page.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	return found
}

// files are put around the blocks of a page. In main.go PAGE stands for the blocks that run,
// and COMPILED for those that are only compiled.
var files = map[string]string{
	"main.go": `package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/clerkgate/clerkgate/client"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

var _ = []any{errors.Is, time.Second, &clerkgatev1.UserFilter{}, compiled}

func run(ctx context.Context) error {
PAGE	return nil
}

func compiled() error {
COMPILED	return nil
}

func greeting(ctx context.Context, clerk *client.Client, id string) string {
	user, err := clerk.GetUser(ctx, id)
	var failure *client.Error
	switch {
	case errors.Is(err, client.ErrNotFound):
		return "Hello stranger"
	case errors.As(err, &failure):
		return fmt.Sprint("Come back in ", failure.RetryAfter)
	}
	return "Hello " + user.GetFirstName()
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
`,
	"main_test.go": `package main

import (
	"testing"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
	"github.com/clerkgate/clerkgate/client/clienttest"
)

TESTS`,
}

// TestPage runs the Go of docs/clients/go.md and of README.md, and the commands of the former,
// with a live server, in a module that imports this one.
func TestPage(t *testing.T) {
	_, server := clienttest.New(t, clienttest.Config{Users: 10_000})
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(root, "docs", "clients", "go.md")
	at := strings.NewReplacer("127.0.0.1:9090", server.Address())

	commands := blocks(t, page, "sh")
	if len(commands) != 1 {
		t.Fatalf("%d blocks of commands", len(commands))
	}
	_, script, _ := strings.Cut(commands[0], "\n") // the first line starts a server
	app := filepath.Join(t.TempDir(), "app")
	script = strings.NewReplacer(
		"bin/app", app, "../../client", filepath.Join(root, "client"), "=../..", "="+root,
		"go mod tidy", "sed -i.bak s/127.0.0.1:9090/"+server.Address()+"/ main.go && go mod tidy",
	).Replace(script)
	if out := output(t, root, "bash", "-euc", script); !strings.HasSuffix(out, "Seth\n") {
		t.Errorf("the commands print:\n%s", out)
	}

	var pieces, compiled, tests string
	for _, piece := range blocks(t, page, "go") {
		switch {
		case strings.HasPrefix(piece, "func Test"):
			tests += piece
		case strings.Contains(piece, "clerkgate.example"):
			compiled += piece
		default:
			pieces += piece
		}
	}
	write := func(pieces, compiled, tests string) {
		t.Helper()
		fill := strings.NewReplacer("PAGE", at.Replace(pieces), "COMPILED", compiled, "TESTS", tests)
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(app, name), []byte(fill.Replace(text)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(pieces, compiled+"\t_ = secured\n", tests)
	output(t, app, "go", "mod", "tidy")
	output(t, app, "go", "test", ".")
	printed := output(t, app, "go", "run", ".")
	for _, line := range []string{
		"Seth seth.osinski@example.net 20", "plan business", "10000 users", "no such user",
		"user_nobody clerkgate: NotFound (USER_NOT_FOUND): ", "10000 streamed", "user_CsQnnwTgmRLDZMXQVWxBwcECTyw Osinski",
	} {
		if !strings.Contains("\n"+printed, "\n"+line) {
			t.Errorf("the page prints no line %q:\n%s", line, printed)
		}
	}

	readme := blocks(t, filepath.Join(root, "README.md"), "go")
	if len(readme) != 1 {
		t.Fatalf("README.md has %d blocks of Go", len(readme))
	}
	write(readme[0], "", "")
	if err := os.Remove(filepath.Join(app, "main_test.go")); err != nil {
		t.Fatal(err)
	}
	if got := output(t, app, "go", "run", "."); got != "Seth\n" {
		t.Errorf("the README's Go prints %q", got)
	}
}

// output runs a command and returns what it prints to standard output.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir = dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, &errs)
	}
	return string(out)
}
