package clerksim

import (
	"encoding/json"
	"net/http"
)

const adminPath = "/sim/"

// maxFaultSize is how large the description of a fault may be, in bytes.
const maxFaultSize = 1 << 20

// serveAdmin takes the orders that the package's documentation lists.
func (s *Sim) serveAdmin(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sim/stats":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Stats()) // a client that left needs no stats
	case "POST /sim/faults":
		var f Fault
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFaultSize))
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
		http.Error(w, "there is GET /sim/stats, POST and DELETE /sim/faults, and POST /sim/reset", http.StatusNotFound)
	}
}
