package clerksim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// serveUsers serves the admin requests that change users. path is the part after
// /sim/users.
func (s *Sim) serveUsers(w http.ResponseWriter, r *http.Request, path string) {
	id, named := strings.CutPrefix(path, "/")
	var made *record
	var err error
	switch {
	case r.Method == http.MethodPost && path == "":
		made, err = s.create(s.newcomer())
	case r.Method == http.MethodPatch && named:
		made, err = s.patch(id, http.MaxBytesReader(w, r.Body, maxOrder))
	case r.Method == http.MethodDelete && named:
		err = s.Delete(id)
	default:
		http.Error(w, "want POST /sim/users, and PATCH and DELETE /sim/users/{id}", http.StatusNotFound)
		return
	}
	switch {
	case errors.Is(err, errNoUser):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case made == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(made.text) // the client may have left
	}
}

// patch sets the fields of a user that the JSON object in body contains.
func (s *Sim) patch(id string, body io.Reader) (*record, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	set := func(u *User) error {
		fields := json.NewDecoder(bytes.NewReader(text))
		fields.DisallowUnknownFields()
		return fields.Decode(u)
	}
	if err := set(new(User)); err != nil { // a failure must not change only some fields
		return nil, err
	}
	return s.update(id, func(u *User) { _ = set(u) })
}
