package clerksim

import (
	"encoding/json"
	"net/http"
	"strings"
)

const adminPath = "/sim/"

// maxOrder is the maximum size of the body of an admin request, in bytes.
const maxOrder = 1 << 20

// serveAdmin serves the admin requests that the package documentation lists.
func (s *Sim) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/sim/users"); ok {
		s.serveUsers(w, r, path)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /sim/stats":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Stats()) // a client that left needs no stats
	case "POST /sim/faults":
		var f Fault
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		body.DisallowUnknownFields()
		err := body.Decode(&f)
		if err == nil {
			err = s.AddFault(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "DELETE /sim/faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	case "POST /sim/reset":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "want GET /sim/stats, POST and DELETE /sim/faults, POST /sim/reset, POST /sim/users, and PATCH and DELETE /sim/users/{id}", http.StatusNotFound)
	}
}
