package main

import (
	"fmt"
	"runtime/debug"
)

// version is set when a release is built, by -ldflags "-X main.version=1.2.3".
var version string

// versionCmd is `clerkgate version`.
type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, "clerkgate", buildVersion())
	return err
}

// buildVersion gives the version that was set, else the module's, else "devel"
// with the commit where the build knows it.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
