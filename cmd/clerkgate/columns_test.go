package main

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

func TestCSVCells(t *testing.T) {
	for text, want := range map[string]string{
		"Ann":                      "Ann",
		"=1+1":                     "'=1+1",
		"+15551234":                "'+15551234",
		"-1":                       "'-1",
		"@SUM(A1)":                 "'@SUM(A1)",
		" =1":                      "' =1",
		"\t=1":                     "' =1",
		"\ufeff=1":                 "'\ufeff=1",
		"＝cmd|' /C calc'!A0":       "'＝cmd|' /C calc'!A0",
		"a\nb\x1b[2J\u009b\u2028c": "a b [2J  c",
		"":                         "",
		"a=b, \"c\"":               "a=b, \"c\"",
	} {
		if got := csvCell(cell{text, true}); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := csvCell(cell{text: "-5"}); got != "-5" {
		t.Errorf("a number: %q", got)
	}
}

func TestColumns(t *testing.T) {
	u := &clerkgatev1.User{
		Id: "user_1", FirstName: proto.String("=Ann"), PublicMetadataJson: `{"plan":"pro","a":{"b":-1,"c":"+x"},"n":null}`,
		Banned: proto.Bool(true), Scim: &clerkgatev1.Scim{DirectoryId: "d"},
		PhoneNumbers:   []*clerkgatev1.UserPhoneNumber{{PhoneNumber: "+1"}, {Id: proto.String("p"), PhoneNumber: "+2"}},
		EmailAddresses: []*clerkgatev1.UserEmailAddress{{EmailAddress: "a@b.c"}}, PrimaryPhoneNumberId: proto.String("p"),
	}
	want := map[string]string{
		"id": "user_1", "first_name": "'=Ann", "last_name": "", "name": "'=Ann", "email_address": "a@b.c", "phone_number": "'+2",
		"banned": "true", "locked": "", "has_image": "false", "created_at": "", "scim.directory_id": "d", "scim.external_id": "", "passkeys": "[]",
		"public_metadata": u.PublicMetadataJson, "public_metadata.plan": "pro", "public_metadata.a.b": "-1", "public_metadata.a.c": "'+x",
		"public_metadata.n": "", "public_metadata.none": "", "unsafe_metadata": "",
	}
	for name, text := range want {
		columns, err := parseColumns([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if got := row(u, columns, csvCell); got[0] != text {
			t.Errorf("%s: %q, want %q", name, got[0], text)
		}
	}
	for name, part := range map[string]string{
		"emial_address": "did you mean email_address?", "email": "did you mean email_address?", "scim.directory": "did you mean scim.directory_id?", "id.x": "no parts", "email_addresses.id": "no parts",
	} {
		if _, err := parseColumns([]string{name}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var out bytes.Buffer
	p, err := newUserPrinter(&out, outputFlag{Output: "csv"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.write(u); err != nil {
		t.Fatal(err)
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(records) != 2 {
		t.Fatalf("%v, %v", records, err)
	}
	if diff := cmp.Diff(csvColumns, records[0]); diff != "" {
		t.Error(diff)
	}
	if _, help, _ := runCommand(t, "list", "--help"); !strings.Contains(strings.Join(strings.Fields(help), " "), strings.Join(csvColumns, ", ")) {
		t.Errorf("the help has other default columns than %v", csvColumns)
	}
}
