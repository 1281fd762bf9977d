package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/caller"
	"github.com/clerkgate/clerkgate/internal/words"
	"github.com/clerkgate/clerkgate/server"
)

// callerFlags are the flags that decide who may call.
type callerFlags struct {
	CallersFile          string `placeholder:"FILE" group:"Callers" reload:"of its content, within a second or at SIGHUP" help:"The YAML file of callers, their identities and permissions (docs/callers.md). All other callers are refused. Default: everybody is served, on loopback addresses and Unix sockets only."`
	AllowUnauthenticated bool   `group:"Callers" help:"Allow the gRPC and HTTP listeners to listen beyond this machine without a callers file and without client certificates. Everybody who can connect is served."`
	Pprof                bool   `group:"Callers" help:"Serve Go's profiles at /debug/pprof/ on the HTTP listener: to callers with the permission or, without a callers file, to this machine only."`
}

// checkCallers checks the flags that decide who may call. It reports whether certificates in
// the callers file can be recognized only with --client-ca-file.
func (c *serveCmd) checkCallers(l listenerTLS) (needsClientCA bool, err error) {
	if c.CallersFile != "" {
		switch {
		case c.FullView != "":
			return false, usagef("--callers-file: not together with --full-view: the file decides who may use USER_VIEW_FULL")
		case c.AllowUnauthenticated:
			return false, usagef("--callers-file: not together with --allow-unauthenticated")
		}
		if needsClientCA, err = server.CheckCallers(c.CallersFile); err != nil {
			return false, usagef("--callers-file: %v", err)
		}
		return needsClientCA, nil
	}
	for _, a := range []struct {
		flag, address string
		tls           server.TLSFiles
	}{{"grpc-listen", c.GRPCListen, l.grpc}, {"http-listen", c.HTTPListen, l.http}} {
		if onlyHere(a.address) {
			continue
		}
		if !c.AllowUnauthenticated && a.tls.ClientCA == "" {
			return false, usagef("--%s: %s can be reached from other machines, and callers there would not be identified: use --callers-file, --client-ca-file or --allow-unauthenticated", a.flag, a.address)
		}
		if c.Pprof && a.flag == "http-listen" {
			return false, usagef("--pprof: without --callers-file it needs a loopback address or a Unix socket for --http-listen")
		}
	}
	return false, nil
}

// unauthenticated reports whether callers on other machines are served without identification.
func (c *serveCmd) unauthenticated(l listenerTLS) bool {
	return c.CallersFile == "" && (!onlyHere(c.GRPCListen) && l.grpc.ClientCA == "" || !onlyHere(c.HTTPListen) && l.http.ClientCA == "")
}

// tokenCmd is `clerkgate token`.
type tokenCmd struct {
	New tokenNewCmd `cmd:"" help:"Make a token. It is printed once, to stdout; the lines for the callers file are printed to stderr."`
}

// tokenNewCmd is `clerkgate token new`.
type tokenNewCmd struct {
	NotAfter time.Duration `placeholder:"DURATION" help:"How long the token is valid, such as 2160h for 90 days. Default: for ever."`
	Output   string        `short:"o" enum:"text,json" default:"text" help:"text (the token alone) or json (token, sha256 and not_after)."`
}

// Run makes a token.
func (c *tokenNewCmd) Run(std streams) error {
	if c.NotAfter < 0 {
		return usagef("--not-after: want a duration above 0, such as 2160h")
	}
	text, until := caller.NewToken(), ""
	if c.NotAfter > 0 {
		until = time.Now().Add(c.NotAfter).UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	if c.Output == "json" {
		return printValue(std.out, struct {
			Token    string `json:"token"`
			SHA256   string `json:"sha256"`
			NotAfter string `json:"not_after,omitempty"`
		}{text, caller.HashToken(text), until}, true)
	}
	entry := "- sha256: " + caller.HashToken(text) + "\n"
	if until != "" {
		entry += "  not_after: " + until + "\n"
	}
	if _, err := fmt.Fprintf(std.err, "For the callers file, under identity.tokens:\n%s", entry); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, text)
	return err
}

// whoamiCmd is `clerkgate whoami`.
type whoamiCmd struct {
	clientFlags `embed:"" group:"Connection"`
	Output      string `short:"o" enum:"json,table" default:"table" help:"json or table."`
}

// Run prints the identity and the permissions of the caller, as the server sees them.
func (c *whoamiCmd) Run(ctx context.Context, std streams) error {
	return c.once(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := clerkgatev1.NewCallerServiceClient(conn).WhoAmI(ctx, &clerkgatev1.WhoAmIRequest{})
		if err != nil {
			return callError(err)
		}
		if c.Output == "json" {
			return printJSON(std.out, resp, true)
		}
		return printCaller(std.out, resp)
	})
}

func printCaller(w io.Writer, who *clerkgatev1.WhoAmIResponse) error {
	priority, streams, view := "interactive", "as many as any caller", "nothing"
	if who.GetBatchOnly() {
		priority = "batch"
	}
	if n := who.GetMaxStreams(); n > 0 {
		streams = fmt.Sprint(n)
	}
	if len(who.GetFullView()) > 0 {
		view = strings.Join(who.GetFullView(), ", ")
	}
	guaranteed := "nothing beyond its turns"
	if n := who.GetGuaranteedPercent(); n > 0 {
		guaranteed = fmt.Sprintf("%d%% of the requests", n)
	}
	name := who.GetName()
	if name == "" {
		name, view = "(the server has no callers file)", "as --full-view of the server allows"
	}
	_, err := fmt.Fprintf(w, "caller          %s\nmethods         %s\nFULL view       %s\npriority        %s at most\nstreams         %s\nweight          %d\nguaranteed      %s\nlookups         %s\nrequests        %s\n",
		oneLine(name), oneLine(strings.Join(who.GetMethods(), ", ")), oneLine(view), priority, streams,
		max(who.GetWeight(), 1), guaranteed, limitText(who.GetMaxLookups()), limitText(who.GetMaxRequests()))
	return err
}

func limitText(l *clerkgatev1.CallerLimit) string {
	if l == nil {
		return "no limit of its own"
	}
	return fmt.Sprintf("at most %d per %s", l.GetCount(), words.Per(l.GetWindow().AsDuration()))
}
