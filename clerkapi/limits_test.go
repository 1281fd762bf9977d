package clerkapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/clerkapi/clerksim"
)

// TestLimitsOfTheSimulator checks that the simulator, which does not import this package, has
// the same limits.
func TestLimitsOfTheSimulator(t *testing.T) {
	sim, err := clerksim.New(clerksim.Config{Users: -1})
	if err != nil {
		t.Fatal(err)
	}
	status := func(query url.Values) int {
		r := httptest.NewRequest(http.MethodGet, "/v1/users?"+query.Encode(), nil)
		r.Header.Set("Authorization", "Bearer sk_test_limits")
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, r)
		return w.Code
	}
	ids := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("user_%d", i))
		}
		return ids
	}
	for name, c := range map[string]struct {
		query url.Values
		want  int
	}{
		"a full page":     {url.Values{"limit": {strconv.Itoa(clerkapi.MaxPage)}}, http.StatusOK},
		"a larger page":   {url.Values{"limit": {strconv.Itoa(clerkapi.MaxPage + 1)}}, http.StatusUnprocessableEntity},
		"a full lookup":   {url.Values{"user_id": ids(clerkapi.MaxLookup)}, http.StatusOK},
		"a larger lookup": {url.Values{"user_id": ids(clerkapi.MaxLookup + 1)}, http.StatusUnprocessableEntity},
	} {
		if got := status(c.query); got != c.want {
			t.Errorf("%s: status %d, want %d", name, got, c.want)
		}
	}
}

// TestLimitsInTheContract compares the numbers in comments of the contract with the constants.
func TestLimitsInTheContract(t *testing.T) {
	text, err := os.ReadFile("../proto/clerkgate/v1/user_service.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		comment string
		want    int
	}{
		{`Reads up to (\d+) users by their ids`, clerkapi.MaxLookup},
		{`ids of the users, 1 to (\d+)\. Duplicates`, clerkapi.MaxLookup},
		{`must have 1 to (\d+)`, clerkapi.MaxLookup},
		{`users in a page, 1 to (\d+)\.`, clerkapi.MaxPage},
	} {
		m := regexp.MustCompile(c.comment).FindSubmatch(text)
		if m == nil {
			t.Errorf("no comment matches %q", c.comment)
		} else if string(m[1]) != strconv.Itoa(c.want) {
			t.Errorf("%q has %s, the limit is %d", c.comment, m[1], c.want)
		}
	}
}
