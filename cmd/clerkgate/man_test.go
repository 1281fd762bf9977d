package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// TestManPage compares the man page with the commands and their flags.
func TestManPage(t *testing.T) {
	const path = "../../docs/clerkgate.1"
	want := manPage(modelOf(t))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is out of date; run go test ./cmd/clerkgate -update (-want +got):\n%s", path, diff)
	}
}

// manPage returns the man page of the commands below app.
func manPage(app *kong.Node) string {
	var b strings.Builder
	summary, codes, _ := strings.Cut(description, "\n\nExit codes: ")
	fmt.Fprintf(&b, ".\\\" Written by go test ./cmd/clerkgate -update.\n.TH CLERKGATE 1\n.SH NAME\nclerkgate \\- %s\n", roff("read Clerk's users under one shared quota"))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B clerkgate\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n%s\n.SH COMMANDS\n", roff(summary))
	for _, leaf := range app.Leaves(true) {
		manCommand(&b, leaf)
	}
	b.WriteString(".SH EXIT STATUS\n")
	codes, rest, _ := strings.Cut(codes, ". ")
	for code := range strings.SplitSeq(codes, "; ") {
		number, meaning, _ := strings.Cut(code, " ")
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", number, roff(meaning))
	}
	fmt.Fprintf(&b, ".PP\n%s\n.SH ENVIRONMENT\n%s\n", roff(rest), roff("Each flag can be set by the variables in parentheses after it. A flag overrides its variables."))
	return b.String()
}

// manCommand writes the section of one command.
func manCommand(b *strings.Builder, command *kong.Node) {
	fmt.Fprintf(b, ".SS %s\n%s\n", roff(command.FullPath()), roff(command.Help))
	for _, arg := range command.Positional {
		fmt.Fprintf(b, ".TP\n.I %s\n%s\n", roff(arg.Summary()), roff(arg.Help))
	}
	for _, f := range command.Flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s", roff(name))
		if !f.IsBool() {
			fmt.Fprintf(b, "=%s", roff(f.FormatPlaceHolder()))
		}
		fmt.Fprintf(b, "\n%s\n", roff(helpWithEnvironment(f.Value)))
	}
}

// roff escapes text for a man page.
func roff(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '.' && i == 0:
			b.WriteString(`\&.`)
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
