package clerkapi

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// TestPagesAreCheckedByTheirArguments checks pages against their arguments.
func TestPagesAreCheckedByTheirArguments(t *testing.T) {
	at := func(ms int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(ms)) }
	list := func(values ...string) *clerkgatev1.StringList { return &clerkgatev1.StringList{Values: values} }
	user := func(id string, created int64) *clerkgatev1.User {
		return &clerkgatev1.User{
			Id: id, CreatedAt: at(created), ExternalId: proto.String("ext_" + id), Username: proto.String("Name_" + id),
			EmailAddresses: []*clerkgatev1.UserEmailAddress{{EmailAddress: "other@example.com"}, {EmailAddress: id + "@Example.com"}},
			PhoneNumbers:   []*clerkgatev1.UserPhoneNumber{{PhoneNumber: "+1 (555) 0100"}},
			LastActiveAt:   at(created + 50),
		}
	}
	a, b := user("user_a", 10), user("user_b", 20)
	bare := &clerkgatev1.User{Id: "user_c", CreatedAt: at(30)} // a user without any value may match every filter
	filter := func(f *clerkgatev1.UserFilter) ListParams {
		return ListParams{Filter: f, OrderBy: "+created_at", Limit: 10}
	}
	for name, c := range map[string]struct {
		params ListParams
		good   []*clerkgatev1.User
		bad    []*clerkgatev1.User
	}{
		"an id":           {filter(&clerkgatev1.UserFilter{UserIds: list("user_a", "user_x")}), []*clerkgatev1.User{a}, []*clerkgatev1.User{b}},
		"excluded":        {filter(&clerkgatev1.UserFilter{ExcludedUserIds: list("user_b")}), []*clerkgatev1.User{a, bare}, []*clerkgatev1.User{a, b}},
		"external id":     {filter(&clerkgatev1.UserFilter{ExternalIds: list("ext_user_a")}), []*clerkgatev1.User{a}, []*clerkgatev1.User{b}},
		"no external id":  {filter(&clerkgatev1.UserFilter{ExternalIds: list("ext_user_a")}), nil, []*clerkgatev1.User{bare}},
		"excluded ext.":   {filter(&clerkgatev1.UserFilter{ExcludedExternalIds: list("ext_user_b")}), []*clerkgatev1.User{a, bare}, []*clerkgatev1.User{b}},
		"e-mail":          {filter(&clerkgatev1.UserFilter{EmailAddresses: list("USER_a@example.com")}), []*clerkgatev1.User{a, bare}, []*clerkgatev1.User{b}},
		"phone":           {filter(&clerkgatev1.UserFilter{PhoneNumbers: list("+15550100")}), []*clerkgatev1.User{a, b}, nil},
		"another phone":   {filter(&clerkgatev1.UserFilter{PhoneNumbers: list("+15550101")}), nil, []*clerkgatev1.User{a}},
		"username":        {filter(&clerkgatev1.UserFilter{Usernames: list("name_USER_a")}), []*clerkgatev1.User{a}, []*clerkgatev1.User{b}},
		"banned":          {filter(&clerkgatev1.UserFilter{Banned: proto.Bool(true)}), []*clerkgatev1.User{{Id: "user_d", Banned: proto.Bool(true)}}, []*clerkgatev1.User{{Id: "user_d", Banned: proto.Bool(false)}}},
		"created before":  {filter(&clerkgatev1.UserFilter{CreatedAtBefore: at(20)}), []*clerkgatev1.User{a, b}, []*clerkgatev1.User{bare}},
		"created after":   {filter(&clerkgatev1.UserFilter{CreatedAtAfter: at(20)}), []*clerkgatev1.User{b, bare}, []*clerkgatev1.User{a}},
		"active after":    {filter(&clerkgatev1.UserFilter{LastActiveAtAfter: at(65)}), []*clerkgatev1.User{b, bare}, []*clerkgatev1.User{a}},
		"order":           {filter(nil), []*clerkgatev1.User{a, b, bare}, []*clerkgatev1.User{b, a}},
		"other way":       {ListParams{OrderBy: "-created_at", Limit: 10}, []*clerkgatev1.User{bare, b, a}, []*clerkgatev1.User{a, b}},
		"order unsaid":    {ListParams{Limit: 10}, []*clerkgatev1.User{b, a}, []*clerkgatev1.User{a, b}},
		"plain order":     {ListParams{OrderBy: "created_at", Limit: 10}, []*clerkgatev1.User{a, b}, []*clerkgatev1.User{b, a}},
		"another order":   {ListParams{OrderBy: "username", Limit: 10}, []*clerkgatev1.User{b, a}, nil},
		"twice":           {ListParams{OrderBy: "username", Limit: 10}, nil, []*clerkgatev1.User{a, b, a}},
		"starting after":  {ListParams{OrderBy: "+created_at", StartingAfter: "user_a", Limit: 10}, []*clerkgatev1.User{b}, []*clerkgatev1.User{a, b}},
		"nobody is right": {filter(&clerkgatev1.UserFilter{UserIds: list("user_x")}), []*clerkgatev1.User{}, nil},
	} {
		if c.good != nil {
			if err := checkPage(c.params, c.good); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if c.bad != nil {
			if err := checkPage(c.params, c.bad); err == nil {
				t.Errorf("%s: %v passes", name, c.bad)
			}
		}
	}
}
