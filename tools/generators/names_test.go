//go:build generators

package generators

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// language is one whose generator may write another name than that of the
// contract: one that it can't use as it is.
type language struct {
	name, suffix string
	flags        []string
	// declared matches declarations of fields, and of values of enumerations
	// where value is set. Its groups, with spaces between them, are what field and
	// value return for a name that is kept.
	declared *regexp.Regexp
	field    func(f protoreflect.FieldDescriptor) string
	value    func(v protoreflect.EnumValueDescriptor) string
	// renamed are fields that the language can't have under their own names,
	// whichever message they are in.
	renamed []protoreflect.Name
}

var languages = []language{
	{
		name: "C#", suffix: ".cs", flags: []string{"--csharp_out=OUT"},
		declared: regexp.MustCompile(`public const int (\w+)FieldNumber = (\d+);|OriginalName\("(\w+)"\)\] (\w+) = `),
		field: func(f protoreflect.FieldDescriptor) string {
			return fmt.Sprintf("%s %d", pascal(f.Name()), f.Number())
		},
		value: func(v protoreflect.EnumValueDescriptor) string {
			return fmt.Sprintf("%s %s", v.Name(), pascal(stripped(v)))
		},
	}, {
		name: "Java", suffix: ".java", flags: []string{"--java_out=OUT"},
		declared: regexp.MustCompile(`(?m)^ +(?:@java\.lang\.Deprecated )?[\w.]+ get(\w+)\((int index)?\);`),
		field: func(f protoreflect.FieldDescriptor) string {
			return pascal(f.Name()) + ifList(f, " int index")
		},
	}, {
		name: "Kotlin", suffix: ".kt", flags: []string{"--kotlin_out=OUT"},
		declared: regexp.MustCompile(`(?m)^ +(?:@kotlin\.Deprecated\(.*\) )?public va[lr] (\w+): `),
		field:    func(f protoreflect.FieldDescriptor) string { return camel(f.Name()) },
		renamed:  []protoreflect.Name{"object"}, // a keyword; it becomes object_
	}, {
		name: "Python", suffix: ".pyi", flags: []string{"--pyi_out=OUT"},
		declared: regexp.MustCompile(`(?m)^ +([a-z]\w*): `),
		field:    func(f protoreflect.FieldDescriptor) string { return string(f.Name()) },
	}, {
		name: "PHP", suffix: ".php", flags: []string{"--php_out=OUT"},
		declared: regexp.MustCompile(`public function get(\w+)\(\)|const (\w+) = \d+;`),
		field:    func(f protoreflect.FieldDescriptor) string { return pascal(f.Name()) },
		value:    func(v protoreflect.EnumValueDescriptor) string { return string(v.Name()) },
	}, {
		name: "Objective-C", suffix: ".h", flags: []string{"--objc_out=OUT"},
		declared: regexp.MustCompile(`(?m)^@property\(nonatomic, readwrite.*?\)[^;(]*?[ *](\w+)(?: (?:GPB|DEPRECATED)\w+(?:\(.*\))?)?;`),
		field: func(f protoreflect.FieldDescriptor) string {
			return regexp.MustCompile(`Url\b`).ReplaceAllString(camel(f.Name()), "URL") + ifList(f, "Array")
		},
		renamed: []protoreflect.Name{"id"}, // a keyword; it becomes id_p
	}, {
		name: "C++", suffix: ".h", flags: []string{"--cpp_out=OUT"},
		declared: regexp.MustCompile(`(?m)^  (?:PROTOBUF_DEPRECATED )?[\w:& ]+ (\w+)\((int index)?\) const;`),
		field: func(f protoreflect.FieldDescriptor) string {
			return string(f.Name()) + ifList(f, " int index")
		},
	}, {
		name: "TypeScript", suffix: ".ts", flags: []string{"--plugin=protoc-gen-es=NODE_MODULES/.bin/protoc-gen-es", "--es_out=OUT", "--es_opt=target=ts"},
		declared: regexp.MustCompile(`(?m)^  (\w+\$?)(?:\??: | = \d+,)|case: "(\w+)";`),
		field:    func(f protoreflect.FieldDescriptor) string { return camel(f.Name()) },
		value:    func(v protoreflect.EnumValueDescriptor) string { return string(stripped(v)) },
	},
}

func ifList(f protoreflect.FieldDescriptor, text string) string {
	if f.IsList() {
		return text
	}
	return ""
}

// pascal turns a name like web3_wallet into Web3Wallet.
func pascal(name protoreflect.Name) string {
	out, up := []byte{}, true
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			up = true
			continue
		case 'a' <= c && c <= 'z' && up:
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z' && !up:
			c += 'a' - 'A'
		}
		out = append(out, c)
		up = '0' <= c && c <= '9'
	}
	return string(out)
}

// camel turns a name like web3_wallet into web3Wallet.
func camel(name protoreflect.Name) string {
	text := pascal(name)
	return strings.ToLower(text[:1]) + text[1:]
}

// stripped returns a value's name without that of its enumeration, which some
// languages leave out.
func stripped(v protoreflect.EnumValueDescriptor) protoreflect.Name {
	prefix := regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(string(v.Parent().Name()), "${1}_${2}")
	return protoreflect.Name(strings.TrimPrefix(string(v.Name()), strings.ToUpper(prefix)+"_"))
}

// misnamed returns the fields and values of the protos in dir that do not have
// their own names in what the language's generator writes.
func misnamed(t *testing.T, l language, dir string) []string {
	t.Helper()
	flags := slices.Clone(l.flags)
	for i := range flags {
		if strings.Contains(flags[i], "NODE_MODULES") {
			flags[i] = strings.ReplaceAll(flags[i], "NODE_MODULES", npm(t))
		}
	}
	out := protoc(t, dir, flags...)
	found := map[string]int{}
	for _, name := range find(t, out, l.suffix) {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, groups := range l.declared.FindAllStringSubmatch(string(text), -1) {
			found[strings.Join(strings.Fields(strings.Join(groups[1:], " ")), " ")]++
		}
	}
	wanted := map[string][]string{} // full names by name as declared
	add := func(declared string, d protoreflect.Descriptor) {
		wanted[declared] = append(wanted[declared], string(d.FullName()))
	}
	addValues := func(list protoreflect.EnumDescriptors) {
		for i := range list.Len() {
			for j := range list.Get(i).Values().Len() {
				if v := list.Get(i).Values().Get(j); l.value != nil {
					add(l.value(v), v)
				}
			}
		}
	}
	files := describe(t, dir)
	for _, file := range files {
		addValues(file.Enums())
	}
	messages(files, func(m protoreflect.MessageDescriptor) {
		addValues(m.Enums())
		for i := range m.Fields().Len() {
			if f := m.Fields().Get(i); !slices.Contains(l.renamed, f.Name()) {
				add(l.field(f), f)
			}
		}
	})
	var bad []string
	for declared, names := range wanted {
		if found[declared] < len(names) {
			bad = append(bad, fmt.Sprintf("%s: found %d declarations of %q", strings.Join(names, ", "), found[declared], declared))
		}
	}
	slices.Sort(bad)
	return bad
}

func TestNames(t *testing.T) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			for _, problem := range misnamed(t, l, contract) {
				t.Error(problem)
			}
		})
	}
}

// TestNamesAreMissed proves that TestNames would tell.
func TestNamesAreMissed(t *testing.T) {
	changed := map[string][]string{
		"C#":          {"collide.Collide.collide"},
		"Java":        {"collide.Collide.class"},
		"Kotlin":      {"collide.Collide.class"},
		"PHP":         {},
		"Python":      {"collide.Collide.class"},
		"Objective-C": {"collide.Collide.class", "collide.Collide.description", "collide.Collide.operator"},
		"C++":         {"collide.Collide.class", "collide.Collide.operator"},
		"TypeScript":  {"collide.Collide.to_string"},
	}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			var got []string
			for _, problem := range misnamed(t, l, "testdata/collide") {
				name, _, _ := strings.Cut(problem, ":")
				got = append(got, name)
			}
			want, ok := changed[l.name]
			if !ok || !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
