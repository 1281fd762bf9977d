package caller

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFaults is the maximum number of reported errors of a file.
const maxFaults = 10

// faults collects the errors of a file, each with its line and field. It shows no value,
// since a secret may have been pasted there.
type faults struct{ all []error }

func (f *faults) add(n *yaml.Node, field, format string, args ...any) {
	f.all = append(f.all, fmt.Errorf("line %d: %s: %s", n.Line, field, fmt.Sprintf(format, args...)))
}

func (f *faults) err() error {
	if n := len(f.all) - maxFaults; n > 0 {
		f.all = append(f.all[:maxFaults], fmt.Errorf("and %d more faults", n))
	}
	return errors.Join(f.all...)
}

// document returns the root of a file with one YAML document.
func document(b []byte) (*yaml.Node, error) {
	if line := unprintable(b); line > 0 {
		return nil, fmt.Errorf("line %d: want UTF-8 without control characters", line)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, fmt.Errorf("want YAML: %w", yamlFault(err))
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document, and nothing after it")
	}
	return doc.Content[0], nil
}

// unprintable returns the number of the first line with bytes that are not UTF-8, or with a
// control character; 0 if there is none.
func unprintable(b []byte) int {
	line := 1
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		switch {
		case c == '\n':
			line++
		case c == utf8.RuneError && size == 1, c < ' ' && c != '\t' && c != '\r', c == 0x7f:
			return line
		}
		b = b[size:]
	}
	return 0
}

// yamlFault returns an error of the YAML parser without text from the file.
func yamlFault(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "unknown anchor") {
		return errors.New("there is an alias (*name) of something that does not exist")
	}
	if strings.Contains(text, "`") { // what can't be decoded, in quotes
		return errors.New("there is a value that does not have the type of its tag (!type)")
	}
	if !strings.HasPrefix(text, "line ") {
		text = "line 1: " + text // the parser leaves the first line out
	}
	return errors.New("near " + text) // it may be the line before
}

// checkPlain reports aliases and tags, with which a value is not what it looks like.
func (f *faults) checkPlain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		f.add(n, "the file", "want no aliases (*name): write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		f.add(n, "the file", "want no tags (!type)")
	}
	for _, child := range n.Content {
		f.checkPlain(child)
	}
}

// fields maps keys of a map to the readers of their values.
type fields map[string]func(n *yaml.Node, field string)

// readMap reads a map. Keys outside known are errors.
func (f *faults) readMap(n *yaml.Node, field string, known fields, required ...string) {
	if n.Kind != yaml.MappingNode {
		f.add(n, orRoot(field), "want a map")
		return
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || read == nil:
			f.add(key, orRoot(field), "there is no field of this name; want one of %s", strings.Join(names(known), ", "))
		case slices.Contains(seen, key.Value):
			f.add(key, join(field, key.Value), "given twice")
		default:
			read(value, join(field, key.Value))
		}
		seen = append(seen, key.Value)
	}
	for _, r := range required {
		if !slices.Contains(seen, r) {
			f.add(n, join(field, r), "is missing")
		}
	}
}

// readList reads a list with at least one element.
func (f *faults) readList(n *yaml.Node, field string, read func(n *yaml.Node, field string)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		f.add(n, field, "want a list with at least one element")
		return
	}
	for i, element := range n.Content {
		read(element, fmt.Sprintf("%s[%d]", field, i))
	}
}

// readText reads a non-empty text.
func (f *faults) readText(n *yaml.Node, field string, to *string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		f.add(n, field, "want a text")
		return false
	}
	*to = strings.TrimSpace(n.Value)
	return true
}

func (f *faults) readBool(n *yaml.Node, field string, to *bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		f.add(n, field, "want true or false")
		return
	}
	*to = n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
}

// readInt reads a number between least and most.
func (f *faults) readInt(n *yaml.Node, field string, least, most int, to *int) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < least || v > most {
		f.add(n, field, "want a number from %d to %d", least, most)
		return
	}
	*to = v
}

func (f *faults) readTime(n *yaml.Node, field string, to *time.Time) {
	v, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		f.add(n, field, "want a time such as 2027-01-31T00:00:00Z")
		return
	}
	*to = v
}

// readLimit reads a limit such as 1000/10s.
func (f *faults) readLimit(n *yaml.Node, field string, to *Limit) {
	count, window, _ := strings.Cut(n.Value, "/")
	v, err := strconv.Atoi(count)
	d, durationErr := time.ParseDuration(window)
	if n.Kind != yaml.ScalarNode || err != nil || durationErr != nil || v < 1 || v > 1e9 || d < time.Second || d > 24*time.Hour {
		f.add(n, field, "want a number and a window, such as 1000/10s: a number of 1 to 1000000000, and 1s to 24h")
		return
	}
	*to = Limit{v, d}
}

// readPercent reads a percentage of 1% to most, such as 20%.
func (f *faults) readPercent(n *yaml.Node, field string, most int, to *int) bool {
	digits, percent := strings.CutSuffix(n.Value, "%")
	v, err := strconv.Atoi(digits)
	if n.Kind != yaml.ScalarNode || !percent || err != nil || v < 1 || v > most {
		f.add(n, field, "want a percentage of 1%% to %d%%, such as 20%%", most)
		return false
	}
	*to = v
	return true
}

func names(known fields) []string {
	var all []string
	for name := range known {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

func orRoot(field string) string {
	if field == "" {
		return "the file"
	}
	return field
}
