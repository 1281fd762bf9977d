package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/clerkgate/clerkgate/internal/livefile"
)

// configFlag names the configuration file.
const configFlag = "config"

// serveFlags returns the flags of serve that a configuration file may set.
func serveFlags(app *kong.Node) []*kong.Flag {
	for _, command := range app.Children {
		if command.Name == "serve" {
			return slices.DeleteFunc(slices.Clone(command.Flags), func(f *kong.Flag) bool {
				return f.Name == configFlag || f.Name == "help"
			})
		}
	}
	return nil
}

// configFile holds the settings of a configuration file.
type configFile struct {
	path   string
	values map[string]fileValue // by the flag's name
}

// fileValue is a value in a configuration file, without white space around it.
type fileValue struct {
	text string
	line int
}

// readConfig reads the YAML file at path: a flat map whose keys are names of
// flags. A missing file, an unknown or repeated key, and a value that is empty or not a
// scalar are errors. They name the setting, but show no value.
func readConfig(path string, flags []*kong.Flag) (*configFile, error) {
	text, err := livefile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	nodes, documents := map[string]yaml.Node{}, yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err = documents.Decode(&document)
	if err == nil {
		err = document.Decode(&nodes)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s: want a YAML map of flag names to values, such as 'quota: 250/10s': %w", path, err)
	}
	for _, root := range document.Content {
		for i := 0; i < len(root.Content); i += 2 {
			if key := root.Content[i]; key.Tag == "!!null" { // Decode leaves it out
				return nil, fmt.Errorf("--config: %s: line %d: there is no setting %q", path, key.Line, key.Value)
			}
		}
	}
	if err := documents.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s: want one YAML document, and nothing after it", path)
	}
	var known []string
	for _, f := range flags {
		known = append(known, f.Name)
	}
	c := &configFile{path: path, values: map[string]fileValue{}}
	for _, key := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[key]
		text := strings.TrimSpace(node.Value)
		switch {
		case !slices.Contains(known, key):
			return nil, fmt.Errorf("--config: %s: line %d: there is no setting %q (did you mean %s?)", path, node.Line, key, nearest(strings.TrimPrefix(folded(key), folded(envPrefix+"_")), known))
		case node.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("--config: %s: line %d: %s: want one value", path, node.Line, key)
		case node.Tag == "!!null" || text == "":
			return nil, fmt.Errorf("--config: %s: line %d: %s: want one value; leave the line out for the default", path, node.Line, key)
		}
		c.values[key] = fileValue{text, node.Line}
	}
	return c, nil
}
