package clerksim

import (
	"net/http"
	"net/url"
	"strings"
)

// Endpoint is the kind of a request.
type Endpoint string

// The endpoints.
const (
	Get    Endpoint = "get"    // GET /v1/users/{id}
	Lookup Endpoint = "lookup" // GET /v1/users with user_id
	List   Endpoint = "list"   // GET /v1/users without user_id
	Count  Endpoint = "count"  // GET /v1/users/count
	Other  Endpoint = "other"  // anything else
)

const usersPath = "/v1/users"

// request is a parsed request.
type request struct {
	endpoint  Endpoint
	ids       []string // requested ids, with duplicates
	values    url.Values
	urlLength int // bytes of path and query
}

func parseRequest(r *http.Request) *request {
	req := &request{endpoint: Other, values: r.URL.Query(), urlLength: len(r.URL.RequestURI())}
	for _, id := range req.values["user_id"] {
		if id = strings.TrimPrefix(id, "+"); id != "" && id[0] != '-' {
			req.ids = append(req.ids, id)
		}
	}
	if r.Method != http.MethodGet {
		return req
	}
	path := r.URL.EscapedPath()
	rest, underUsers := strings.CutPrefix(path, usersPath+"/")
	switch {
	case path == usersPath && len(req.ids) > 0:
		req.endpoint = Lookup
	case path == usersPath:
		req.endpoint = List
	case rest == "count" && underUsers:
		req.endpoint = Count
	case underUsers && rest != "" && !strings.Contains(rest, "/"):
		if id, err := url.PathUnescape(rest); err == nil {
			req.endpoint = Get
			req.ids = []string{id}
		}
	}
	return req
}

// authenticate checks the Authorization header against the key or, if that is empty,
// against the form of Clerk's keys.
func authenticate(header, key string) *refusal {
	given, ok := strings.CutPrefix(header, "Bearer ")
	switch {
	case !ok || given == "":
		return &refusal{status: http.StatusUnauthorized, code: "authentication_invalid", message: "Invalid authentication"}
	case key == "" && (strings.HasPrefix(given, "sk_test_") || strings.HasPrefix(given, "sk_live_")):
		return nil
	case key != "" && given == key:
		return nil
	}
	return &refusal{status: http.StatusUnauthorized, code: "clerk_key_invalid", message: "The provided Clerk Secret Key is invalid"}
}
