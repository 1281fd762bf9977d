package clerkapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// vital are the fields of a user that must not be unset because their values can't be
// decoded: the id, the version, and whether the user may sign in.
var vital = []string{"id", "updated_at", "banned", "locked", "deprovisioned"}

// userFields describes the contract's User.
var userFields = (&clerkgatev1.User{}).ProtoReflect().Descriptor()

// repair converts the JSON of a user to a form that the contract can hold, as far as that
// is safe: a number or text to a boolean, text to a number, a fraction of a millisecond,
// a number to text, [] to an object. It removes what it can't convert, and calls unread
// with the name of the field, without positions in lists. It fails if that is a vital
// field.
func repair(text []byte, unread func(field string)) ([]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text), lenient)
	value, err := dec.ReadValue()
	if err != nil {
		return nil, notJSON(err)
	}
	if value.Kind() != '{' {
		return nil, errors.New("a user must be a JSON object")
	}
	value = value.Clone()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the user has data after its end")
	}
	r := repairer{unread: func(field string) {
		if slices.Contains(vital, field) {
			err = fmt.Errorf("the field %s can't be read", field)
		}
		unread(field)
	}}
	repaired := r.object(userFields, value, "")
	if err != nil {
		return nil, err
	}
	return repaired, nil
}

type repairer struct {
	unread func(field string)
}

// object repairs the members of an object that md describes. Other members stay
// unchanged.
func (r repairer) object(md protoreflect.MessageDescriptor, value jsontext.Value, path string) jsontext.Value {
	dec := jsontext.NewDecoder(bytes.NewReader(value), lenient)
	out := []byte{'{'}
	_, _ = dec.ReadToken() // the value was read completely before
	for dec.PeekKind() != '}' {
		quoted, err := dec.ReadValue()
		if err != nil {
			break
		}
		quoted = quoted.Clone()
		member, err := dec.ReadValue()
		if err != nil {
			break
		}
		if name, err := jsontext.AppendUnquote(nil, quoted); err == nil {
			if fd := fieldOf(md, string(name)); fd != nil {
				var ok bool
				if member, ok = r.field(fd, member, path+string(name)); !ok {
					r.unread(path + string(name))
					continue
				}
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), member...)
	}
	return append(out, '}')
}

// metadataSuffix is appended to Clerk's names of objects that the contract carries as
// JSON text.
const metadataSuffix = "_json"

func carriesJSON(fd protoreflect.FieldDescriptor) bool {
	return strings.HasSuffix(string(fd.Name()), metadataSuffix)
}

// fieldOf returns the contract's field for a member of Clerk's object, or nil if there is
// none.
func fieldOf(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name + metadataSuffix)); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

// field repairs the value of a field. It returns false if the value can't be converted.
func (r repairer) field(fd protoreflect.FieldDescriptor, value jsontext.Value, path string) (jsontext.Value, bool) {
	switch {
	case value.Kind() == 'n':
		return value, true
	case !fd.IsList():
		return r.single(fd, value, path)
	case value.Kind() != '[':
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(value), lenient)
	_, _ = dec.ReadToken()
	out := []byte{'['}
	for dec.PeekKind() != ']' {
		element, err := dec.ReadValue()
		if err != nil {
			break
		}
		repaired, ok := element, element.Kind() == 'n'
		if !ok {
			repaired, ok = r.single(fd, element, path)
		}
		if !ok {
			r.unread(path)
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, repaired...)
	}
	return append(out, ']'), true
}

// single repairs a value that is neither null nor a list.
func (r repairer) single(fd protoreflect.FieldDescriptor, value jsontext.Value, path string) (jsontext.Value, bool) {
	kind := value.Kind()
	if carriesJSON(fd) || fd.Kind() == protoreflect.MessageKind && !isTime(fd) {
		switch {
		case kind == '[' && isEmptyList(value) && carriesJSON(fd):
			return jsontext.Value("{}"), true
		case kind == '[' && isEmptyList(value):
			return jsontext.Value("null"), true
		case kind != '{':
			return nil, false
		case carriesJSON(fd):
			return value, true
		}
		return r.object(fd.Message(), value, path+"."), true
	}
	switch text := scalar(value); {
	case kind == '{' || kind == '[':
		return nil, false
	case fd.Kind() == protoreflect.BoolKind:
		return readBool(text)
	case fd.Kind() == protoreflect.StringKind:
		return readText(kind, value)
	case isTime(fd) && kind == '"':
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return jsontext.Value(strconv.FormatInt(t.UnixMilli(), 10)), true
		}
		return readNumber(text)
	default:
		return readNumber(text)
	}
}

func isTime(fd protoreflect.FieldDescriptor) bool {
	return fd.Kind() == protoreflect.MessageKind && fd.Message().FullName() == "google.protobuf.Timestamp"
}

func isEmptyList(value jsontext.Value) bool {
	return len(bytes.TrimSpace(bytes.Trim(bytes.TrimSpace(value), "[]"))) == 0
}

// scalar returns the text of a JSON string, number or literal.
func scalar(value jsontext.Value) string {
	if value.Kind() != '"' {
		return string(value)
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func readBool(text string) (jsontext.Value, bool) {
	switch strings.ToLower(text) {
	case "true", "1", "1.0":
		return jsontext.Value("true"), true
	case "false", "0", "0.0":
		return jsontext.Value("false"), true
	}
	return nil, false
}

// readNumber returns a number without its fraction.
func readNumber(text string) (jsontext.Value, bool) {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return jsontext.Value(text), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(f) {
		return nil, false
	}
	f = math.Trunc(min(max(f, math.MinInt64), math.MaxInt64))
	return jsontext.Value(strconv.FormatFloat(f, 'f', -1, 64)), true
}

// readText returns the digits of a number as text.
func readText(kind jsontext.Kind, value jsontext.Value) (jsontext.Value, bool) {
	switch kind {
	case '"':
		return value, true
	case '0':
		return jsontext.Value(`"` + string(value) + `"`), true
	}
	return nil, false
}
