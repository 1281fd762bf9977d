package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// origin is where a setting's value comes from.
type origin struct {
	place place
	name  string // of the environment variable, or the file's path
	line  int    // in the file
}

// place is a kind of origin. A later one takes precedence over an earlier one.
type place int

const (
	fromDefault place = iota
	fromFile
	fromEnvironment
	fromFlag
)

func (o origin) String() string {
	switch o.place {
	case fromFile:
		return fmt.Sprintf("%s, line %d", o.name, o.line)
	case fromEnvironment:
		return "$" + o.name
	case fromFlag:
		return "flag"
	}
	return "default"
}

// origins finds the values of flags that the command line does not have, in the
// environment and in the configuration file, and remembers where each came from.
// It is a kong.Resolver.
type origins struct {
	args    []string
	command string // such as "config check"
	flags   []*kong.Flag
	file    *configFile // nil: there is none
	found   map[string]origin
}

// of returns where the value of a flag comes from.
func (o *origins) of(flag string) origin { return o.found[flag] }

// newParser returns a parser of c that uses o for the flags that the command line does not
// have. kong itself would treat an empty variable as set.
func (o *origins) newParser(c *cli, options ...kong.Option) (*kong.Kong, error) {
	o.found = map[string]origin{}
	parser, err := kong.New(c, append(options, kong.DefaultEnvars(envPrefix), kong.ValueFormatter(helpWithEnvironment),
		kong.KindMapper(reflect.Int, kong.MapperFunc(decimal)), kong.KindMapper(reflect.Uint64, kong.MapperFunc(decimal)),
		kong.Resolvers(o), kong.WithBeforeResolve(o.prepare), kong.Bind(o),
		kong.Vars{"filter_fields": strings.Join(filterFields((&clerkgatev1.UserFilter{}).ProtoReflect().Descriptor()), ", ")})...)
	if err != nil {
		return nil, err
	}
	for _, f := range allFlags(parser.Model.Node) {
		f.Tag.Envs = nil // f.Envs stay
	}
	return parser, nil
}

// decimal reads a whole number. kong itself would read 010 as 8.
func decimal(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("whole number", &text); err != nil {
		return err
	}
	var err error
	if target.CanUint() {
		var n uint64
		n, err = strconv.ParseUint(text, 10, target.Type().Bits())
		target.SetUint(n)
	} else {
		var n int64
		n, err = strconv.ParseInt(text, 10, target.Type().Bits())
		target.SetInt(n)
	}
	if err != nil {
		return fmt.Errorf("want a whole number, such as 100, not %q", text)
	}
	return nil
}

// helpWithEnvironment is a flag's help with its environment variables, and with its
// default where a placeholder hides it.
func helpWithEnvironment(v *kong.Value) string {
	if v.Flag == nil {
		return v.Help
	}
	help := v.Help
	if v.Flag.PlaceHolder != "" && v.HasDefault {
		help += fmt.Sprintf(" Default: %s.", v.Default)
	}
	if len(v.Flag.Envs) > 0 {
		help += fmt.Sprintf(" ($%s)", strings.Join(v.Flag.Envs, ", $"))
	}
	return help
}

// allFlags returns the flags of a command and of all below it.
func allFlags(n *kong.Node) []*kong.Flag {
	flags := slices.Clone(n.Flags)
	for _, child := range n.Children {
		flags = append(flags, allFlags(child)...)
	}
	return flags
}

// prepare checks the command line and the environment, and reads the configuration file.
// kong calls it for each part of the command line.
func (o *origins) prepare(parsing *kong.Context) error {
	selected := parsing.Selected()
	if selected == nil || o.command != "" {
		return nil
	}
	o.command, o.flags = parsing.Command(), selected.Flags
	for _, p := range parsing.Path {
		if p.Flag == nil || p.Resolved {
			continue
		}
		name := p.Flag.Name
		switch {
		case o.of(name).place == fromFlag && !p.Flag.IsCumulative():
			return fmt.Errorf("--%s: given twice", name)
		case p.Flag.Target.Kind() == reflect.String && parsing.FlagValue(p.Flag) == "":
			return fmt.Errorf("--%s: the value is empty; leave the flag out for its default", name)
		}
		o.found[name] = origin{place: fromFlag}
	}
	if strings.HasPrefix(o.command, "version") {
		return nil
	}
	if err := checkEnvironment(os.Environ(), knownVariables(parsing.Model.Node)); err != nil {
		return err
	}
	i := slices.IndexFunc(o.flags, func(f *kong.Flag) bool { return f.Name == configFlag })
	if i < 0 {
		return nil
	}
	path, _ := parsing.FlagValue(o.flags[i]).(string)
	if path == "" {
		path, _ = o.environment(o.flags[i])
	}
	if path == "" {
		return nil
	}
	var err error
	o.file, err = readConfig(path, serveFlags(parsing.Model.Node))
	return err
}

// environment returns the value that the environment has for a flag, and the
// variable's name. An empty value, or one of white space, counts as none.
func (*origins) environment(f *kong.Flag) (value, name string) {
	for _, env := range f.Envs {
		if value := strings.TrimSpace(os.Getenv(env)); value != "" {
			return value, env
		}
	}
	return "", ""
}

// Validate implements kong.Resolver. All has been checked already.
func (*origins) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (o *origins) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if value, env := o.environment(f); value != "" {
		o.found[f.Name] = origin{place: fromEnvironment, name: env}
		return value, nil
	}
	if o.file != nil {
		if v, ok := o.file.values[f.Name]; ok {
			o.found[f.Name] = origin{place: fromFile, name: o.file.path, line: v.line}
			return v.text, nil
		}
	}
	return nil, nil
}

var flagAtFault = regexp.MustCompile(`^--([a-z0-9-]+)\b`)

// explain adds to an error about a flag where its value came from, if that was not
// the command line.
func (o *origins) explain(message string) string {
	m := flagAtFault.FindStringSubmatch(message)
	if m == nil {
		return message
	}
	if from := o.of(m[1]); from.place == fromEnvironment || from.place == fromFile {
		return fmt.Sprintf("%s (set by %v)", message, from)
	}
	return message
}
