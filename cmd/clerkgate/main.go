// Command clerkgate serves the users of a Clerk instance over gRPC, simulates
// Clerk, and is a client of its own server for people and scripts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// description is the beginning of `clerkgate --help`.
const description = `Reads Clerk's users under one shared quota and serves them over gRPC.

Exit codes: ` + exitCodes

// cli is the command line.
type cli struct {
	PrintVersion kong.VersionFlag `name:"version" short:"v" env:"-" help:"Print the version."`

	Serve      serveCmd      `cmd:"" group:"Server" help:"Serve users over gRPC."`
	Sim        simCmd        `cmd:"" group:"Server" help:"Simulate Clerk's API alone, for tests of anything that talks to Clerk."`
	Get        getCmd        `cmd:"" group:"Users" help:"Read users by their ids."`
	List       listCmd       `cmd:"" group:"Users" help:"List users."`
	Export     exportCmd     `cmd:"" group:"Users" help:"Write all users to a file or pipe, as JSON lines or CSV, and resume after an interruption."`
	Invalidate invalidateCmd `cmd:"" group:"Users" help:"Drop users from every cache, after a change at Clerk."`
	Count      countCmd      `cmd:"" group:"Users" help:"Count users."`
	Quota      quotaCmd      `cmd:"" group:"State of a server" help:"Show the state of the quota, the queue and the breaker."`
	Whoami     whoamiCmd     `cmd:"" group:"State of a server" help:"Show how the server identifies the caller, and what the caller may do."`
	Token      tokenCmd      `cmd:"" group:"Server" help:"Make tokens for callers."`
	Config     configCmd     `cmd:"" group:"Server" help:"Check the settings of serve, or print the schema of its configuration file."`
	Health     healthCmd     `cmd:"" group:"State of a server" help:"Report whether a server is serving; fails if not. A probe for images without a shell."`
	Completion completionCmd `cmd:"" group:"Others" help:"Print code that completes commands and flags in bash, zsh or fish."`
	Version    versionCmd    `cmd:"" group:"Others" help:"Print the version."`
}

// streams are the outputs of a command.
type streams struct {
	out, err io.Writer
}

// stdin is the input of a command.
type stdin struct{ io.Reader }

// usageError is a fault of the flags, the environment or the configuration.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run runs the command in args until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	return runWith(ctx, args, stdin{os.Stdin}, std)
}

// runWith is run with another standard input.
func runWith(ctx context.Context, args []string, in stdin, std streams) int {
	var c cli
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	from := &origins{args: args}
	exited := false
	parser, err := from.newParser(&c,
		kong.Name("clerkgate"),
		kong.Description(description),
		kong.Vars{"version": versionLine()},
		kong.UsageOnError(),
		kong.Writers(std.out, std.err),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
		kong.Bind(in),
	)
	if err != nil {
		return report(std, err, exitFailed)
	}
	if os.Getenv(completionLine) != "" {
		kongcompletion.Register(parser)
		return 0
	}
	command, err := parser.Parse(args)
	if exited {
		return 0
	}
	if err != nil {
		return report(std, errors.New(from.explain(err.Error())), exitUsage)
	}
	err = command.Run()
	var usage *usageError
	var coded *codedError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.As(err, &coded) && coded.code == exitUnavailable):
		return report(std, errors.New("interrupted"), exitInterrupted)
	case errors.As(err, &coded):
		if coded.message == "" {
			return coded.code
		}
		return report(std, err, coded.code)
	case errors.As(err, &usage):
		return report(std, errors.New(from.explain(usage.message)), exitUsage)
	}
	return report(std, err, exitFailed)
}

// report prints err in one line and returns code.
func report(std streams, err error, code int) int {
	fmt.Fprintln(std.err, "clerkgate: "+oneLine(err.Error()))
	return code
}

// oneLine makes text fit for a line on a terminal.
func oneLine(s string) string { return clerkapi.Clean(s, 0) }
