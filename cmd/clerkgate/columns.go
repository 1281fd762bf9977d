package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// csvColumns are the default columns of CSV.
var csvColumns = []string{
	"id", "external_id", "username", "first_name", "last_name", "email_address", "phone_number",
	"banned", "locked", "created_at", "updated_at", "last_sign_in_at",
}

// columnsFlag selects columns.
type columnsFlag struct {
	Columns []string `placeholder:"NAME" help:"The columns of csv (and of table): fields of a user such as id, banned or last_sign_in_at; name, email_address and phone_number (the primary ones); or a value of the metadata such as public_metadata.plan. Default for csv: id, external_id, username, first_name, last_name, email_address, phone_number, banned, locked, created_at, updated_at, last_sign_in_at."`
}

// column is one column of CSV or of a table.
type column struct {
	name  string
	value func(*clerkgatev1.User) cell
}

// cell is the content of one column for one user.
type cell struct {
	text string
	free bool // users chose the text, which may begin with any character
}

// ownColumns are the columns that are not fields of a user.
var ownColumns = []column{
	{"name", func(u *clerkgatev1.User) cell { return cell{fullName(u), true} }},
	{"email_address", func(u *clerkgatev1.User) cell { return cell{primaryEmail(u), true} }},
	{"phone_number", func(u *clerkgatev1.User) cell { return cell{primaryPhone(u), true} }},
}

// parseColumns returns the columns of the names given.
func parseColumns(names []string) ([]column, error) {
	var columns []column
	for _, name := range names {
		i := slices.IndexFunc(ownColumns, func(c column) bool { return c.name == name })
		if i >= 0 {
			columns = append(columns, ownColumns[i])
			continue
		}
		value, err := fieldColumn(name)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column{name, value})
	}
	return columns, nil
}

// columnNames returns the header of CSV.
func columnNames(columns []column) []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

// fieldColumn returns how to read the field that a path such as scim.directory_id or
// public_metadata.plan names.
func fieldColumn(path string) (func(*clerkgatev1.User) cell, error) {
	var fields []protoreflect.FieldDescriptor
	d := (&clerkgatev1.User{}).ProtoReflect().Descriptor()
	parts := strings.Split(path, ".")
	for i, part := range parts {
		field := d.Fields().ByName(protoreflect.Name(part))
		if holder := d.Fields().ByName(protoreflect.Name(part + "_json")); field == nil && holder != nil {
			fields = append(fields, holder)
			return func(u *clerkgatev1.User) cell { return jsonCell(textOf(u, fields), parts[i+1:]) }, nil
		}
		if field == nil {
			names := columnsOf(d)
			return nil, usagef("--columns: there is no column %q (did you mean %s?); the columns are %s", path,
				strings.Join(append(slices.Clone(parts[:i]), nearest(part, names)), "."), strings.Join(names, ", "))
		}
		fields = append(fields, field)
		if i == len(parts)-1 {
			break
		}
		if field.Message() == nil || field.IsList() || field.Message().ParentFile().Package() != d.ParentFile().Package() {
			return nil, usagef("--columns: %q: %s has no parts that could be columns", path, part)
		}
		d = field.Message()
	}
	return func(u *clerkgatev1.User) cell { return fieldCell(u.ProtoReflect(), fields) }, nil
}

// columnsOf returns the names of the columns that the fields of d can be.
func columnsOf(d protoreflect.MessageDescriptor) []string {
	var names []string
	if d.Name() == "User" {
		names = columnNames(ownColumns)
	}
	for i := range d.Fields().Len() {
		name := string(d.Fields().Get(i).Name())
		names = append(names, strings.TrimSuffix(name, "_json"))
	}
	return names
}

// fieldCell returns the value at the end of a path of fields, each a field of the one
// before.
func fieldCell(m protoreflect.Message, fields []protoreflect.FieldDescriptor) cell {
	for _, field := range fields[:len(fields)-1] {
		m = m.Get(field).Message()
	}
	field := fields[len(fields)-1]
	value := m.Get(field)
	switch {
	case field.HasPresence() && !m.Has(field):
		return cell{}
	case field.IsList():
		// As JSON, which begins with a bracket.
		member := appendMember(nil, field, value)
		return cell{text: string(member[bytes.IndexByte(member, ':')+1:])}
	case field.Kind() == protoreflect.StringKind:
		return cell{value.String(), true}
	}
	return cell{text: unquoted(appendSingular(nil, field, value))}
}

// textOf returns the text at the end of a path of fields.
func textOf(u *clerkgatev1.User, fields []protoreflect.FieldDescriptor) string {
	return fieldCell(u.ProtoReflect(), fields).text
}

// jsonCell returns the value at path in a JSON text, empty if there is none.
func jsonCell(text string, path []string) cell {
	value := json.RawMessage(text)
	for _, name := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil {
			return cell{}
		}
		value = object[name]
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return cell{}
	}
	var s string
	switch {
	case compact.String() == "null":
		return cell{}
	case json.Unmarshal(compact.Bytes(), &s) == nil:
		return cell{s, true}
	}
	return cell{text: compact.String()}
}

// unquoted returns a JSON string's text, and other JSON as it is.
func unquoted(text []byte) string {
	var s string
	if json.Unmarshal(text, &s) == nil {
		return s
	}
	return string(text)
}

// row returns the cells of u.
func row(u *clerkgatev1.User, columns []column, text func(cell) string) []string {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = text(c.value(u))
	}
	return cells
}

// formulaStarts are the characters that make a spreadsheet treat a cell as a formula. https://owasp.org/www-community/attacks/CSV_Injection
const formulaStarts = "=+-@＝＋－＠"

// csvCell returns the text of a cell for CSV: on one line, without control
// characters, and with an apostrophe before it if a spreadsheet would run it as a
// formula.
func csvCell(c cell) string {
	formula := false
	if c.free {
		r, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(c.text, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
		}))
		formula = strings.ContainsRune(formulaStarts, r)
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, c.text)
	if formula {
		return "'" + text
	}
	return text
}

// fullName returns a user's first and last name.
func fullName(u *clerkgatev1.User) string {
	return strings.TrimSpace(u.GetFirstName() + " " + u.GetLastName())
}

// primaryEmail returns a user's primary email address, else the first.
func primaryEmail(u *clerkgatev1.User) string {
	emails := u.GetEmailAddresses()
	for _, e := range emails {
		if e.GetId() == u.GetPrimaryEmailAddressId() {
			return e.GetEmailAddress()
		}
	}
	if len(emails) > 0 {
		return emails[0].GetEmailAddress()
	}
	return ""
}

// primaryPhone returns a user's primary phone number, else the first.
func primaryPhone(u *clerkgatev1.User) string {
	phones := u.GetPhoneNumbers()
	for _, p := range phones {
		if p.GetId() == u.GetPrimaryPhoneNumberId() {
			return p.GetPhoneNumber()
		}
	}
	if len(phones) > 0 {
		return phones[0].GetPhoneNumber()
	}
	return ""
}
