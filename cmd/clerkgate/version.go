package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set when a release is built, by -ldflags "-X main.version=1.2.3".
var version string

// versionCmd is `clerkgate version`.
type versionCmd struct {
	Output string `short:"o" enum:"json,table" default:"table" help:"json, or table (one line)."`
}

// Run prints the version.
func (c versionCmd) Run(std streams) error {
	if c.Output == "json" {
		return printValue(std.out, struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
			Commit  string `json:"commit,omitempty"`
		}{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, commit()}, true)
	}
	_, err := fmt.Fprintln(std.out, versionLine())
	return err
}

// versionLine returns the version, the versions and platform of the build, and the commit
// if the build knows it.
func versionLine() string {
	facts := []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if c := commit(); c != "" {
		facts = append(facts, "commit "+c)
	}
	return fmt.Sprintf("clerkgate %s (%s)", buildVersion(), strings.Join(facts, ", "))
}

// commit returns the first digits of the build's commit, empty if it is not known.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}

// buildVersion returns the version that was set, else the module's, else "devel"
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
	if c := commit(); c != "" {
		return "devel-" + c
	}
	return "devel"
}
