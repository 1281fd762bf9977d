package clerkapi

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestDecodeUserRepairs: a value of another type than Clerk documents is converted if
// that is safe; otherwise the field is unset and reported.
func TestDecodeUserRepairs(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // the user in the contract's text format, without the id
		unread   string
	}{
		{"numbers for booleans", `"banned":1,"locked":0,"has_image":1`, `banned:true locked:false has_image:true`, ""},
		{"text for booleans", `"banned":"true","locked":"0"`, `banned:true locked:false`, ""},
		{"a fraction of a ms", `"updated_at":1700000000123.75,"created_at":1.5`,
			`updated_at:{seconds:1700000000 nanos:123000000} created_at:{nanos:1000000}`, ""},
		{"text for times", `"updated_at":"1700000000123","created_at":"2023-11-14T22:13:20Z"`,
			`updated_at:{seconds:1700000000 nanos:123000000} created_at:{seconds:1700000000}`, ""},
		{"text for a number", `"email_addresses":[{"email_address":"a@x","verification":{"attempts":"2"}}]`,
			`email_addresses:{email_address:"a@x" verification:{attempts:2}}`, ""},
		{"a number for text", `"first_name":5,"external_id":123456789012345678901`, `first_name:"5" external_id:"123456789012345678901"`, ""},
		{"[] for metadata", `"public_metadata":[],"unsafe_metadata":[ ]`, `public_metadata_json:"{}" unsafe_metadata_json:"{}"`, ""},
		{"[] for an object", `"scim":[]`, ``, ""},
		{"an object where null is usual", `"username":{"a":1},"legal_accepted_at":{},"first_name":"Al"`, `first_name:"Al"`, "username legal_accepted_at"},
		{"other metadata than an object", `"public_metadata":"x","private_metadata":[1],"unsafe_metadata":7`, ``, "public_metadata private_metadata unsafe_metadata"},
		{"text for a time", `"created_at":"yesterday"`, ``, "created_at"},
		{"an object for a list", `"email_addresses":{}`, ``, "email_addresses"},
		{"text in a list of objects", `"phone_numbers":["sk_live_secret",{"phone_number":"+1"}]`, `phone_numbers:{phone_number:"+1"}`, "phone_numbers"},
		{"deep inside", `"organization_memberships":[{"role":"r","organization":{"name":"n","members_count":{}, "private_metadata":"x"}}]`,
			`organization_memberships:{role:"r" organization:{name:"n"}}`,
			"organization_memberships.organization.members_count organization_memberships.organization.private_metadata"},
		{"an unknown field stays", `"new":{"a":[1]},"banned":1`, `banned:true extra_json:"{\"new\":{\"a\":[1]}}"`, ""},
		{"twice", `"first_name":{},"first_name":"Al"`, `first_name:"Al"`, "first_name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var unread []string
			got, err := decodeUser([]byte(`{"id":"user_a",`+test.in+`}`), func(field string) { unread = append(unread, field) })
			if err != nil {
				t.Fatal(err)
			}
			want := &clerkgatev1.User{}
			if err := prototext.Unmarshal([]byte(`id:"user_a" `+test.want), want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if !slices.Equal(unread, strings.Fields(test.unread)) {
				t.Errorf("told of %v, want %s", unread, test.unread)
			}
		})
	}
}
