package clerkapi

import (
	stdjson "encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

// apiField is a field of one of Clerk's schemas: a line of testdata/openapi_user.tsv.
type apiField struct {
	schema, name       string
	types              []string // alternatives; strings in quotes are the values of an enumeration
	list               bool
	required, nullable bool
}

// openAPI has the fields of each schema.
type openAPI map[string][]apiField

func readOpenAPI(t testing.TB) openAPI {
	t.Helper()
	api := openAPI{}
	for line := range strings.Lines(string(readTestdata(t, "openapi_user.tsv"))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != 5 {
			t.Fatalf("%d columns: %q", len(columns), line)
		}
		types, list := strings.CutPrefix(columns[2], "[]")
		f := apiField{
			schema: columns[0], name: columns[1], types: strings.Split(types, "|"), list: list,
			required: columns[3] == "required", nullable: columns[4] == "nullable",
		}
		api[f.schema] = append(api[f.schema], f)
	}
	return api
}

// state is the state of a field.
type state int

const (
	present state = iota // with a value other than zero
	zero                 // with "", 0, false, {} or []
	null
	absent
)

func (s state) String() string { return [...]string{"present", "zero", "null", "absent"}[s] }

// states returns the states that the description allows for the field.
func (api openAPI) states(f apiField) []state {
	all := []state{present}
	if f.name != "id" && !strings.HasPrefix(f.types[0], `"`) && (f.list || api[f.types[0]] == nil) {
		all = append(all, zero)
	}
	if f.nullable {
		all = append(all, null)
	}
	if !f.required {
		all = append(all, absent)
	}
	return all
}

// generator generates objects of the schemas.
type generator struct {
	api openAPI
	// choose returns the state of the field at path.
	choose func(path string, f apiField) state
	// length returns the number of elements of the list at path; least of them show every
	// alternative.
	length func(path string, least int) int
	count  int // makes values distinct
}

// object returns an object of the schema. The index chooses among alternatives.
func (g *generator) object(schema, path string, index int) map[string]any {
	out := map[string]any{}
	for _, f := range g.api[schema] {
		at := path + "." + f.name
		switch state := g.choose(at, f); {
		case state == absent:
		case state == null:
			out[f.name] = nil
		case f.list:
			list := []any{}
			if state == present {
				for i := range g.length(at, g.alternatives(f.types[0])) {
					list = append(list, g.value(f, fmt.Sprintf("%s[%d]", at, i), i, false))
				}
			}
			out[f.name] = list
		default:
			out[f.name] = g.value(f, at, index, state == zero)
		}
	}
	return out
}

// alternatives returns how many elements show every alternative of a list's schema.
func (g *generator) alternatives(schema string) int {
	most := 1
	for _, f := range g.api[schema] {
		if !f.list {
			most = max(most, len(f.types))
		}
	}
	return most
}

func (g *generator) value(f apiField, path string, index int, zero bool) any {
	g.count++
	kind := f.types[index%len(f.types)]
	switch {
	case g.api[kind] != nil:
		return g.object(kind, path, index)
	case strings.HasPrefix(kind, `"`):
		return strings.Trim(kind, `"`)
	case kind == "boolean":
		return !zero
	case kind == "object" && zero:
		return map[string]any{}
	case kind == "object":
		return map[string]any{"n": g.count}
	case kind == "string" && zero:
		return ""
	case kind == "string":
		return "user_" + strconv.Itoa(g.count)
	case kind == "integer" && zero:
		return 0
	case kind == "integer" && strings.HasSuffix(f.name, "_at"):
		return 1_700_000_000_000 + g.count
	case kind == "integer":
		return g.count
	}
	panic(path + ": " + kind)
}

// leftOut reports whether the contract omits one of Clerk's fields on purpose: secrets,
// and the name of an object's kind if there is only one kind.
func leftOut(f apiField) bool {
	return f.schema == "PhoneNumber" && f.name == "backup_codes" ||
		f.name == "object" && len(f.types) == 1 && !strings.HasPrefix(f.schema, "verification_")
}

// notDescribed are the contract's fields that Clerk's description lacks, and the source
// of each.
var notDescribed = map[protoreflect.FullName]string{
	"clerkgate.v1.User.timezone":                                 "Clerk's SDK for Node.js",
	"clerkgate.v1.User.extra_json":                               "what the contract does not know",
	"clerkgate.v1.Passkey.created_at":                            "Clerk's SDK for Go",
	"clerkgate.v1.Passkey.updated_at":                            "Clerk's SDK for Go",
	"clerkgate.v1.ExternalAccount.external_account_id":           "Clerk's SDK for Node.js",
	"clerkgate.v1.SamlAccount.enterprise_connection_id":          "Clerk's SDK for Go",
	"clerkgate.v1.EnterpriseConnection.enterprise_connection_id": "Clerk's SDK for Go",
	"clerkgate.v1.Organization.membership_limit_set_by":          "Clerk's SDK for Go",
}

// shapeCheck compares a decoded user with the object that it was decoded from.
type shapeCheck struct {
	api      openAPI
	problems []string
}

func (c *shapeCheck) failf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// message compares one message. Of the described fields it must have set those of the
// object, and no others.
func (c *shapeCheck) message(schema, path string, object map[string]any, m protoreflect.Message) {
	described := map[protoreflect.Name]bool{}
	for _, f := range c.api[schema] {
		name, at := f.schema+"."+f.name, path+"."+f.name
		fd := contractField(m.Descriptor(), f)
		if leftOut(f) {
			if fd != nil {
				c.failf("the contract has a field for %s", name)
			}
			continue
		}
		if fd == nil {
			c.failf("the contract has no field for %s", name)
			continue
		}
		described[fd.Name()] = true
		if fd.IsList() != f.list {
			c.failf("only one of %s and %s is a list", name, fd.FullName())
			continue
		}
		v := object[f.name] // nil if null or absent
		switch {
		case f.list:
			c.list(f, at, v, m.Get(fd).List())
		case (f.nullable || !f.required) && !fd.HasPresence():
			c.failf("Clerk may give no %s, but %s is not optional", name, fd.FullName())
		case v == nil && m.Has(fd):
			c.failf("%s was not given and is set", at)
		case v != nil && fd.HasPresence() && !m.Has(fd):
			c.failf("%s was given and is unset", at)
		case v != nil:
			c.value(f, at, v, m.Get(fd))
		}
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case described[fd.Name()], strings.HasPrefix(schema, "verification_"): // one message for all kinds
		case notDescribed[fd.FullName()] == "":
			c.failf("Clerk's description has no field for %s", fd.FullName())
		}
		if !described[fd.Name()] && m.Has(fd) {
			c.failf("%s: %s is set", path, fd.FullName())
		}
	}
}

func (c *shapeCheck) list(f apiField, path string, v any, list protoreflect.List) {
	given, _ := v.([]any)
	if len(given) != list.Len() {
		c.failf("%s has %d elements, want %d", path, list.Len(), len(given))
		return
	}
	for i := range given {
		c.value(f, fmt.Sprintf("%s[%d]", path, i), given[i], list.Get(i))
	}
}

func (c *shapeCheck) value(f apiField, path string, given any, got protoreflect.Value) {
	switch given := given.(type) {
	case map[string]any:
		m, ok := got.Interface().(protoreflect.Message)
		if !ok { // metadata
			text, err := stdjson.Marshal(given)
			if err != nil {
				panic(err)
			}
			if got.String() != string(text) {
				c.failf("%s is %q, want %s", path, got.String(), text)
			}
			return
		}
		c.message(c.schemaOf(f, given), path, given, m)
	case int:
		var n int64
		if m, ok := got.Interface().(protoreflect.Message); ok {
			time, ok := m.Interface().(*timestamppb.Timestamp)
			if !ok {
				c.failf("%s is a %s, want a time", path, m.Descriptor().FullName())
				return
			}
			n = time.AsTime().UnixMilli()
		} else {
			n = got.Int()
		}
		if n != int64(given) {
			c.failf("%s is %d, want %d", path, n, given)
		}
	default:
		if got.Interface() != given {
			c.failf("%s is %v, want %v", path, got, given)
		}
	}
}

// schemaOf returns the alternative of an object or, without a name of its kind, the one
// that has all of its fields.
func (c *shapeCheck) schemaOf(f apiField, object map[string]any) string {
	for _, schema := range f.types {
		fields := map[string]bool{}
		for _, f := range c.api[schema] {
			fields[f.name] = true
			if kind, ok := object["object"].(string); ok && f.name == "object" && !slices.Contains(f.types, strconv.Quote(kind)) {
				fields = nil
				break
			}
		}
		if fields != nil && !slices.ContainsFunc(slices.Collect(maps.Keys(object)), func(name string) bool { return !fields[name] }) {
			return schema
		}
	}
	panic(fmt.Sprint("no schema of ", f.types, " has the fields of ", object))
}

// contractField returns the contract's field for Clerk's, or nil.
func contractField(d protoreflect.MessageDescriptor, f apiField) protoreflect.FieldDescriptor {
	name := f.name
	if f.types[0] == "object" {
		name += "_json"
	}
	return d.Fields().ByName(protoreflect.Name(name))
}

// checkShape decodes an object and returns the differences.
func checkShape(api openAPI, object map[string]any) []string {
	text, err := stdjson.Marshal(object)
	if err != nil {
		panic(err)
	}
	user, err := DecodeUser(text)
	if err != nil {
		return []string{err.Error()}
	}
	c := &shapeCheck{api: api}
	c.message("User", "", object, user.ProtoReflect())
	return c.problems
}

// shapes yields a user with every field and every alternative, and users with each field
// but one in turn. That one is in each other state that Clerk's description allows; its
// path and state are the user's name.
func shapes(api openAPI, yield func(name string, object map[string]any)) {
	type site struct {
		path  string
		state state
	}
	var sites []site
	g := &generator{
		api:    api,
		choose: func(string, apiField) state { return present },
		length: func(_ string, least int) int { return least },
	}
	g.choose = func(path string, f apiField) state {
		for _, s := range api.states(f)[1:] {
			sites = append(sites, site{path, s})
		}
		return present
	}
	yield("full", g.object("User", "", 0))
	for _, site := range sites {
		g.count = 0
		g.choose = func(path string, _ apiField) state {
			if path == site.path {
				return site.state
			}
			return present
		}
		g.length = func(path string, least int) int {
			if !strings.HasPrefix(site.path, path+"[") {
				return 1
			}
			return least
		}
		yield(site.path+" "+site.state.String(), g.object("User", "", 0))
	}
}

// TestDecodeUserOfEveryShape decodes users of each shape that Clerk's description allows
// and compares them field by field.
func TestDecodeUserOfEveryShape(t *testing.T) {
	api := readOpenAPI(t)
	seen := map[string]bool{}
	count := 0
	shapes(api, func(name string, object map[string]any) {
		count++
		for _, problem := range checkShape(api, object) {
			if !seen[problem] {
				seen[problem] = true
				t.Errorf("%s: %s", name, problem)
			}
		}
	})
	if count < 500 {
		t.Errorf("only %d shapes", count)
	}
	t.Logf("%d shapes", count)
}

// TestDecodeUserOfAnyShape does the same with several missing fields.
func TestDecodeUserOfAnyShape(t *testing.T) {
	api := readOpenAPI(t)
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{
			api: api,
			choose: func(path string, f apiField) state {
				return rapid.SampledFrom(api.states(f)).Draw(t, path)
			},
			length: func(path string, least int) int {
				return rapid.IntRange(1, least+1).Draw(t, path+" length")
			},
		}
		for _, problem := range checkShape(api, g.object("User", "", 0)) {
			t.Error(problem)
		}
	})
}

// TestDecodeUserNeverGuessesPermissions: a flag whose absence could look like a
// permission is unset, not false, if Clerk does not send it.
func TestDecodeUserNeverGuessesPermissions(t *testing.T) {
	for _, name := range []protoreflect.Name{"banned", "locked", "deprovisioned"} {
		for _, member := range []string{"", fmt.Sprintf(`,"%s":null`, name), fmt.Sprintf(`,"%s":false`, name), fmt.Sprintf(`,"%s":true`, name)} {
			for _, nested := range []bool{false, true} {
				object := `"id":"user_a"` + member
				if nested {
					object = `"id":"user_a","organization_memberships":[{"public_user_data":{"user_id":"user_a"` + member + `}}]`
				}
				user, err := DecodeUser([]byte("{" + object + "}"))
				if err != nil {
					t.Fatal(err)
				}
				m := user.ProtoReflect()
				if nested {
					m = user.OrganizationMemberships[0].PublicUserData.ProtoReflect()
				}
				fd := m.Descriptor().Fields().ByName(name)
				if fd == nil && nested && name == "locked" {
					continue // other members don't see it
				}
				if m.Has(fd) != (strings.HasSuffix(member, "false") || strings.HasSuffix(member, "true")) {
					t.Errorf("%s of %s: set is %t", name, object, m.Has(fd))
				}
				if m.Has(fd) && m.Get(fd).Bool() != strings.HasSuffix(member, "true") {
					t.Errorf("%s of %s is %t", name, object, m.Get(fd).Bool())
				}
			}
		}
	}
}
