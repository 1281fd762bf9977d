// Command openapi reads an OpenAPI description from its standard input and
// writes the fields of the schema that it is given, and of those that this one
// refers to, as a table of five columns with tabs between them:
//
//   - the schema's name
//   - the field's name
//   - its type: string, boolean, integer, number, object (one without a schema
//     of its own), or the name of a schema. Where the description allows one of
//     several, they stand with | between them; a list has [] before it; a string
//     of which the description names the values is "a"|"b".
//   - required or optional
//   - nullable or -
//
// The table of Clerk's users that the tests of clerkapi use is written by
//
//	go run ./tools/openapi User <bapi/2026-05-12.yml >>clerkapi/testdata/openapi_user.tsv
//
// after the comment at the file's top.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: openapi SCHEMA <DESCRIPTION")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// schema has the parts of an OpenAPI 3.0 schema that are used.
type schema struct {
	Ref        string            `yaml:"$ref"`
	Type       string            `yaml:"type"`
	Nullable   bool              `yaml:"nullable"`
	Enum       []string          `yaml:"enum"`
	Items      *schema           `yaml:"items"`
	Properties map[string]schema `yaml:"properties"`
	Required   []string          `yaml:"required"`
	AllOf      []schema          `yaml:"allOf"`
	OneOf      []schema          `yaml:"oneOf"`
}

// run writes the table of the schema called root.
func run(root string, in io.Reader, out io.Writer) error {
	var description struct {
		Components struct {
			Schemas map[string]schema `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.NewDecoder(in).Decode(&description); err != nil {
		return err
	}
	queue, seen := []string{root}, map[string]bool{root: true}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		s, ok := description.Components.Schemas[name]
		if !ok {
			return fmt.Errorf("the description has no schema %q", name)
		}
		if len(s.Properties) == 0 {
			return fmt.Errorf("schema %q has no fields", name)
		}
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[field]
			text, refs, err := typeOf(p)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", name, field, err)
			}
			required, nullable := "optional", "-"
			if slices.Contains(s.Required, field) {
				required = "required"
			}
			if p.Nullable {
				nullable = "nullable"
			}
			if _, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", name, field, text, required, nullable); err != nil {
				return err
			}
			for _, ref := range refs {
				if !seen[ref] {
					seen[ref] = true
					queue = append(queue, ref)
				}
			}
		}
	}
	return nil
}

// typeOf returns a field's type as the table shows it, and the schemas that it names.
func typeOf(s schema) (text string, refs []string, err error) {
	alternatives := slices.Concat(s.OneOf, s.AllOf)
	switch {
	case s.Ref != "":
		name := path.Base(s.Ref)
		return name, []string{name}, nil
	case len(s.AllOf) > 1:
		return "", nil, errors.New("allOf of several schemas")
	case len(alternatives) > 0:
		for _, a := range alternatives {
			if a.Ref == "" {
				return "", nil, errors.New("an alternative without a name")
			}
			refs = append(refs, path.Base(a.Ref))
		}
		return strings.Join(refs, "|"), refs, nil
	case s.Type == "array":
		text, refs, err = typeOf(*cmp.Or(s.Items, &schema{}))
		return "[]" + text, refs, err
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = strconv.Quote(v)
		}
		return strings.Join(values, "|"), nil, nil
	case s.Type == "object" && len(s.Properties) > 0:
		return "", nil, errors.New("an object with fields and no name")
	case s.Type == "":
		return "", nil, errors.New("no type")
	}
	return s.Type, nil, nil
}
