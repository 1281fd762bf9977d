package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// parseFilter reads conditions of the form field=value, where the fields are those of
// UserFilter. A text may hold several, a line each, as an environment variable does.
// Without texts the filter is nil.
func parseFilter(texts []string) (*clerkgatev1.UserFilter, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	filter := &clerkgatev1.UserFilter{}
	m := filter.ProtoReflect()
	for condition := range strings.Lines(strings.Join(texts, "\n")) {
		if condition = strings.TrimRight(condition, "\r\n"); condition == "" && len(texts) == 1 {
			continue // a line at the end of a variable
		}
		name, value, ok := strings.Cut(condition, "=")
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case !ok:
			return nil, usagef("--filter: %q: want FIELD=VALUE with one of the fields %s", condition, strings.Join(filterFields(m.Descriptor()), ", "))
		case field == nil:
			fields := filterFields(m.Descriptor())
			return nil, usagef("--filter: there is no field %q (did you mean %s?); the fields are %s", name, nearest(name, fields), strings.Join(fields, ", "))
		case m.Has(field) && !isStringList(field):
			return nil, usagef("--filter: %s: given twice; want one value", name)
		}
		if err := setCondition(m, field, value); err != nil {
			return nil, err
		}
	}
	return filter, nil
}

// isStringList reports whether a field of a filter takes several values.
func isStringList(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && field.Message().FullName() == (&clerkgatev1.StringList{}).ProtoReflect().Descriptor().FullName()
}

// setCondition sets one field of a filter, or adds to it if it is a list.
func setCondition(m protoreflect.Message, field protoreflect.FieldDescriptor, value string) error {
	switch field.Kind() {
	case protoreflect.BoolKind:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return usagef("--filter: %s: want true or false", field.Name())
		}
		m.Set(field, protoreflect.ValueOfBool(b))
	case protoreflect.StringKind:
		m.Set(field, protoreflect.ValueOfString(value))
	default:
		switch list := m.Mutable(field).Message().Interface().(type) {
		case *clerkgatev1.StringList:
			list.Values = append(list.Values, value)
		case *timestamppb.Timestamp:
			t, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return usagef("--filter: %s: want a time such as 2026-01-31T00:00:00Z", field.Name())
			}
			m.Set(field, protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()))
		}
	}
	return nil
}

// filterFields returns the names of the fields of a filter.
func filterFields(d protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range d.Fields().Len() {
		names = append(names, string(d.Fields().Get(i).Name()))
	}
	slices.Sort(names)
	return names
}
