package main

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"github.com/invopop/jsonschema"
)

// configCmd is `clerkgate config`.
type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Check the settings of serve, and print those in effect, where each comes from, and what is unsafe about them. It takes the same flags, environment and file, and opens nothing."`
	Schema configSchemaCmd `cmd:"" help:"Print a JSON schema of the configuration file, for editors."`
}

// configCheckCmd is `clerkgate config check`.
type configCheckCmd struct {
	serveCmd `embed:""`
	Output   string `short:"o" enum:"json,table" default:"table" help:"json or table."`
}

// checkResult is the result of `clerkgate config check`.
type checkResult struct {
	Settings []setting `json:"settings"`
	Warnings []string  `json:"warnings"`
}

// Run checks the settings.
func (c *configCheckCmd) Run(parsed *kong.Context, std streams, o *origins) error {
	s, err := c.settings(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	flags := settingsFlags(parsed)
	result := checkResult{c.effective(o, flags, s), append([]string{}, c.serveCmd.warnings(o, flags, s)...)} // in JSON never null
	if c.Output == "json" {
		return printValue(std.out, result, true)
	}
	return result.print(std.out)
}

// print writes the settings as a table, and then the warnings.
func (r checkResult) print(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, s := range r.Settings {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, oneLine(value), oneLine(s.From))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	b.WriteString("\n")
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", oneLine(text))
	}
	if len(r.Warnings) == 0 {
		b.WriteString("no warnings\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// configSchemaCmd is `clerkgate config schema`.
type configSchemaCmd struct{}

// Run prints the schema.
func (configSchemaCmd) Run(parsed *kong.Context, std streams) error {
	return printValue(std.out, fileSchema(serveFlags(parsed.Model.Node)), true)
}

// fileSchema returns the JSON schema of a configuration file.
func fileSchema(flags []*kong.Flag) *jsonschema.Schema {
	s := &jsonschema.Schema{
		Version:              jsonschema.Version,
		Title:                "clerkgate's configuration file",
		Type:                 "object",
		Properties:           jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema,
	}
	for _, f := range flags {
		s.Properties.Set(f.Name, valueSchema(f))
	}
	return s
}

// goDuration matches the durations that time.ParseDuration accepts, without a sign.
const goDuration = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$|^0$`

// valueSchema returns the schema of one setting's value.
func valueSchema(f *kong.Flag) *jsonschema.Schema {
	s := &jsonschema.Schema{Description: f.Help, Type: "string"}
	if f.HasDefault {
		s.Default = f.Default
	}
	switch f.Target.Interface().(type) {
	case time.Duration:
		s.Pattern = goDuration
		return s
	case string:
		if f.Enum != "" {
			for _, value := range f.EnumSlice() {
				s.Enum = append(s.Enum, value)
			}
		}
		s.MinLength = new(uint64)
		*s.MinLength = 1
		return s
	}
	switch f.Target.Kind() {
	case reflect.Bool:
		s.Type, s.Default = "boolean", false
	case reflect.Int, reflect.Uint64:
		s.Type = "integer"
		if n, err := strconv.ParseInt(f.Default, 10, 64); err == nil {
			s.Default = n
		}
	case reflect.Float64:
		s.Type = "number"
		if n, err := strconv.ParseFloat(f.Default, 64); err == nil {
			s.Default = n
		}
	default: // it reads a text of its own
	}
	return s
}
