package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// envPrefix begins the names of all variables that set flags.
const envPrefix = "CLERKGATE"

// knownVariables returns the names of the environment variables that any command reads.
func knownVariables(app *kong.Node) []string {
	names := []string{secretKeyEnv, webhookSecretEnv, tokenEnv}
	for _, f := range allFlags(app) {
		names = append(names, f.Envs...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkEnvironment returns an error if a variable that begins with CLERKGATE is not a
// setting: most likely it is misspelt, and would have no effect. It ignores
// empty ones, and those that Kubernetes sets for services. The error shows no
// value.
func checkEnvironment(environ, known []string) error {
	var unknown []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(strings.ToUpper(name), envPrefix) || strings.TrimSpace(value) == "" ||
			slices.Contains(known, name) || isServiceLink(name, value) {
			continue
		}
		unknown = append(unknown, fmt.Sprintf("%s (did you mean %s?)", name, nearest(name, known)))
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	const most = 5
	if n := len(unknown) - most; n > 0 {
		unknown = append(unknown[:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("unknown settings in the environment: %s", strings.Join(unknown, ", "))
}

// The variables that Kubernetes sets in each pod for each service of its namespace,
// here for one whose name begins with clerkgate.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var (
	serviceHost    = regexp.MustCompile(`_SERVICE_HOST$`)
	servicePort    = regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$`)
	portURL        = regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP))?$`)
	portOfURL      = regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT$`)
	addressOfURL   = regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR$`)
	protocolOfURL  = regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`)
	protocolOfPort = []string{"tcp", "udp", "sctp"}
)

// isServiceLink reports whether a variable is one that Kubernetes sets for a
// service, by its name and by the form of its value.
func isServiceLink(name, value string) bool {
	isIP := func(s string) bool { _, err := netip.ParseAddr(s); return err == nil }
	isPort := func(s string) bool { n, err := strconv.ParseUint(s, 10, 16); return err == nil && n > 0 }
	switch {
	case serviceHost.MatchString(name), addressOfURL.MatchString(name):
		return isIP(value)
	case servicePort.MatchString(name), portOfURL.MatchString(name):
		return isPort(value)
	case protocolOfURL.MatchString(name):
		return slices.Contains(protocolOfPort, value)
	case portURL.MatchString(name):
		u, err := url.Parse(value)
		return err == nil && slices.Contains(protocolOfPort, u.Scheme) && isIP(u.Hostname()) && isPort(u.Port())
	}
	return false
}

// nearest returns the candidate that needs the fewest changes of a letter to become name.
// It ignores case, and the difference between hyphens and underscores. Candidates that
// begin with name as a whole word come before all others.
func nearest(name string, candidates []string) string {
	name = folded(name)
	changes := func(candidate string) int {
		candidate = folded(candidate)
		d := distance(name, candidate)
		if !strings.HasPrefix(candidate+"-", name+"-") {
			d += 1000 // more than the letters of any name
		}
		return d
	}
	return slices.MinFunc(candidates, func(a, b string) int { return changes(a) - changes(b) })
}

// folded returns a name in lower case, with hyphens.
func folded(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// distance returns the Levenshtein distance, but counts an exchange of two neighbours as
// one change.
func distance(a, b string) int {
	var before, last []int // rows of the table
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
