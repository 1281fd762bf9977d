package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile gives the values of flags that neither the command line nor the
// environment has set.
type configFile struct {
	path   string
	values map[string]string // by the flag's name
}

// readConfig reads the YAML file at path: a flat map whose keys are names of
// flags. A missing file, an unknown key and a value that is no scalar are
// errors that name what is at fault, but show no value.
func readConfig(path string, flags []*kong.Flag) (*configFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer file.Close()
	nodes := map[string]yaml.Node{}
	if err := yaml.NewDecoder(file).Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s: want a YAML map of flag names to values, such as 'quota: 250/10s': %w", path, err)
	}
	known := map[string]bool{}
	for _, f := range flags {
		known[f.Name] = f.Name != "config" && f.Name != "help"
	}
	c := &configFile{path: path, values: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[key]
		switch {
		case !known[key]:
			return nil, fmt.Errorf("--config: %s: line %d: there is no setting %q", path, node.Line, key)
		case node.Kind != yaml.ScalarNode || node.Tag == "!!null":
			return nil, fmt.Errorf("--config: %s: line %d: %s: want one value", path, node.Line, key)
		}
		c.values[key] = node.Value
	}
	return c, nil
}

// Validate finds nothing to complain of: readConfig has looked already.
func (*configFile) Validate(*kong.Application) error { return nil }

// Resolve gives the file's value of a flag that the environment has not set.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c.values[flag.Name]
	if !ok || slices.ContainsFunc(flag.Envs, isSet) {
		return nil, nil
	}
	return value, nil
}

func isSet(env string) bool {
	_, ok := os.LookupEnv(env)
	return ok
}
